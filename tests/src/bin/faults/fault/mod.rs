//! The faults: how each is inflicted and, where somebody else would, mended. By what they hit: [`daemon`], [`server`], [`clock`],
//! [`mic`], [`limits`], [`files`], [`clients`].

mod clients;
mod clock;
mod daemon;
mod files;
mod limits;
mod mic;
mod server;

use std::time::Duration;

use crate::Result;
use crate::field::Field;

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
    /// Whether the gate has to be silent from then on.
    pub(crate) silences: bool,
    pub(crate) inflict: Inflict,
}

/// All of them. The storm of clients lasts so long; what needs a disk of its own is left out unless one may be mounted.
pub(crate) fn all(storm: Duration, may_mount: bool) -> Vec<Fault> {
    let mut faults = Vec::new();
    daemon::add(&mut faults);
    server::add(&mut faults);
    clock::add(&mut faults);
    mic::add(&mut faults);
    limits::add(&mut faults, may_mount);
    files::add(&mut faults);
    clients::add(&mut faults, storm);
    faults
}

/// One that happens while the gate is muted.
fn muted(name: &'static str, inflict: impl Fn(&mut Field) -> Result<()> + 'static) -> Fault {
    Fault {
        name,
        before: Before::Muted,
        silences: true,
        inflict: Box::new(inflict),
    }
}

/// One that happens while the gate is live.
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
