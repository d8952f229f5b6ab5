//! The daemon ends or hangs.

use rustix::process::Signal;

use super::{AWAY, Fault, live, muted};
use crate::field::{Field, outage};

pub(super) fn add(faults: &mut Vec<Fault>) {
    for (name, while_live, signal) in [
        ("daemon: kill -9", "daemon: kill -9, live", Signal::KILL),
        ("daemon: abort", "daemon: abort, live", Signal::ABORT),
        ("daemon: exit", "daemon: exit, live", Signal::TERM),
    ] {
        let inflict = move |field: &mut Field| {
            field.daemon.stop(signal)?;
            outage(AWAY);
            field.start_daemon()
        };
        faults.push(muted(name, inflict));
        faults.push(live(while_live, true, inflict));
    }
    let stop = |field: &mut Field| {
        field.daemon.signal(Signal::STOP)?;
        outage(AWAY);
        field.daemon.signal(Signal::CONT)?;
        field.mended();
        Ok(())
    };
    faults.push(muted("daemon: stopped for 2 s", stop));
    faults.push(live("daemon: stopped for 2 s, live", true, stop));
}
