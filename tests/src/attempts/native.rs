//! Attempts of clients that speak to PipeWire themselves.

use std::fs;

use truemute_pipewire::rehearsal::Format;

use super::{Ground, Heard, heard};
use crate::meddler::Meddler;
use crate::recorder::{Connections, Recorder, RecorderOptions, Recorders, wait_until};

/// Enough for the longest patience: 20 s of one channel.
const KEPT: usize = 20 * 48_000 * 4;

fn options(ground: &Ground<'_>) -> RecorderOptions {
    RecorderOptions {
        name: "attempt".to_owned(),
        target: Some(ground.mic.to_owned()),
        channels: 1,
        format: Format::F32,
        kept_bytes: KEPT,
        ..RecorderOptions::default()
    }
}

fn with(key: &str, value: impl ToString) -> (String, String) {
    (key.to_owned(), value.to_string())
}

/// A client of its own with these options, listening.
fn listens(ground: &Ground<'_>, options: RecorderOptions) -> Result<Heard, String> {
    let recorders = Recorders::start(ground.server, Connections::Own)?;
    Ok(ground.listen(&recorders.add(options)?))
}

pub(super) fn by_name(ground: &Ground<'_>) -> Result<Heard, String> {
    listens(ground, options(ground))
}

pub(super) fn default_source(ground: &Ground<'_>) -> Result<Heard, String> {
    listens(
        ground,
        RecorderOptions {
            target: None,
            ..options(ground)
        },
    )
}

pub(super) fn as_manager(ground: &Ground<'_>) -> Result<Heard, String> {
    listens(
        ground,
        RecorderOptions {
            properties: vec![with("media.category", "Manager")],
            ..options(ground)
        },
    )
}

pub(super) fn managers_socket(ground: &Ground<'_>) -> Result<Heard, String> {
    let socket = ground.server.directory().join("pipewire-0-manager");
    if !fs::exists(&socket).unwrap_or(false) {
        return Err("this version has no such socket".to_owned());
    }
    let recorders = Recorders::on(socket, Connections::Own)?;
    Ok(ground.listen(&recorders.add(options(ground))?))
}

/// Everything by which a client could hope to be taken for the daemon.
pub(super) fn impostor(ground: &Ground<'_>) -> Result<Heard, String> {
    listens(
        ground,
        RecorderOptions {
            name: "truemute.capture".to_owned(),
            properties: vec![
                with("application.name", "truemute"),
                with("application.process.id", ground.daemon_pid),
                with("application.process.binary", "truemute"),
                with("pipewire.sec.pid", ground.daemon_pid),
                with("pipewire.access", "unrestricted"),
                with("pipewire.client.access", "unrestricted"),
                with("client.id", 0),
            ],
            ..options(ground)
        },
    )
}

/// A client that nobody links, with its node's id.
fn unlinked(ground: &Ground<'_>, recorders: &Recorders) -> Result<(Recorder, u32), String> {
    let alone = RecorderOptions {
        target: None,
        autoconnect: false,
        ..options(ground)
    };
    added(ground, recorders, alone)
}

/// A client, with its node's id.
fn added(
    ground: &Ground<'_>,
    recorders: &Recorders,
    options: RecorderOptions,
) -> Result<(Recorder, u32), String> {
    let client = recorders.add(options)?;
    wait_until(ground.patience, || client.node_id().is_some());
    let node = client.node_id().ok_or("the client got no node")?;
    Ok((client, node))
}

pub(super) fn links_by_ids(ground: &Ground<'_>) -> Result<Heard, String> {
    let recorders = Recorders::start(ground.server, Connections::Own)?;
    let (client, node) = unlinked(ground, &recorders)?;
    let meddler = Meddler::connect(ground.server);
    meddler.look_until(ground.patience, |meddler| {
        meddler.ports().values().any(|port| port.node == node)
    });
    guess_links(ground, &meddler, node);
    Ok(ground.listen(&client))
}

/// The mic's id is known and the server finds a port of it; or the port's id is guessed, among those that are not shown.
fn guess_links(ground: &Ground<'_>, meddler: &Meddler, listener: u32) {
    meddler.request_link(ground.mic_node, None, listener, None);
    let shown = meddler.ports();
    let unseen = |id: &u32| {
        let port = shown.get(id);
        port.is_none_or(|port| port.node == ground.mic_node)
    };
    for port in (0..200).filter(unseen) {
        meddler.request_link(ground.mic_node, Some(port), listener, None);
    }
    meddler.look();
}

