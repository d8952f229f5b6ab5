//! The faults: how each is inflicted and, where somebody else would, mended.

use std::time::Duration;

use rustix::process::Signal;
use truemute_pipewire::rehearsal::Service;

use crate::Result;
use crate::field::{Field, outage};

/// How long what ended stays away before it is started again. Long enough that whoever lost it goes elsewhere.
const AWAY: Duration = Duration::from_secs(2);

/// The gate when the fault begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Before {
    Muted,
    Live,
}

/// Breaks something, lets that last, and mends it.
type Inflict = Box<dyn Fn(&mut Field) -> Result<()>>;

/// Something that can happen.
pub(crate) struct Fault {
    pub(crate) name: &'static str,
    pub(crate) before: Before,
    /// Whether a live gate has to be silent from then on.
    pub(crate) silences: bool,
    pub(crate) inflict: Inflict,
}

/// All of them. The storm of clients lasts `storm_seconds`.
pub(crate) fn all(_storm_seconds: u64) -> Vec<Fault> {
    let mut faults = Vec::new();
    daemon(&mut faults);
    server(&mut faults);
    mic(&mut faults);
    faults
}

fn muted(name: &'static str, inflict: impl Fn(&mut Field) -> Result<()> + 'static) -> Fault {
    Fault {
        name,
        before: Before::Muted,
        silences: true,
        inflict: Box::new(inflict),
    }
}

fn live(
    name: &'static str,
    silences: bool,
    inflict: impl Fn(&mut Field) -> Result<()> + 'static,
) -> Fault {
    Fault {
        name,
        before: Before::Live,
        silences,
        inflict: Box::new(inflict),
    }
}

fn daemon(faults: &mut Vec<Fault>) {
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

fn server(faults: &mut Vec<Fault>) {
    const ENDS: [(Service, [&str; 4]); 3] = [
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
    for (service, [kill, abort, exit, stop]) in ENDS {
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
    faults.push(muted(
        "each of the four, one after another: kill -9",
        |field| {
            for service in [Service::Pulse, Service::Wireplumber, Service::Pipewire] {
                field.server.end(service, Signal::KILL)?;
                outage(AWAY / 2);
                revive(field)?;
                outage(AWAY / 2);
            }
            field.daemon.stop(Signal::KILL)?;
            outage(AWAY);
            field.start_daemon()
        },
    ));
    faults.push(muted("all four together: kill -9", |field| {
        field.daemon.signal(Signal::KILL)?;
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

fn mic(faults: &mut Vec<Fault>) {
    let vanish = |field: &mut Field| {
        field.mic = None;
        outage(AWAY);
        field.mended();
        field.plug_in()
    };
    faults.push(muted("mic vanishes while muted", vanish));
    faults.push(live("mic vanishes while live", false, vanish));
}
