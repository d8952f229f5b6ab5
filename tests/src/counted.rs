//! When a count is right: it is what the client itself counted, or it is flagged and off by no more than its flags.

use std::ops::RangeInclusive;

use crate::recorder::{Ended, wait_until};
use crate::stage::{LIMIT, Stage};
use truemute::clock::{Stamp, rfc3339};
use truemute::protocol::{ClientStats, Figures, Stats};
use truemute_core::observed::ClientState;

/// The figures of the stream with this name.
///
/// # Panics
/// If there are two.
pub fn of_stream<'a>(stats: &'a Stats, name: &str) -> Option<&'a ClientStats> {
    let mut found = stats.clients.iter().filter(|it| it.who.stream == name);
    let first = found.next();
    assert!(found.next().is_none(), "{name} is there twice: {stats:?}");
    first
}

/// The figures once `count` clients have come and gone.
///
/// # Panics
/// If they do not.
pub fn gone(stage: &Stage, count: usize) -> Stats {
    let mut stats = None;
    let all = wait_until(LIMIT, || {
        let now = stage.daemon.stats();
        let now = now.unwrap_or_else(|error| panic!("{error}\n{}", stage.logs()));
        let gone = now
            .clients
            .iter()
            .filter(|it| it.state == ClientState::Gone);
        let all = gone.count() == count && now.clients.len() == count;
        stats = Some(now);
        all
    });
    let stats = stats.expect("asked at least once");
    assert!(
        all,
        "{count} clients have not all come and gone: {stats:?}\n{}",
        stage.logs()
    );
    stats
}

/// Cycles at the start of a client in which its link may carry nothing yet. 15 were seen.
pub const UNFED: u64 = 32;

/// What a client of ours counted itself.
#[derive(Clone, Copy, Debug)]
pub struct Own {
    /// Callbacks that brought sound.
    live: u64,
    /// Callbacks that brought zeros.
    muted: u64,
    /// Of these, those at the start that may have brought nothing of the virtual mic's: the client's own converter makes
    /// silence before the link carries anything. At most [`UNFED`].
    unfed: u64,
    /// When it began to disconnect, by the wall clock.
    asked_ns: u64,
}

impl Own {
    /// From a client that has gone.
    ///
    /// # Panics
    /// If its tape is not whole.
    pub fn new(ended: &Ended) -> Self {
        let tape = &ended.tape;
        assert_eq!(tape.lost(), 0);
        let cycles = tape.cycles_from(0);
        let zero = cycles.iter().filter(|cycle| cycle.is_zero()).count() as u64;
        let silent = cycles.iter().take_while(|cycle| cycle.is_zero()).count() as u64;
        Self {
            live: cycles.len() as u64 - zero,
            muted: zero + tape.empty(),
            unfed: (silent + tape.empty()).min(UNFED),
            asked_ns: Stamp::now().wall_of(ended.asked_ns),
        }
    }

    /// Callbacks in all.
    pub fn pulls(&self) -> u64 {
        self.live + self.muted
    }

    /// What is wrong with `counted`, if anything is.
    ///
    /// Two edges are no error (see pipewire-node/src/count). A client runs before its link carries anything: the virtual
    /// mic may not know of the link then, and if it does it counts what the gate said. And a cycle that runs while the client disconnects is completed, though
    /// its callback is not called in it any more.
    pub fn disagrees(&self, counted: &ClientStats, quantum: u32) -> Option<String> {
        let asked = rfc3339(self.asked_ns);
        let last = counted.last_pull.as_deref().unwrap_or_default();
        let after = u64::from(last >= asked.as_str());
        let off = counted.xruns;
        let around = |least: u64, most: u64| -> RangeInclusive<u64> {
            least.saturating_sub(off)..=most + after + off
        };
        let Self {
            live: own_live,
            muted: own_muted,
            unfed,
            ..
        } = *self;
        let (live, muted) = (&counted.live, &counted.muted);
        let whole = |it: &Figures| it.frames == it.pulls * u64::from(quantum);
        let fine = around(self.pulls() - unfed, self.pulls()).contains(&(live.pulls + muted.pulls))
            && around(own_live, own_live + unfed).contains(&live.pulls)
            && around(own_muted - unfed, own_muted).contains(&muted.pulls)
            && whole(live)
            && whole(muted)
            && counted.lost == 0
            && counted.exact == (counted.xruns == 0);
        (!fine).then(|| {
            format!("{self:?} with {after} while leaving, asked at {asked}, is not {counted:?}")
        })
    }
}
