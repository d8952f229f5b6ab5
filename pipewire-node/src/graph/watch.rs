//! Listens to the registry and keeps the [`Model`] current. Main-loop thread only.

use std::{
    any::Any,
    cell::RefCell,
    collections::BTreeMap,
    rc::{Rc, Weak},
};

use pipewire::{
    client::Client,
    core::CoreRc,
    device::Device,
    metadata::Metadata,
    node::{Node as NodeProxy, NodeState as PwNodeState},
    registry::{GlobalObject, Listener, RegistryRc},
    spa::{
        node::command::{NodeCommand, NodeCommandId},
        param::ParamType,
        pod::Pod,
        utils::dict::DictRef,
    },
    types::ObjectType,
};

use super::{
    model::{Link, Model, Node, NodeState, Port},
    mutes,
    props::Props,
};

/// What a [`Watch`] calls after the model changed.
pub(crate) type Changed = Rc<dyn Fn()>;

/// A bound object and its listener, kept for as long as the object is there.
struct Bound {
    node: Option<Rc<NodeProxy>>,
    metadata: Option<Rc<Metadata>>,
    device: Option<Rc<Device>>,
    _keep: Box<dyn Any>,
}

type BoundMap = Rc<RefCell<BTreeMap<u32, Bound>>>;

/// The registry's listener.
pub(crate) struct Watch {
    bound: BoundMap,
    _listener: Listener,
    registry: RegistryRc,
}

impl Watch {
    /// Starts to listen. `changed` is called from the main loop after each change of `model`; it must not borrow it
    /// mutably itself.
    pub(crate) fn start(
        core: &CoreRc,
        model: Rc<RefCell<Model>>,
        changed: Changed,
    ) -> Result<Self, pipewire::Error> {
        let registry = core.get_registry_rc()?;
        let bound: BoundMap = Rc::default();
        let weak_registry = registry.downgrade();
        let on_global = {
            let (model, bound, changed) = (model.clone(), Rc::downgrade(&bound), changed.clone());
            move |global: &GlobalObject<&DictRef>| {
                let (Some(registry), Some(bound)) = (weak_registry.upgrade(), bound.upgrade())
                else {
                    return;
                };
                if let Some(keep) = add(&registry, global, &model, &changed) {
                    bound.borrow_mut().insert(global.id, keep);
                }
                model.borrow_mut().version += 1;
                changed();
            }
        };
        let on_remove = {
            let bound = Rc::downgrade(&bound);
            move |id| {
                let known = model.borrow_mut().remove(id);
                // The proxy is destroyed after the borrow has ended: it may call back.
                let gone = bound
                    .upgrade()
                    .and_then(|bound| bound.borrow_mut().remove(&id));
                drop(gone);
                if known {
                    model.borrow_mut().version += 1;
                    changed();
                }
            }
        };
        let listener = registry
            .add_listener_local()
            .global(on_global)
            .global_remove(on_remove)
            .register();
        Ok(Self {
            bound,
            _listener: listener,
            registry,
        })
    }

    /// The registry itself, to bind the profiler.
    pub(crate) fn registry(&self) -> &RegistryRc {
        &self.registry
    }

    /// Asks the session manager to link a stream with this source from now on (the name or `object.serial` of its node), or
    /// with what it would get by itself. Says whether there is a session manager to ask.
    pub(crate) fn retarget(&self, stream: u32, source: Option<&str>) -> bool {
        let metadata = self
            .bound
            .borrow()
            .values()
            .find_map(|bound| bound.metadata.clone());
        if let Some(metadata) = &metadata {
            let kind = source.map(|_| "Spa:Id");
            metadata.set_property(stream, "target.object", kind, source);
        }
        metadata.is_some()
    }

    /// Asks the server to remove an object.
    pub(crate) fn destroy(&self, id: u32) {
        // A refusal comes as an error of the core; the object is then still there.
        let _ = self.registry.destroy_global(id);
    }

    /// Sets the mute flag of a source: in its card's route if it has one, else its own.
    pub(crate) fn mute(&self, node: u32, muted: bool, model: &Model) {
        let bound = self.bound.borrow();
        if let Some((device, route, _)) = model.route(node) {
            let device = bound.get(&device).and_then(|it| it.device.clone());
            let param = mutes::route_with(route, muted);
            if let (Some(device), Some(param)) = (device, Pod::from_bytes(&param)) {
                device.set_param(ParamType::Route, 0, param);
            }
        } else {
            let node = bound.get(&node).and_then(|it| it.node.clone());
            let param = mutes::props_with(muted);
            if let (Some(node), Some(param)) = (node, Pod::from_bytes(&param)) {
                node.set_param(ParamType::Props, 0, param);
            }
        }
    }

