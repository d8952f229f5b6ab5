//! The daemon ends or hangs. `truemute supervise` is what starts it again, unless that has gone too.

use rustix::process::Signal;

use super::{AWAY, Fault, live, muted};
use crate::field::{Field, outage};

pub(super) fn add(faults: &mut Vec<Fault>) {
    for (name, while_live, signal) in [
        ("daemon: kill -9", "daemon: kill -9, live", Signal::KILL),
        ("daemon: abort", "daemon: abort, live", Signal::ABORT),
        (
            "daemon: hangs (SIGSTOP)",
            "daemon: hangs (SIGSTOP), live",
            Signal::STOP,
        ),
    ] {
        let inflict = move |field: &mut Field| {
            let former = field.signal_daemon(signal)?;
            field.wait_for_another_daemon(former)
        };
        faults.push(muted(name, inflict));
        faults.push(live(while_live, true, inflict));
    }
    for (name, while_live, signal) in [
        (
            "daemon: exit, away for 2 s",
            "daemon: exit, live",
            Signal::TERM,
        ),
        (
            "daemon and supervisor: kill -9, away for 2 s",
            "daemon and supervisor: kill -9, live",
            Signal::KILL,
        ),
    ] {
        let inflict = move |field: &mut Field| {
            field.end_daemon(signal)?;
            outage(AWAY);
            field.start_daemon()
        };
        faults.push(muted(name, inflict));
        faults.push(live(while_live, true, inflict));
    }
    let stop = |field: &mut Field| {
        field.signal_daemon(Signal::STOP)?;
        outage(AWAY / 4);
        field.signal_daemon(Signal::CONT)?;
        field.mended();
        Ok(())
    };
    faults.push(muted("daemon: stopped for half a second", stop));
    faults.push(live("daemon: stopped for half a second, live", true, stop));
}
