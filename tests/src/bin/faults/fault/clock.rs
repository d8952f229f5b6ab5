//! The clock jumps for everybody at once: what a suspend and resume is to an audio graph. The monotonic clock (which the graph,
//! the lease and the watchdog go by) runs on while nobody does anything; then all of them go on.
//!
//! A real suspend is harder and easier: it stops that clock as well, but for the moments in which the kernel freezes one
//! process after another. The virtual machine does that. A step of the wall clock alone is nobody's fault here: nothing
//! between the mic and the apps reads it.

use std::collections::BTreeSet;
use std::fs;

use rustix::process::{Pid, Signal, kill_process};
use truemute_tests::recorder::wait_until;
use truemute_tests::threads::of_process;

use super::{AWAY, Fault, live, muted};
use crate::Result;
use crate::field::{Field, LIMIT, outage};

pub(super) fn add(faults: &mut Vec<Fault>) {
    faults.push(muted("clock jump: all stopped for 4 s", stop_all));
    faults.push(live(
        "clock jump: all stopped for 4 s, live",
        true,
        stop_all,
    ));
}

/// Stops the server's programs, daemon, supervisor and all clients that are programs. What runs in this process (the mic's
/// feeder, the native clients) only waits for a server that stands.
fn stop_all(field: &mut Field) -> Result<()> {
    let processes = processes_of(field)?;
    let signal = |signal| {
        for process in &processes {
            // A browser's helpers come and go.
            let _ = kill_process(*process, signal);
        }
    };
    signal(Signal::STOP);
    let stand = wait_until(LIMIT, || {
        let ids = processes.iter().map(|it| it.as_raw_nonzero().get());
        let mut threads = ids.flat_map(|id| of_process(id.cast_unsigned()));
        threads.all(|it| matches!(it.state, 'T' | 'Z'))
    });
    field.struck();
    outage(2 * AWAY);
    field.mended();
    signal(Signal::CONT);
    if !stand {
        return Err("some process cannot be stopped".into());
    }
    // The supervisor may find that its daemon has not answered for too long, and start another.
    field.wait_for_daemon()
}

/// All processes that this one has started for the field's server, and their children.
fn processes_of(field: &Field) -> Result<Vec<Pid>> {
    let place = format!("XDG_RUNTIME_DIR={}", field.server.directory().display());
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(id) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        // proc(5): the name, which may contain anything, ends with the last parenthesis; state and parent follow.
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        let after = stat.rsplit(')').next().unwrap_or_default();
        let parent = after.split_whitespace().nth(1);
        if let Some(parent) = parent.and_then(|parent| parent.parse::<i32>().ok()) {
            parents.push((id, parent));
        }
    }
    let own = std::process::id().cast_signed();
    let ours = |id: i32| {
        let environment = fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
        let mut variables = environment.split(|byte| *byte == 0);
        variables.any(|variable| variable == place.as_bytes())
    };
    let mut found: BTreeSet<i32> = parents
        .iter()
        .filter(|(id, parent)| *parent == own && ours(*id))
        .map(|(id, _)| *id)
        .collect();
    loop {
        let before = found.len();
        for (id, parent) in &parents {
            if found.contains(parent) {
                found.insert(*id);
            }
        }
        if found.len() == before {
            return Ok(found.into_iter().filter_map(Pid::from_raw).collect());
        }
    }
}