    /// Asks a node to close its device now, instead of after the session manager's five seconds.
    pub(crate) fn suspend(&self, node: u32) {
        self.command(node, NodeCommandId::SUSPEND);
    }

    /// Has a node run again that the server takes for running.
    pub(crate) fn start_again(&self, node: u32) {
        self.command(node, NodeCommandId::START);
    }

    fn command(&self, node: u32, command: NodeCommandId) {
        let proxy = self.bound.borrow().get(&node).and_then(|b| b.node.clone());
        if let Some(proxy) = proxy {
            proxy.send_command(&NodeCommand::new(command));
        }
    }
}

/// Those that are worth their memory.
fn kept_of(dict: Option<&DictRef>) -> Props {
    dict.map(|dict| dict.iter().collect()).unwrap_or_default()
}

fn add(
    registry: &RegistryRc,
    global: &GlobalObject<&DictRef>,
    model: &Rc<RefCell<Model>>,
    changed: &Changed,
) -> Option<Bound> {
    let prop = |key: &str| global.props.and_then(|props| props.get(key));
    let number = |key: &str| prop(key)?.parse::<u32>().ok();
    match global.type_ {
        ObjectType::Node => {
            let proxy: Rc<NodeProxy> = Rc::new(registry.bind(global).ok()?);
            model.borrow_mut().nodes.insert(
                global.id,
                Node {
                    props: kept_of(global.props),
                    state: NodeState::Unknown,
                    told: false,
                },
            );
            let class = prop("media.class").unwrap_or_default();
            if class.starts_with("Audio/Source") || class == "Audio/Duplex" {
                proxy.subscribe_params(&[ParamType::Props]);
            }
            let listener = watch_node(&proxy, global.id, Rc::downgrade(model), changed.clone());
            // The listener refers to the proxy, so it goes first.
            Some(Bound {
                node: Some(proxy.clone()),
                metadata: None,
                device: None,
                _keep: Box::new((listener, proxy)),
            })
        }
        ObjectType::Client => {
            let proxy: Client = registry.bind(global).ok()?;
            model
                .borrow_mut()
                .clients
                .insert(global.id, kept_of(global.props));
            let (id, model, changed) = (global.id, Rc::downgrade(model), changed.clone());
            let listener = proxy
                .add_listener_local()
                .info(move |info| {
                    let Some(model) = model.upgrade() else { return };
                    if let Some(client) = model.borrow_mut().clients.get_mut(&id) {
                        client.extend(info.props().into_iter().flat_map(|dict| dict.iter()));
                    }
                    model.borrow_mut().version += 1;
                    changed();
                })
                .register();
            Some(Bound {
                node: None,
                metadata: None,
                device: None,
                _keep: Box::new((listener, proxy)),
            })
        }
        ObjectType::Device if prop("media.class").is_some_and(|it| it == "Audio/Device") => {
            let proxy: Rc<Device> = Rc::new(registry.bind(global).ok()?);
            proxy.subscribe_params(&[ParamType::Route]);
            let (id, model, changed) = (global.id, Rc::downgrade(model), changed.clone());
            let listener = proxy
                .add_listener_local()
                .param(move |_, _, _, _, param| {
                    if let (Some(model), Some(route)) =
                        (model.upgrade(), param.and_then(mutes::route))
                    {
                        model.borrow_mut().set_route(id, route);
                        changed();
                    }
                })
                .register();
            Some(Bound {
                node: None,
                metadata: None,
                device: Some(proxy.clone()),
                _keep: Box::new((listener, proxy)),
            })
        }
        ObjectType::Port => {
            let port = Port {
                node: number("node.id")?,
                output: prop("port.direction").is_some_and(|d| d == "out"),
                monitor: prop("port.monitor").is_some_and(|m| m == "true"),
                number: number("port.id").unwrap_or(0),
                channel: prop("audio.channel")
                    .or(prop("port.name"))
                    .unwrap_or_default()
                    .to_owned(),
            };
            model.borrow_mut().ports.insert(global.id, port);
            None
        }
        ObjectType::Link => {
            let link = Link {
                output_node: number("link.output.node")?,
                output_port: number("link.output.port")?,
                input_node: number("link.input.node")?,
                input_port: number("link.input.port")?,
                client: number("client.id"),
                serial: prop("object.serial")
                    .and_then(|serial| serial.parse().ok())
                    .unwrap_or(0),
            };
            model.borrow_mut().links.insert(global.id, link);
            None
        }
        ObjectType::Profiler => {
            model.borrow_mut().profiler = Some(global.id);
            None
        }
        ObjectType::Metadata if prop("metadata.name").is_some_and(|n| n == "default") => {
            let proxy: Rc<Metadata> = Rc::new(registry.bind(global).ok()?);
            // One that was there before has gone with what it knew.
            model.borrow_mut().targets.clear();
            model.borrow_mut().targets_version += 1;
            let (model, changed) = (Rc::downgrade(model), changed.clone());
            let listener = proxy
                .add_listener_local()
                .property(move |subject, key, _type, value| {
                    if let Some(model) = model.upgrade() {
                        match subject {
                            0 => learn_default(&mut model.borrow_mut(), key, value),
                            node => learn_target(&mut model.borrow_mut(), node, key, value),
                        }
                        changed();
                    }
                    0
                })
                .register();
            Some(Bound {
                node: None,
                metadata: Some(proxy.clone()),
                device: None,
                _keep: Box::new((listener, proxy)),
            })
        }
        _ => None,
    }
}

