//! Who a client is: from the properties that the registry gives, the server's word, /proc and the kernel's list of
//! sockets to a [`Who`]. Lives here: the decision
//! itself ([`identify`]), pure over a [`World`]. Looking at the real world is [`system`]'s work; counting and cork
//! state are none of ours.
//!
//! What the words promise (P9):
//! - `Verified`: the kernel told the server the pid at the other end of the client's own connection
//!   (`pipewire.sec.pid`, SO_PEERCRED), and no client can change it.
//! - `Corroborated`: the client came through pipewire-pulse, which is the one that connected; the pid that the client
//!   claims does hold the other end of a connection to that very pipewire-pulse. Which of its peers a stream belongs to
//!   is not to be known: one pulse client can claim the pid of another.
//! - `Claimed`: nobody but the client says so. No executable is looked up for a claimed pid, for that would lend a
//!   liar the looks of whom it names.
//!
//! `identity` speaks of the pid. `app` is the name of the executable where `executable` is there; without it (access
//! denied, or a mount namespace of the process' own, as in Flatpak) `app` is what the client calls itself.
//!
//! What remains: SO_PEERCRED names who *connected*. A process that hands its connection to another, and a pid that came
//! into other hands between the connection and our look, are not seen. Within one look a pid cannot change hands (see
//! [`process`]); so ask once, when the client appears, and keep the answer.

mod blind;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod group;
mod label;
mod process;
mod sockets;
pub(crate) mod system;

pub use blind::blind_spots;
pub use group::{AppGroup, group_by_app};
pub(crate) use process::Process;

use crate::graph::{
    model::{Model, Node},
    props::Props,
};
use std::collections::BTreeSet;
pub(crate) use truemute_core::observed::Who;
use truemute_core::observed::{Api, Identity, Puller};

/// The properties of a client's stream and of the connection that it belongs to, as the registry gives them: the
/// global's properties, and over them those of the info events. (An info event about another change carries none: keep
/// the earlier ones.)
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Claims {
    /// Of the node. All of them are the client's own words, but for a few ids.
    pub(crate) node_props: Props,
    /// Of the client object that the node's `client.id` names; empty when there is none. `pipewire.sec.*` is the
    /// server's word, the rest the client's.
    pub(crate) client_props: Props,
}

impl Claims {
    /// Those of a node and of the client that owns it.
    pub(crate) fn of(node: &Node, model: &Model) -> Self {
        let client = node.client().and_then(|id| model.clients.get(&id));
        Self {
            node_props: node.props.clone(),
            client_props: client.cloned().unwrap_or_default(),
        }
    }
}

/// What a server's sockets tell about those who connected to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Served {
    /// Whether it listens on a socket named as PulseAudio's is.
    pub(crate) speaks_pulse: bool,
    /// Inodes of the sockets at the other end of the connections that it accepted.
    pub(crate) peers: BTreeSet<u32>,
}

/// What can be looked up about processes. [`system::System`] asks the kernel; tests make theirs up.
pub(crate) trait World {
    /// The process of that pid, unless there is none.
    fn process(&self, pid: u32) -> Option<Process>;
    /// Who is connected to the Unix sockets that this process listens on.
    fn served(&self, server: u32) -> Served;
    /// Whether this process (this one, not a later one of the same pid) holds one of these sockets.
    fn holds(&self, process: &Process, sockets: &BTreeSet<u32>) -> bool;
    /// All processes that hold one of these sockets and see themselves as `own_pid`, as far as we may look.
    fn holders(&self, own_pid: u32, sockets: &BTreeSet<u32>) -> Vec<Process>;
    /// Whether the audio server gives pids as we know them. In another pid namespace its numbers mean others here.
    fn server_shares_our_pids(&self) -> bool;
}

/// Says who a client is. For the control thread, once per client, when the first info of both its node and its client
/// object is there. Takes 0.1 ms, for a pulse client 1 ms, and 8 ms if a sandboxed pid has to be searched for among 200
/// processes (measured without optimisation).
pub(crate) fn identify(claims: &Claims, world: &impl World) -> Who {
    let Some(connected) = connected_pid(claims).filter(|_| world.server_shares_our_pids()) else {
        return claimed(claims, label::claimed_api(claims), None);
    };
    let process = world.process(connected);
    let puller = Puller {
        pid: connected,
        name: process
            .as_ref()
            .map_or_else(String::new, |it| label::presentable(&it.name)),
    };
    if through_pulse(claims, process.as_ref(), connected, world) {
        return pulse_client(claims, puller, world);
    }
    if claims
        .client_props
        .get("pipewire.access")
        .is_some_and(|it| it == "portal")
    {
        // xdg-desktop-portal connected and handed the connection on: its pid is not the app's.
        return claimed(claims, label::claimed_api(claims), None);
    }
    Who {
        app: app_name(claims, process.as_ref()),
        stream: label::stream(claims),
        pid: Some(connected),
        executable: process.and_then(|it| it.executable),
        identity: Identity::Verified,
        puller: Some(puller),
        api: label::native_api(claims),
        purpose: label::purpose(claims),
    }
}

