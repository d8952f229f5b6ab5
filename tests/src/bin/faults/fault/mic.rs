//! The real mic vanishes and comes back.

use std::thread;

use super::{AWAY, Fault, live, muted};
use crate::Result;
use crate::field::{Field, outage};

pub(super) fn add(faults: &mut Vec<Fault>) {
    faults.push(muted("mic vanishes", vanish));
    faults.push(live("mic vanishes, live", false, vanish));
    // Who was muted is live now, so nothing has to be silent until the mute at the end.
    faults.push(Fault {
        silences: false,
        ..muted("mic vanishes while unmuting", |field| {
            thread::scope(|scope| {
                let daemon = &field.daemon;
                let unmute = scope.spawn(|| daemon.unmute().map_err(|error| error.to_string()));
                field.mic = None;
                // It may say that there is no mic: what counts is what comes after.
                let _ = unmute.join();
            });
            outage(AWAY);
            field.mended();
            field.plug_in()
        })
    });
}

fn vanish(field: &mut Field) -> Result<()> {
    field.mic = None;
    outage(AWAY);
    field.mended();
    field.plug_in()
}