pub(super) fn links_every_port(ground: &Ground<'_>) -> Result<Heard, String> {
    let recorders = Recorders::start(ground.server, Connections::Own)?;
    let (client, node) = unlinked(ground, &recorders)?;
    let meddler = Meddler::connect(ground.server);
    let input = || {
        let mut ports = meddler.ports().into_iter();
        ports.find(|(_, port)| port.node == node && !port.output)
    };
    meddler.look_until(ground.patience, |_| input().is_some());
    let (input, _) = input().ok_or("the client has no port")?;
    // What feeds a simulated mic stands for the room.
    let room = meddler.node(&format!("{}.feeder", ground.mic));
    let room = room.map(|(id, _)| id);
    for (output, port) in meddler.ports() {
        if port.output && port.node != node && Some(port.node) != room {
            meddler.link(output, input);
        }
    }
    meddler.look();
    Ok(ground.listen(&client))
}

/// What feeds the simulated mic is a filter, of a program that the guard trusts where it is installed.
pub(super) fn trusted_filter(ground: &Ground<'_>) -> Result<Heard, String> {
    hears_node(ground, &format!("{}.feeder", ground.mic))
}

/// A client links itself with the output of a node: by what it sees, or by guessing among what it does not see.
pub(super) fn hears_node(ground: &Ground<'_>, name: &str) -> Result<Heard, String> {
    let recorders = Recorders::start(ground.server, Connections::Own)?;
    let (client, node) = unlinked(ground, &recorders)?;
    let meddler = Meddler::connect(ground.server);
    links_with(ground, name, &meddler, node)?;
    Ok(ground.listen(&client))
}

/// A client that says this of itself asks for a node, and another that says the same links them.
pub(super) fn hears_node_claiming(
    ground: &Ground<'_>,
    name: &str,
    claims: &[(String, String)],
) -> Result<Heard, String> {
    let recorders = Recorders::start(ground.server, Connections::Own)?;
    let claiming = RecorderOptions {
        target: Some(name.to_owned()),
        properties: claims.to_vec(),
        ..options(ground)
    };
    let (client, node) = added(ground, &recorders, claiming)?;
    let meddler = Meddler::claiming(ground.server, claims);
    links_with(ground, name, &meddler, node)?;
    Ok(ground.listen(&client))
}

/// Links `node` with the output of the node called `name`.
fn links_with(ground: &Ground<'_>, name: &str, meddler: &Meddler, node: u32) -> Result<(), String> {
    let ports = |of: u32, output: bool| {
        let mut ports = meddler.ports().into_iter();
        ports.find_map(|(id, port)| (port.node == of && port.output == output).then_some(id))
    };
    meddler.look_until(ground.patience, |_| ports(node, false).is_some());
    let input = ports(node, false).ok_or("the client has no port")?;
    let wanted = || {
        let mut nodes = meddler.nodes().into_iter();
        let (id, _) = nodes.find(|(_, node)| node.name == name)?;
        ports(id, true)
    };
    meddler.look_until(ground.patience / 2, |_| wanted().is_some());
    match wanted() {
        Some(output) => meddler.link(output, input),
        None => {
            let shown = meddler.nodes();
            // A node can be shown without its ports, and the server finds one.
            let possible = |id: &u32| shown.get(id).is_none_or(|shown| shown.name == name);
            for guess in (0..200).filter(possible) {
                meddler.request_link(guess, None, node, None);
            }
        }
    }
    meddler.look();
    Ok(())
}

pub(super) fn moved_by_metadata(ground: &Ground<'_>) -> Result<Heard, String> {
    let recorders = Recorders::start(ground.server, Connections::Own)?;
    let client = recorders.add(RecorderOptions {
        target: None,
        ..options(ground)
    })?;
    wait_until(ground.patience, || client.node_id().is_some());
    let node = client.node_id().ok_or("the client got no node")?;
    set_metadata(ground, &node.to_string(), "target.object", ground.mic)?;
    Ok(ground.listen(&client))
}

pub(super) fn default_changed(ground: &Ground<'_>) -> Result<Heard, String> {
    let name = format!("{{ \"name\": \"{}\" }}", ground.mic);
    for key in ["default.configured.audio.source", "default.audio.source"] {
        set_metadata(ground, "0", key, &name)?;
    }
    default_source(ground)
}

