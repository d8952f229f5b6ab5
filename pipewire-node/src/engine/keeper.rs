//! Keeps the streams of apps that are muted on their own on the silent source, also when they come anew. The session
//! manager moves them, asked by the metadata `target.object`; while one of them is linked to the virtual mic all the same,
//! nobody gets sound from that. Main-loop thread. What the silent source does is in [`crate::aside`].

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::mpsc::SyncSender,
};

use pipewire::context::ContextRc;
use truemute_core::observed::{AppSwitched, MutedApp};

use super::{
    Failure,
    clients::Clients,
    data_loop::DataLoop,
    plan::Plan,
    sides::{Side, Tables},
    switch::PATIENCE,
};
use crate::{
    SILENT_TWIN, VIRTUAL_MIC,
    aside::{NODE_NAME, SilentCycle, SilentSource},
    count::books::TraceReceiver,
    graph::{model::Model, watch::Watch},
    sample::Cycle,
    who::{Claims, Who},
};

/// How long the session manager has to move a stream before we cut its link to the virtual mic. It takes 10 to 60 ms.
const GRACE_NS: u64 = 300_000_000;
/// How long a stream on its way back stays a client although it is linked to nothing.
const RETURN_NS: u64 = 2_000_000_000;
const PATIENCE_NS: u64 = PATIENCE.as_nanos() as u64;

/// What the keeper works with.
pub(super) struct Around<'a> {
    pub(super) model: &'a Model,
    pub(super) clients: &'a mut Clients,
    pub(super) watch: &'a Watch,
    pub(super) plan: &'a Plan,
    pub(super) mic: &'a DataLoop<Cycle>,
    /// The virtual mic's node.
    pub(super) virtual_mic: u32,
    pub(super) now_ns: u64,
}

/// The apps, their streams and the silent source.
pub(super) struct Keeper {
    context: ContextRc,
    apps: Vec<MutedApp>,
    source: Option<Silent>,
    tracing: bool,
    /// Streams whose source we chose.
    streams: BTreeMap<u32, Kept>,
    /// What is known of nodes, so that /proc is not asked each time.
    known: BTreeMap<u32, (Claims, Who)>,
    /// Nodes that were on the virtual mic when their app was muted, and since when. Until the reply they may have sound.
    leaving: BTreeMap<u32, u64>,
    /// Nodes that are on the virtual mic and may not have sound, or of which it is not known yet, and since when.
    intruders: BTreeMap<u32, u64>,
    withheld: bool,
    pending: Vec<Pending>,
}

struct Silent {
    node: SilentSource,
    data_loop: DataLoop<SilentCycle>,
    trace: TraceReceiver,
    /// Whether the server has shown the node.
    published: bool,
}

struct Kept {
    /// The target that it had before. Where that is not known, the virtual mic: another daemon moved it from there, or the
    /// session manager's script keeps it from the real mics until the virtual mic can be linked to.
    former: Option<String>,
    /// [`Model::targets_version`] when we chose ours: until it has grown, the server has not answered.
    written: Option<u64>,
    /// On its way back: forgotten at this time.
    returning_ns: Option<u64>,
}

/// A command that waits until the streams have moved.
struct Pending {
    from: Side,
    nodes: BTreeSet<u32>,
    done: AppSwitched,
    asked_ns: u64,
    reply: SyncSender<Result<AppSwitched, Failure>>,
}

impl Keeper {
    pub(super) fn new(context: ContextRc) -> Self {
        Self {
            context,
            apps: Vec::new(),
            source: None,
            tracing: false,
            streams: BTreeMap::new(),
            known: BTreeMap::new(),
            leaving: BTreeMap::new(),
            intruders: BTreeMap::new(),
            withheld: false,
            pending: Vec::new(),
        }
    }

    /// The apps that are muted on their own.
    pub(super) fn apps(&self) -> &[MutedApp] {
        &self.apps
    }

    /// Whether this is one of them.
    pub(super) fn is_muted(&self, who: &Who) -> bool {
        let executable = who.executable.as_deref();
        self.apps.iter().any(|app| app.is_app(&who.app, executable))
    }

    /// Whether this node stays a client while it is linked to no source of ours.
    pub(super) fn moves(&self, node: u32) -> bool {
        self.streams.contains_key(&node)
    }

    /// The silent source's node.
    pub(super) fn node(&self) -> Option<u32> {
        self.source.as_ref()?.node.node_id()
    }

