//! Ways to get a real mic's sound without the virtual mic, each as an ordinary client may try them: what the guard is tested
//! with, and what `cargo xtask faults` makes its table of. [`native`] speaks to PipeWire itself, [`programs`] are people's.

mod native;
mod programs;

use std::time::Duration;

pub use programs::{another_trusted_source, of_a_snap, trusted_source};
use truemute_pipewire::rehearsal::PrivateServer;

use crate::recorder::{Recorder, wait_until};

/// Where to try.
pub struct Ground<'a> {
    /// The server.
    pub server: &'a PrivateServer,
    /// `node.name` of the real mic.
    pub mic: &'a str,
    /// Its id, which an attacker may guess: ids are small numbers.
    pub mic_node: u32,
    /// Process id of the daemon, which everybody can see.
    pub daemon_pid: u32,
    /// How long to listen.
    pub patience: Duration,
    /// Whether to go on when there is sound: it may be cut off.
    pub to_the_end: bool,
}

/// What an attempt got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// Samples, of all channels.
    pub samples: u64,
    /// Those of them that were not zero.
    pub sound: u64,
}

/// One way.
#[derive(Debug)]
pub struct Attempt {
    /// Short name, for the table.
    pub name: &'static str,
    make: fn(&Ground<'_>) -> Result<Heard, String>,
}

impl Attempt {
    /// Tries it, with clients of its own, which have gone afterwards. As long as the daemon is muted every sound is the real
    /// mic's.
    ///
    /// # Errors
    /// Why it cannot be tried here: something is not installed, or this version of the server does not have what it takes.
    pub fn make(&self, ground: &Ground<'_>) -> Result<Heard, String> {
        (self.make)(ground)
    }
}

/// The way that leads round the simulated mic, not only round the virtual one: it is behind a filter. Who cuts only what a mic
/// can reach does not know this way.
pub const TRUSTED_FILTER: &str = "output of a trusted filter";

/// All that are known. They can be made side by side.
pub const ATTEMPTS: &[Attempt] = &[
    attempt("native, by name", native::by_name),
    attempt("native, the default source", native::default_source),
    attempt("media.category = Manager", native::as_manager),
    attempt("through the manager's socket", native::managers_socket),
    attempt("claims to be the daemon", native::impostor),
    attempt("claims to be a Snap app", programs::as_snap),
    attempt("links by guessed ids", native::links_by_ids),
    attempt("links every port there is", native::links_every_port),
    attempt(
        "monitor of a trusted capture stream",
        programs::trusted_streams_monitor,
    ),
    attempt(TRUSTED_FILTER, native::trusted_filter),
    attempt("output of a trusted processor", programs::trusted_processor),
    attempt("stream moved by metadata", native::moved_by_metadata),
    attempt("default source changed", native::default_changed),
    attempt("lingering adapter", native::lingering_adapter),
    attempt("lingering spa-node", native::lingering_spa_node),
    attempt(
        "permissions given by a second client",
        native::permissions_from_a_friend,
    ),
    attempt("100 short clients", native::short_clients),
    attempt("pw-record and pw-link", programs::pw_link),
    attempt("parec", programs::parec),
    attempt("parec, the default source", programs::parec_default),
    attempt("arecord -D pipewire", programs::arecord),
    attempt(
        "module-loopback to a null sink",
        programs::loopback_to_null_sink,
    ),
    attempt("module-remap-source", programs::remap_source),
    attempt("pw-loopback as a source", programs::pw_loopback),
];

const fn attempt(name: &'static str, make: fn(&Ground<'_>) -> Result<Heard, String>) -> Attempt {
    Attempt { name, make }
}

impl Ground<'_> {
    /// What `client` hears before the patience is over.
    fn listen(&self, client: &Recorder) -> Heard {
        self.wait_for(self.patience, || heard(client))
    }

    /// What `hears` says when it is enough, at the latest after `patience`.
    fn wait_for(&self, patience: Duration, hears: impl Fn() -> Heard) -> Heard {
        wait_until(patience, || !self.to_the_end && hears().sound > 0);
        hears()
    }
}

/// What `client`, which keeps its sound as floats, has got so far.
fn heard(client: &Recorder) -> Heard {
    let samples = client.samples();
    Heard {
        samples: samples.len() as u64,
        sound: samples
            .iter()
            .filter(|sample| sample.to_bits() != 0)
            .count() as u64,
    }
}