fn set_metadata(ground: &Ground<'_>, subject: &str, key: &str, value: &str) -> Result<(), String> {
    let mut command = ground.server.own_command("pw-metadata");
    let output = command.args([subject, key, value]).output();
    output.map(drop).map_err(|error| error.to_string())
}

/// A node that belongs to nobody asks for the mic; what comes out of its monitor is listened to.
pub(super) fn lingering_adapter(ground: &Ground<'_>) -> Result<Heard, String> {
    let node = [
        ("factory.name", "support.null-audio-sink"),
        ("media.class", "Stream/Input/Audio"),
        ("audio.position", "[MONO]"),
        ("monitor.channel-volumes", "false"),
        ("node.autoconnect", "true"),
        ("target.object", ground.mic),
    ];
    lingering(ground, "adapter", "lingering-adapter", &node)
}

/// A bare node that belongs to nobody. No session manager knows what to do with one: the attacker gives it its ports, links it
/// with the mic, and listens to what comes out.
pub(super) fn lingering_spa_node(ground: &Ground<'_>) -> Result<Heard, String> {
    let node = [("factory.name", "audio.convert")];
    lingering(ground, "spa-node-factory", "lingering-spa-node", &node)
}

/// Makes a node that belongs to nobody and listens to what comes out of it.
fn lingering(
    ground: &Ground<'_>,
    factory: &str,
    name: &str,
    properties: &[(&str, &str)],
) -> Result<Heard, String> {
    let meddler = Meddler::connect(ground.server);
    let own = [("node.name", name), ("object.linger", "true")];
    meddler.create_node(factory, &[&own, properties].concat());
    let recorders = Recorders::start(ground.server, Connections::Own)?;
    let (client, listener) = unlinked(ground, &recorders)?;
    let port = |of: u32, output: bool| {
        let mut ports = meddler.ports().into_iter();
        ports.find_map(|(id, port)| (port.node == of && port.output == output).then_some(id))
    };
    let made = || {
        let mut nodes = meddler.nodes().into_iter();
        nodes.find_map(|(id, node)| (node.name == name).then_some(id))
    };
    meddler.look_until(ground.patience, |_| made().is_some());
    // Hidden, or not to be made at all.
    let Some(made) = made() else {
        return Ok(ground.listen(&client));
    };
    if factory == "spa-node-factory" {
        meddler.give_mono_ports(made);
        meddler.look();
        guess_links(ground, &meddler, made);
    }
    let pair = || Some((port(made, true)?, port(listener, false)?));
    meddler.look_until(ground.patience, |_| pair().is_some());
    if let Some((output, input)) = pair() {
        meddler.link(output, input);
        meddler.look();
    }
    Ok(ground.listen(&client))
}

/// A client may not give itself more than it has; another may try for it.
pub(super) fn permissions_from_a_friend(ground: &Ground<'_>) -> Result<Heard, String> {
    let recorders = Recorders::start(ground.server, Connections::Own)?;
    let (client, node) = unlinked(ground, &recorders)?;
    let meddler = Meddler::connect(ground.server);
    let owner = |meddler: &Meddler| {
        let owned = meddler.nodes().remove(&node)?;
        let linkable = meddler.ports().values().any(|port| port.node == node);
        owned.props.get("client.id").filter(|_| linkable).cloned()
    };
    meddler.look_until(ground.patience, |meddler| owner(meddler).is_some());
    let owner = owner(&meddler).ok_or("the client's node has no owner")?;
    for object in [ground.mic_node.to_string(), "-1".to_owned()] {
        let mut command = ground.server.own_command("pw-cli");
        command.args(["permissions", &owner, &object, "511"]);
        command.output().map_err(|error| error.to_string())?;
    }
    guess_links(ground, &meddler, node);
    Ok(ground.listen(&client))
}

/// One after another, so that one of them may come between a rule and its effect.
pub(super) fn short_clients(ground: &Ground<'_>) -> Result<Heard, String> {
    let recorders = Recorders::start(ground.server, Connections::Own)?;
    let mut all = Heard::default();
    for _ in 0..100 {
        let client = recorders.add(RecorderOptions {
            kept_bytes: 48_000 * 4,
            cycles: 100,
            ..options(ground)
        })?;
        // As long as it takes to be linked on an idle machine.
        let one = ground.wait_for(ground.patience / 50, || heard(&client));
        all.samples += one.samples;
        all.sound += one.sound;
        if all.sound > 0 && !ground.to_the_end {
            break;
        }
    }
    Ok(all)
}