    /// The silent source's node, if it does not run as far as it knows.
    pub(super) fn stopped(&self) -> Option<u32> {
        let source = self.source.as_ref()?;
        let runs = source.node.is_streaming();
        source.node.node_id().filter(|_| !runs)
    }

    /// The silent source's counting.
    pub(super) fn data_loop(&self) -> Option<&DataLoop<SilentCycle>> {
        self.source.as_ref().map(|source| &source.data_loop)
    }

    /// The silent source's trace.
    pub(super) fn trace(&mut self) -> Option<&mut TraceReceiver> {
        self.source.as_mut().map(|source| &mut source.trace)
    }

    /// Turns the trace on or off.
    pub(super) fn set_tracing(&mut self, on: bool) {
        self.tracing = on;
        if let Some(source) = &self.source {
            source.trace.switch(on);
        }
    }

    /// Whether somebody removed the silent source's node.
    pub(super) fn has_lost_node(&mut self, model: &Model) -> bool {
        let Some(source) = &mut self.source else {
            return false;
        };
        let node = source.node.node_id();
        let there = node.is_some_and(|node| model.nodes.contains_key(&node));
        std::mem::replace(&mut source.published, there) && !there
    }

    /// Mutes these apps too, without an answer.
    pub(super) fn restore(&mut self, apps: Vec<MutedApp>) {
        for app in apps {
            if !self.apps.contains(&app) {
                self.apps.push(app);
            }
        }
    }

    /// Mutes the app of a connected client, by its number or by the app's name.
    pub(super) fn mute(
        &mut self,
        which: &str,
        asked_ns: u64,
        reply: SyncSender<Result<AppSwitched, Failure>>,
        around: &Around<'_>,
    ) {
        let mut apps: Vec<MutedApp> = connected(which, around.clients)
            .map(|who| MutedApp {
                app: who.app.clone(),
                // A path that is not UTF-8 cannot be written as JSON; then the name has to do.
                executable: who.executable.clone().filter(|it| it.to_str().is_some()),
            })
            .collect();
        apps.sort();
        apps.dedup();
        if apps.is_empty() {
            let _ = reply.send(Err(Failure::NoSuchClient(which.to_owned())));
            return;
        }
        let before = self.apps.len();
        self.restore(apps.clone());
        let changed = self.apps.len() > before;
        let on_mic: BTreeSet<u32> = around.clients.on(Side::Mic).collect();
        for (node, _, who) in around.clients.connected() {
            if on_mic.contains(&node) && self.is_muted(who) && !self.intruders.contains_key(&node) {
                self.leaving.insert(node, asked_ns);
            }
        }
        self.wait(Side::Mic, apps, changed, asked_ns, reply, around);
    }

    /// Takes a mute of one app back, by the app's name or by the number of a connected client of it.
    pub(super) fn unmute(
        &mut self,
        which: &str,
        asked_ns: u64,
        reply: SyncSender<Result<AppSwitched, Failure>>,
        around: &Around<'_>,
    ) {
        let meant: Vec<&Who> = connected(which, around.clients).collect();
        let is_meant = |app: &MutedApp| {
            let of_client = |who: &&Who| app.is_app(&who.app, who.executable.as_deref());
            MutedApp::is_called(which, &app.app, app.executable.as_deref())
                || meant.iter().any(of_client)
        };
        let (gone, stay): (Vec<_>, Vec<_>) = self.apps.drain(..).partition(is_meant);
        self.apps = stay;
        if gone.is_empty() {
            let _ = reply.send(Err(Failure::NotMuted(which.to_owned())));
            return;
        }
        self.wait(Side::Aside, gone, true, asked_ns, reply, around);
    }

    fn wait(
        &mut self,
        from: Side,
        apps: Vec<MutedApp>,
        changed: bool,
        asked_ns: u64,
        reply: SyncSender<Result<AppSwitched, Failure>>,
        around: &Around<'_>,
    ) {
        let there: BTreeSet<u32> = around.clients.on(from).collect();
        let of_app = |who: &Who| {
            let executable = who.executable.as_deref();
            apps.iter().any(|app| app.is_app(&who.app, executable))
        };
        let (nodes, clients) = around
            .clients
            .connected()
            .filter(|(node, _, who)| there.contains(node) && of_app(who))
            .map(|(node, id, _)| (node, id))
            .unzip();
        self.pending.push(Pending {
            from,
            nodes,
            done: AppSwitched {
                apps,
                clients,
                changed,
                took_us: 0,
            },
            asked_ns,
            reply,
        });
    }