/// The pid that the kernel gave the server for the connection which made this node, or none if that is not known.
fn connected_pid(claims: &Claims) -> Option<u32> {
    // A lingering node outlives its maker, so the server gives it no `client.id` and leaves whatever the maker wrote
    // there: anybody's (module-adapter.c and module-spa-node-factory.c of 0.3.65 and 1.4.2; tried on 0.3.65).
    if claims
        .node_props
        .get("object.linger")
        .is_some_and(|it| !matches!(it, "false" | "0"))
    {
        return None;
    }
    // SO_PEERCRED gives 0 for a process outside the server's pid namespace.
    claims
        .client_props
        .get("pipewire.sec.pid")?
        .parse()
        .ok()
        .filter(|pid| *pid > 0)
}

/// Whether the process that connected is a PulseAudio server, pulling for a client of its own. Any doubt is decided
/// against "verified": what a server does for others must not pass as its own doing. A pulse client can overwrite
/// `client.api`, so the server's file name and its sockets count as well.
fn through_pulse(claims: &Claims, process: Option<&Process>, pid: u32, world: &impl World) -> bool {
    let says_pulse = label::claimed_api(claims) == Api::Pulse;
    match process {
        None => says_pulse,
        Some(process) => match process
            .executable
            .as_deref()
            .and_then(|it| it.file_name()?.to_str())
        {
            Some("pipewire") => {
                says_pulse || process.name == "pipewire-pulse" || world.served(pid).speaks_pulse
            }
            Some(name) => name == "pipewire-pulse",
            None => says_pulse || process.name == "pipewire-pulse",
        },
    }
}

/// A client of a PulseAudio server: looks for the process behind the pid that it claims.
fn pulse_client(claims: &Claims, puller: Puller, world: &impl World) -> Who {
    let behind =
        label::claimed_pid(claims).and_then(|pid| peer_process(pid, claims, puller.pid, world));
    match behind {
        None => claimed(claims, Api::Pulse, Some(puller)),
        Some(process) => Who {
            app: app_name(claims, Some(&process)),
            stream: label::stream(claims),
            pid: Some(process.pid),
            executable: process.executable,
            identity: Identity::Corroborated,
            puller: Some(puller),
            api: Api::Pulse,
            purpose: label::purpose(claims),
        },
    }
}

/// The one process among the server's real peers that goes by the claimed pid: in our namespace, or in its own.
fn peer_process(claimed: u32, claims: &Claims, server: u32, world: &impl World) -> Option<Process> {
    let peers = world.served(server).peers;
    if peers.is_empty() {
        return None;
    }
    // A process that sees itself as 2 is not meant by a claimed 2 of the host, hence `own_pid` here too.
    if let Some(process) = world.process(claimed)
        && process.own_pid == claimed
        && world.holds(&process, &peers)
    {
        return Some(process);
    }
    let mut named = world.holders(claimed, &peers);
    if named.len() > 1 {
        // Two sandboxes, the same pid in each: only the name of the program can tell them apart.
        let binary = label::claimed_binary(claims)?;
        named.retain(|it| it.name == binary || it.command == binary);
    }
    match named.len() {
        1 => named.pop(),
        _ => None,
    }
}

/// What is left when nobody vouches.
fn claimed(claims: &Claims, api: Api, puller: Option<Puller>) -> Who {
    Who {
        app: label::claimed_app(claims),
        stream: label::stream(claims),
        pid: label::claimed_pid(claims),
        executable: None,
        identity: Identity::Claimed,
        puller,
        api,
        purpose: label::purpose(claims),
    }
}

fn app_name(claims: &Claims, process: Option<&Process>) -> String {
    match process {
        Some(process) if process.executable.is_some() => label::presentable(&process.name),
        _ => label::claimed_app(claims),
    }
}

#[cfg(test)]
mod server_tests;
#[cfg(test)]
mod tests;