fn watch_node(
    proxy: &Rc<NodeProxy>,
    id: u32,
    model: Weak<RefCell<Model>>,
    changed: Changed,
) -> pipewire::node::NodeListener {
    let (of_param, param_changed) = (model.clone(), changed.clone());
    proxy
        .add_listener_local()
        .info(move |info| {
            let Some(model) = model.upgrade() else { return };
            if let Some(node) = model.borrow_mut().nodes.get_mut(&id) {
                node.state = match info.state() {
                    PwNodeState::Suspended => NodeState::Suspended,
                    PwNodeState::Idle => NodeState::Idle,
                    PwNodeState::Running => NodeState::Running,
                    _ => NodeState::Unknown,
                };
                node.props
                    .extend(info.props().into_iter().flat_map(|dict| dict.iter()));
                node.told = true;
            }
            model.borrow_mut().version += 1;
            changed();
        })
        .param({
            let model = of_param;
            let changed = param_changed;
            move |_, _, _, _, param| {
                if let (Some(model), Some(muted)) =
                    (model.upgrade(), param.and_then(mutes::flag_in_props))
                {
                    model.borrow_mut().set_flag(id, muted);
                    changed();
                }
            }
        })
        .register()
}

/// Takes over a property of the `default` metadata: `{"name": "..."}` as value, no key for "all are gone".
fn learn_default(model: &mut Model, key: Option<&str>, value: Option<&str>) {
    let name = value.and_then(name_in_json);
    match key {
        None => (model.default_source, model.configured_source) = (None, None),
        Some("default.audio.source") => model.default_source = name,
        Some("default.configured.audio.source") => model.configured_source = name,
        Some(_) => return,
    }
    model.version += 1;
}

/// Takes over the source that somebody chose for a node; no key for "nothing is chosen any more".
fn learn_target(model: &mut Model, node: u32, key: Option<&str>, value: Option<&str>) {
    match (key, value) {
        (Some("target.object"), Some(target)) => {
            model.targets.insert(node, target.to_owned());
        }
        (Some("target.object") | None, _) => {
            model.targets.remove(&node);
        }
        _ => return,
    }
    model.targets_version += 1;
    model.version += 1;
}

/// The `name` of a small JSON object, as the session manager writes it.
fn name_in_json(text: &str) -> Option<String> {
    let value: serde_json::Value = serde_json::from_str(text).ok()?;
    value.get("name")?.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_learned_and_forgotten() {
        let mut model = Model::default();
        learn_default(
            &mut model,
            Some("default.audio.source"),
            Some(r#"{"name":"alsa_input.x"}"#),
        );
        learn_default(
            &mut model,
            Some("default.configured.audio.source"),
            Some(r#"{ "name": "m\"ic" }"#),
        );
        assert_eq!(model.default_source.as_deref(), Some("alsa_input.x"));
        assert_eq!(model.configured_source.as_deref(), Some("m\"ic"));
        learn_default(&mut model, Some("default.audio.source"), Some("garbage"));
        assert_eq!(model.default_source, None);
        learn_default(&mut model, None, None);
        assert_eq!(model.configured_source, None);
    }
}