    /// Somebody was linked to the virtual mic or unlinked: nobody gets sound while one is there who may not. In a link, sound
    /// flows only after the server has told us more than this, on the same connection: so it is in time.
    pub(super) fn guard(&mut self, around: &Around<'_>) {
        if self.apps.is_empty() && !self.withheld {
            return;
        }
        let on_mic: BTreeSet<u32> = around.clients.on(Side::Mic).collect();
        self.leaving.retain(|node, _| on_mic.contains(node));
        let former = std::mem::take(&mut self.intruders);
        for node in on_mic {
            if !self.leaving.contains_key(&node)
                && !drives(node, around)
                && self.judge(node, around) != Some(false)
            {
                let since = former.get(&node).copied().unwrap_or(around.now_ns);
                self.intruders.insert(node, since);
            }
        }
        let withheld = !self.intruders.is_empty();
        if withheld != self.withheld {
            self.withheld = withheld;
            around.mic.run(|cycle| cycle.withhold(withheld));
        }
    }

    /// Whether a node belongs to a muted app; nothing if not all is known yet that it takes to say so.
    fn judge(&mut self, node: u32, around: &Around<'_>) -> Option<bool> {
        if self.apps.is_empty() {
            return Some(false);
        }
        let facts = around.model.nodes.get(&node).filter(|node| node.told)?;
        let client = facts.client().and_then(|id| around.model.clients.get(&id));
        let is_current = |claims: &Claims| {
            let same_client = match client {
                Some(props) => *props == claims.client_props,
                None => claims.client_props.is_empty(),
            };
            facts.props == claims.node_props && same_client
        };
        if !self
            .known
            .get(&node)
            .is_some_and(|(claims, _)| is_current(claims))
        {
            let claims = Claims::of(facts, around.model);
            let who = around.clients.who_made(&claims);
            self.known.insert(node, (claims, who));
        }
        let (_, who) = self.known.get(&node)?;
        Some(self.is_muted(who))
    }

    /// Does what there is to do.
    pub(super) fn keep(&mut self, around: &mut Around<'_>) -> Result<(), String> {
        if self.apps.is_empty() && self.streams.is_empty() && self.source.is_none() {
            self.answer(around);
            return Ok(());
        }
        let there = |node: &u32| around.model.nodes.contains_key(node);
        self.known.retain(|node, _| there(node));
        self.streams.retain(|node, _| there(node));
        if self.source.is_none() && !self.apps.is_empty() {
            let (node, trace) = around.plan.build_aside()?;
            trace.switch(self.tracing);
            let data_loop = DataLoop::new(self.context.clone(), node.cycle());
            self.source = Some(Silent {
                node,
                data_loop,
                trace,
                published: false,
            });
        }
        self.choose(around);
        self.guard(around);
        self.cut(around);
        self.answer(around);
        self.let_go(around);
        Ok(())
    }

    /// Chooses the source of each stream of a muted app, and gives others back what they had.
    fn choose(&mut self, around: &Around<'_>) {
        for (node, facts) in &around.model.nodes {
            let records = facts.prop("media.class").starts_with("Stream/Input/Audio")
                && facts.prop("stream.capture.sink") != "true";
            if records && self.judge(*node, around) == Some(true) {
                let found = around.model.targets.get(node);
                let kept = self.streams.entry(*node).or_insert_with(|| Kept {
                    former: found.map(|name| former(name)),
                    written: None,
                    returning_ns: None,
                });
                kept.returning_ns = None;
            }
        }
        let nodes: Vec<u32> = self.streams.keys().copied().collect();
        let version = around.model.targets_version;
        for node in nodes {
            let muted = self.judge(node, around) == Some(true);
            let Some(kept) = self.streams.get_mut(&node) else {
                continue;
            };
            let target = around.model.targets.get(&node).map(String::as_str);
            // Once it was told ours, it is on the twin only until ours can be linked to.
            let is_kept = target == Some(NODE_NAME)
                || (target == Some(SILENT_TWIN) && kept.written.is_some());
            if muted && !is_kept {
                if kept.written != Some(version) && around.watch.retarget(node, Some(NODE_NAME)) {
                    kept.former = target.map(former);
                    kept.written = Some(version);
                }
            } else if !muted && kept.returning_ns.is_none() {
                around.watch.retarget(node, kept.former.as_deref());
                kept.returning_ns = Some(around.now_ns.saturating_add(RETURN_NS));
            }
        }
        let on_mic: BTreeSet<u32> = around.clients.on(Side::Mic).collect();
        self.streams.retain(|node, kept| {
            kept.returning_ns
                .is_none_or(|until| until > around.now_ns && !on_mic.contains(node))
        });
    }

