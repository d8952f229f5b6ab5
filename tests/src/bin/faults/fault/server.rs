//! PipeWire, WirePlumber and pipewire-pulse end or hang: each alone, one after another, all together with the daemon.

use rustix::process::Signal;
use truemute_pipewire::rehearsal::Service;

use super::{AWAY, Fault, muted};
use crate::Result;
use crate::field::{Field, outage};

/// What is done to each: kill -9, abort, exit, stop.
const NAMES: [(Service, [&str; 4]); 3] = [
    (
        Service::Pipewire,
        [
            "PipeWire: kill -9",
            "PipeWire: abort",
            "PipeWire: exit",
            "PipeWire: stopped for 2 s",
        ],
    ),
    (
        Service::Wireplumber,
        [
            "WirePlumber: kill -9",
            "WirePlumber: abort",
            "WirePlumber: exit",
            "WirePlumber: stopped for 2 s",
        ],
    ),
    (
        Service::Pulse,
        [
            "pipewire-pulse: kill -9",
            "pipewire-pulse: abort",
            "pipewire-pulse: exit",
            "pipewire-pulse: stopped for 2 s",
        ],
    ),
];

pub(super) fn add(faults: &mut Vec<Fault>) {
    for (service, [kill, abort, exit, stop]) in NAMES {
        for (name, signal) in [
            (kill, Signal::KILL),
            (abort, Signal::ABORT),
            (exit, Signal::TERM),
        ] {
            faults.push(muted(name, move |field| {
                field.server.end(service, signal)?;
                outage(AWAY);
                revive(field)
            }));
        }
        faults.push(muted(stop, move |field| {
            field.server.signal(service, Signal::STOP)?;
            outage(AWAY);
            field.server.signal(service, Signal::CONT)?;
            field.mended();
            Ok(())
        }));
    }
    faults.push(muted("all four, one after another: kill -9", |field| {
        for service in [Service::Pulse, Service::Wireplumber, Service::Pipewire] {
            field.server.end(service, Signal::KILL)?;
            outage(AWAY / 2);
            revive(field)?;
            outage(AWAY / 2);
        }
        field.end_daemon(Signal::KILL)?;
        outage(AWAY);
        field.start_daemon()
    }));
    faults.push(muted("all four together: kill -9", |field| {
        field.end_daemon(Signal::KILL)?;
        for service in Service::ALL {
            field.server.end(service, Signal::KILL)?;
        }
        outage(AWAY);
        revive(field)?;
        field.start_daemon()
    }));
}

/// Starts again what has ended of the server, as systemd would; with PipeWire the mic comes back.
fn revive(field: &mut Field) -> Result<()> {
    let with_mic = field.server.ended(Service::Pipewire).is_some();
    field.mended();
    field.server.revive()?;
    if with_mic {
        field.plug_in()?;
    }
    Ok(())
}
