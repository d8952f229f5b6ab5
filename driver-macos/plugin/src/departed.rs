//! Who left, kept until an agent has on record what he read, and what of anybody's reads is on record. Who is there is in
//! `clients.rs`. On the host's control threads.

use crate::clients::Counted;
use crate::seats::MOST;
use std::collections::VecDeque;
use truemute_core::ledger::{SlotSnapshot, Tally};

/// Clients that are kept after they left, of those of whom it is known what of their reads is on record.
pub(crate) const MOST_GONE: usize = 256;

/// Of those of whom it is not: the agent that got a look at them died, or has not said yet that it has it on record. A look has at
/// most those with a seat, and those who left before.
pub(crate) const MOST_UNDECIDED: usize = MOST + MOST_GONE;

/// What an agent has of a client's reads.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Booked {
    /// In the last look for the record, which it may not have got.
    told: Tally,
    /// In the last look that it got.
    recorded: Tally,
}

impl Booked {
    /// A look for the record has so many reads.
    pub(crate) fn tell(&mut self, reads: Tally) {
        self.told = reads;
    }

    /// The agent has the last look.
    pub(crate) fn got(&mut self) {
        self.recorded = self.told;
    }

    fn is_decided(&self) -> bool {
        self.told == self.recorded
    }
}

/// The clients that left.
#[derive(Debug, Default)]
pub(crate) struct Departed {
    gone: VecDeque<Gone>,
    forgotten: u64,
    /// Reads of those that were forgotten, without those that are on record.
    forgotten_reads: Tally,
}

#[derive(Debug)]
struct Gone {
    counted: Counted,
    booked: Booked,
}

impl Departed {
    /// One more. Where there are too many, the one is forgotten that left first.
    pub(crate) fn push(&mut self, counted: Counted, booked: Booked) {
        self.gone.push_back(Gone { counted, booked });
        for (decided, most) in [(true, MOST_GONE), (false, MOST_UNDECIDED)] {
            let alike = |it: &Gone| it.booked.is_decided() == decided;
            let excess = self.gone.iter().filter(|it| alike(it)).count();
            for _ in most..excess {
                let oldest = self.gone.iter().position(alike);
                if let Some(gone) = oldest.and_then(|at| self.gone.remove(at)) {
                    self.forget(&gone);
                }
            }
        }
    }

    fn forget(&mut self, gone: &Gone) {
        self.forgotten += 1;
        let reads = total(gone.counted.counts.as_ref());
        // What may be on record is taken for it: nothing is counted twice.
        add(&mut self.forgotten_reads, without(reads, gone.booked.told));
    }

    /// The agent has the last look.
    pub(crate) fn got(&mut self) {
        self.gone.iter_mut().for_each(|it| it.booked.got());
    }

    /// The final counts of those with these arrivals are on record.
    pub(crate) fn are_on_record(&mut self, arrivals: &[u64]) {
        self.gone
            .retain(|gone| !arrivals.contains(&gone.counted.client.arrival));
    }

    /// All of them, for the record or only to look.
    pub(crate) fn all(&mut self, for_the_record: bool) -> impl Iterator<Item = Counted> {
        self.gone.iter_mut().map(move |Gone { counted, booked }| {
            if for_the_record {
                booked.tell(total(counted.counts.as_ref()));
            }
            counted.clone()
        })
    }

    /// How many were forgotten, and what is not on record of their reads.
    pub(crate) fn forgotten(&self) -> (u64, Tally) {
        (self.forgotten, self.forgotten_reads)
    }
}

/// All reads of a client.
pub(crate) fn total(counts: Option<&SlotSnapshot>) -> Tally {
    let mut total = Tally::default();
    for tally in counts.iter().flat_map(|it| [it.live, it.muted]) {
        add(&mut total, tally);
    }
    total
}

/// Adds a tally to another one.
pub(crate) fn add(to: &mut Tally, tally: Tally) {
    to.pulls += tally.pulls;
    to.frames += tally.frames;
    to.nanoseconds += tally.nanoseconds;
}

fn without(all: Tally, known: Tally) -> Tally {
    Tally {
        pulls: all.pulls.saturating_sub(known.pulls),
        frames: all.frames.saturating_sub(known.frames),
        nanoseconds: all.nanoseconds.saturating_sub(known.nanoseconds),
    }
}