    /// Removes the links of those whom the session manager has not moved in time.
    fn cut(&mut self, around: &Around<'_>) {
        let now_ns = around.now_ns;
        let all = self.intruders.iter_mut().chain(&mut self.leaving);
        for (node, since_ns) in all.filter(|(_, since)| now_ns >= since.saturating_add(GRACE_NS)) {
            *since_ns = now_ns;
            tracing::warn!(
                node,
                "a stream of a muted app was not moved from the virtual microphone, and is cut off"
            );
            let links = around.model.links.iter();
            links
                .filter(|(_, l)| (l.output_node, l.input_node) == (around.virtual_mic, *node))
                .for_each(|(id, _)| around.watch.destroy(*id));
        }
    }

    /// Answers the commands whose streams have moved.
    fn answer(&mut self, around: &Around<'_>) {
        let aside = self.node();
        let mut late = false;
        self.pending.retain_mut(|pending| {
            let source = match pending.from {
                Side::Mic => Some(around.virtual_mic),
                Side::Aside => aside,
            };
            let linked: BTreeSet<u32> = source
                .map(|source| around.model.readers(source))
                .into_iter()
                .flatten()
                .chain(around.clients.on(pending.from))
                .collect();
            let waited_ns = around.now_ns.saturating_sub(pending.asked_ns);
            if pending.nodes.is_disjoint(&linked) {
                pending.done.took_us = waited_ns / 1_000;
                let _ = pending.reply.send(Ok(pending.done.clone()));
                return false;
            }
            if waited_ns < PATIENCE_NS {
                return true;
            }
            late = true;
            let app = pending.done.apps.first().map(|app| app.app.clone());
            let failure = Failure::NotMoved {
                app: app.unwrap_or_default(),
                withheld: pending.from == Side::Mic,
            };
            let _ = pending.reply.send(Err(failure));
            false
        });
        if late {
            // The command has been answered: from now on it is silent, whoever else is with it.
            self.leaving.clear();
            self.guard(around);
        }
    }

    /// Takes the silent source away when nobody needs it any more.
    fn let_go(&mut self, around: &mut Around<'_>) {
        let Some(source) = &self.source else { return };
        let node = source.node.node_id();
        let idle = node.is_none_or(|node| around.model.readers(node).is_empty());
        if self.apps.is_empty() && self.streams.is_empty() && idle {
            let tables = Tables {
                mic: around.mic,
                aside: Some(&source.data_loop),
            };
            around.clients.leave_side(Side::Aside, &tables);
            self.source = None;
            self.known.clear();
        }
    }

    /// When [`Self::keep`] has something to do at the latest.
    pub(super) fn due_ns(&self) -> Option<u64> {
        let cuts = self.intruders.values().chain(self.leaving.values());
        let answers = self.pending.iter().map(|pending| pending.asked_ns);
        let returns = self.streams.values().filter_map(|kept| kept.returning_ns);
        cuts.map(|since| since.saturating_add(GRACE_NS))
            .chain(answers.map(|asked| asked.saturating_add(PATIENCE_NS)))
            .chain(returns)
            .min()
    }
}

/// Where a stream goes back to that has this target.
fn former(target: &str) -> String {
    match target {
        NODE_NAME | SILENT_TWIN => VIRTUAL_MIC.to_owned(),
        other => other.to_owned(),
    }
}

/// Whether this is a source that the counting side knows as the graph's driver, and no link leads to it.
fn drives(node: u32, around: &Around<'_>) -> bool {
    let facts = around.model.nodes.get(&node);
    facts.is_some_and(|facts| facts.prop("media.class").starts_with("Audio/Source"))
        && !around.model.readers(around.virtual_mic).contains(&node)
}

/// Who is connected and meant by a command.
fn connected<'a>(which: &'a str, clients: &'a Clients) -> impl Iterator<Item = &'a Who> {
    let number = which.parse::<u64>().ok();
    let numbered = number.is_some_and(|number| clients.connected().any(|(_, id, _)| id == number));
    clients
        .connected()
        .filter(move |(_, id, who)| match numbered {
            true => Some(*id) == number,
            false => MutedApp::is_called(which, &who.app, who.executable.as_deref()),
        })
        .map(|(_, _, who)| who)
}
