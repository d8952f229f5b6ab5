//! What the agent asks of the driver, which holds gate, counts and clock, and what it hears from it. Each operating system's
//! backend crate implements it over its own connection.

use std::sync::Arc;

use truemute_core::observed::{Client, Pull, Tally};
use truemute_feeder::{Frame, Pacing, Timeline};

use crate::system::System;

/// How the gate was muted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Muted {
    /// The epoch that it opened.
    pub epoch: u64,
    /// Whether no delivery that began before is still under way.
    pub settled: bool,
    /// When this was found, in nanoseconds of the host's clock: whatever is delivered from then on is zeros, if `settled`.
    pub done_ns: u64,
}

/// How the gate was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The epoch of what may be delivered.
    pub epoch: u64,
    /// When, in nanoseconds of the host's clock: what was captured before is not delivered.
    pub opened_ns: u64,
}

/// Deliveries with sound so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// When they were counted, in nanoseconds of the host's clock.
    pub at_ns: u64,
    /// Pulls of all clients while the gate was live. Only ever grows while clients stay.
    pub live_pulls: u64,
}

/// When a look is taken, on both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct When {
    /// In nanoseconds of the host's monotonic clock ([`System::now_ns`]).
    pub host_ns: u64,
    /// In nanoseconds of the wall clock since 1970.
    pub wall_ns: u64,
}

/// Who pulls, and how much.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// Differs after each start of the driver.
    pub instance: u64,
    /// Clients that are there, and those that left and were not forgotten.
    pub clients: Vec<Client>,
    /// Pulls that happened but could not be given to any client.
    pub unattributed: Tally,
    /// What is wrong with the counting, as sentences.
    pub warnings: Vec<String>,
}

/// A connection to the driver, as its one feeder. Any thread but an audio thread may call it; none of it waits longer than a
/// second. Dropping it hangs up, which mutes at once.
pub trait Driver: Send + Sync {
    /// Silences the gate, and waits a moment for deliveries that are under way.
    ///
    /// # Errors
    /// The driver does not answer.
    fn mute(&self) -> Result<Muted, DriverError>;

    /// Opens the gate in a new epoch, with a lease.
    ///
    /// # Errors
    /// The driver does not answer.
    fn unmute(&self) -> Result<Opened, DriverError>;

    /// Renews the lease, if the gate is open.
    ///
    /// # Errors
    /// The driver does not answer.
    fn renew_lease(&self) -> Result<(), DriverError>;

    /// How many pulls had sound so far.
    ///
    /// # Errors
    /// The driver does not answer.
    fn progress(&self) -> Result<Progress, DriverError>;

    /// Who pulls, and how much. Whoever asks has recorded what came of the last look.
    ///
    /// # Errors
    /// The driver does not answer.
    fn look(&self, system: &dyn System, now: When) -> Result<Look, DriverError>;

    /// The same, only to look: nothing is taken for recorded.
    ///
    /// # Errors
    /// The driver does not answer.
    fn glance(&self, _system: &dyn System, _now: When) -> Result<Look, DriverError> {
        Err(DriverError::not_for_one_app())
    }

    /// Mutes exactly these clients ([`Client::id`]) on their own, and whoever comes with a higher number than `judged`, until the
    /// next call; with none, nobody else. Whether no delivery of theirs from before is under way.
    ///
    /// # Errors
    /// The driver does not answer, or cannot do that.
    fn set_aside(&self, _clients: &[u64], _judged: Option<u64>) -> Result<bool, DriverError> {
        Err(DriverError::not_for_one_app())
    }

    /// Keeps single pulls from now on, or none; never any if it cannot.
    ///
    /// # Errors
    /// The driver does not answer.
    fn trace(&self, _on: bool) -> Result<(), DriverError> {
        Ok(())
    }

    /// The single pulls since the last time, in order of time, and how many were lost.
    ///
    /// # Errors
    /// The driver does not answer.
    fn pulls(&self) -> Result<(Vec<Pull>, u64), DriverError> {
        Ok((Vec::new(), 0))
    }

    /// The final counts of these clients ([`Client::id`]) were recorded: no look names them any more.
    fn forget(&self, gone: &[u64]);

    /// What the driver knows about itself, as text for people.
    ///
    /// # Errors
    /// The driver does not answer.
    fn diag(&self) -> Result<String, DriverError>;
}

/// Takes the frames of the thread that captures, for the driver. Real-time safe as far as the system allows.
pub trait Ring: Send {
    /// A run of frames of this epoch begins at `position` of the driver's clock; what was written before no longer counts. Its
    /// first frame was sound at `began_ns` by the host's clock.
    fn begin(&mut self, epoch: u64, position: u64, began_ns: u64);

    /// The next frames of the run.
    fn write(&mut self, frames: &[Frame]);
}

/// What the driver tells on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// So many clients run IO now.
    Running(u32),
    /// Its clock has a new time line.
    Clock(Timeline),
    /// The gate shut by itself, in this epoch: nobody renewed the lease in time.
    LeaseRanOut(u64),
    /// A client came.
    Arrived,
    /// Something else changed.
    Changed,
}

/// Hears what the driver tells, on any thread; must not call the driver.
pub trait Hears: Send + Sync {
    /// Something changed.
    fn notice(&self, notice: Notice);

    /// The connection is gone. The last call.
    fn lost(&self, why: DriverError);
}

/// What connecting gives.
pub struct Connected {
    /// The connection.
    pub driver: Box<dyn Driver>,
    /// Where frames go.
    pub ring: Box<dyn Ring>,
    /// Differs after each start of the driver, so that counts which begin anew never look negative.
    pub instance: u64,
    /// Where its clock stands.
    pub clock: Timeline,
    /// Clients that run IO.
    pub running: u32,
    /// What the delay of its frames has to be enough for.
    pub pacing: Pacing,
}

/// Where the driver is. Any thread but an audio thread may call it.
pub trait Connect: Send + Sync {
    /// Becomes the driver's one feeder. The gate is muted.
    ///
    /// # Errors
    /// There is no driver, or it refuses.
    fn connect(&self, hears: Arc<dyn Hears>) -> Result<Connected, DriverError>;
}

/// What went wrong between agent and driver: one sentence on what it is, and one on what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DriverError(String);

impl DriverError {
    /// `sentences` says what went wrong, and what to do.
    pub fn new(sentences: impl ToString) -> Self {
        Self(sentences.to_string())
    }

    fn not_for_one_app() -> Self {
        Self::new("The driver cannot mute a single app. Mute everything with `truemute mute`.")
    }
}
