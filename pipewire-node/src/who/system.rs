//! The real [`World`]: /proc and the kernel's list of sockets, put together. What a denied look means is decided here:
//! nothing is known then, and a debug line says so.

use super::process::{ProcDir, Process, all_pids};
use super::sockets::{UnixSocket, all_unix_sockets};
use super::{Served, World};
use std::collections::{BTreeSet, HashSet};

/// Looks processes up. For the control thread.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct System {
    server_shares_our_pids: bool,
}

impl System {
    /// `own_sec_pid` is the `pipewire.sec.pid` that the server gives for our own connection. Only if it is our pid can
    /// the server's pids be looked up here; otherwise (none, or a server in another pid namespace) every client's
    /// identity is claimed.
    pub(crate) fn new(own_sec_pid: Option<&str>) -> Self {
        let ours = std::process::id();
        Self {
            server_shares_our_pids: own_sec_pid.and_then(|it| it.parse().ok()) == Some(ours),
        }
    }
}

impl World for System {
    fn process(&self, pid: u32) -> Option<Process> {
        ProcDir::open(pid).ok()?.look()
    }

    fn served(&self, server: u32) -> Served {
        let held = match ProcDir::open(server).and_then(|it| it.sockets()) {
            Ok(held) => held,
            Err(error) => {
                tracing::debug!(server, %error, "cannot see the sockets of the PulseAudio server: its clients stay claimed");
                return Served::default();
            }
        };
        match all_unix_sockets() {
            Ok(sockets) => served_by(&held, &sockets),
            Err(error) => {
                tracing::debug!(%error, "the kernel does not list Unix sockets: clients of pipewire-pulse stay claimed");
                Served::default()
            }
        }
    }

    fn holds(&self, process: &Process, sockets: &BTreeSet<u32>) -> bool {
        let Ok(now) = ProcDir::open(process.pid) else {
            return false;
        };
        now.sockets().is_ok_and(|held| !held.is_disjoint(sockets))
            && now.look().is_some_and(|it| it.started == process.started)
    }

    fn holders(&self, own_pid: u32, sockets: &BTreeSet<u32>) -> Vec<Process> {
        let holder = |pid| {
            let process = ProcDir::open(pid).ok()?;
            // One small file first: reading every descriptor of every process took 13 ms with 176 of them.
            if process.own_pid() != Some(own_pid) || process.sockets().ok()?.is_disjoint(sockets) {
                return None;
            }
            process.look()
        };
        all_pids().into_iter().filter_map(holder).collect()
    }

    fn server_shares_our_pids(&self) -> bool {
        self.server_shares_our_pids
    }
}

/// The process that a thread belongs to.
pub(crate) fn process_of_thread(thread: u32) -> Option<Process> {
    let process = ProcDir::open(thread).ok()?.thread_group()?;
    ProcDir::open(process).ok()?.look()
}

/// The peers of those of its sockets that it accepted on an address which it listens on. Its other connections (to the
/// audio server, to the bus) have peers too, which are no clients of it.
fn served_by(held: &BTreeSet<u32>, sockets: &[UnixSocket]) -> Served {
    let own = || sockets.iter().filter(|it| held.contains(&it.inode));
    let addresses: HashSet<&[u8]> = own()
        .filter(|it| it.listening)
        .filter_map(|it| it.name.as_deref())
        .collect();
    Served {
        // The default address of PulseAudio's protocol is $XDG_RUNTIME_DIR/pulse/native.
        speaks_pulse: addresses.iter().any(|it| it.ends_with(b"/pulse/native")),
        peers: own()
            .filter(|it| {
                !it.listening
                    && it
                        .name
                        .as_deref()
                        .is_some_and(|name| addresses.contains(name))
            })
            .filter_map(|it| it.peer)
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_accepted_connections_have_clients_at_their_other_end() {
        let socket = |inode, listening, peer, name: Option<&str>| UnixSocket {
            inode,
            listening,
            peer,
            name: name.map(|it| it.as_bytes().to_vec()),
        };
        let pulse = Some("/run/user/1000/pulse/native");
        let sockets = [
            socket(1, true, None, pulse),
            socket(2, false, Some(12), pulse),
            // To PipeWire: unnamed on this side.
            socket(3, false, Some(13), None),
            // Bound to a name of its own, but not listening on it.
            socket(4, false, Some(14), Some("/tmp/own")),
            // Of another process that listens on the same path in another root.
            socket(5, false, Some(15), pulse),
            // Closed at the other end.
            socket(6, false, None, pulse),
        ];
        let held = BTreeSet::from([1, 2, 3, 4, 6]);
        let served = served_by(&held, &sockets);
        assert_eq!(
            served,
            Served {
                speaks_pulse: true,
                peers: BTreeSet::from([12])
            }
        );
        assert_eq!(served_by(&BTreeSet::from([2]), &sockets), Served::default());
    }
}
