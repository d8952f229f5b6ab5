//! Where a cycle is in the graph's time, and whether it followed the one before as it should: what a count says of the pulls
//! in it. Pure. Real-time thread.

use super::block::Block;
use crate::count::books::CycleFacts;

/// Our latest cycle.
pub(crate) struct Last {
    clock: u32,
    /// Position and time that the driver's area showed in it. The facts can say otherwise.
    shown: (u64, u64),
    pub(crate) facts: CycleFacts,
}

/// How late a new driver may begin and still be taken to have followed the former one at once.
const SWITCH_JITTER_NS: u64 = 500_000;

impl Last {
    pub(crate) fn new(block: &Block, facts: CycleFacts) -> Self {
        Self {
            clock: block.clock,
            shown: (block.position, block.nsec),
            facts,
        }
    }

    /// Whether the driver's area showed the same place and time in this cycle as `block` says.
    pub(crate) fn is_at(&self, block: &Block) -> bool {
        self.clock == block.clock && self.shown == (block.position, block.nsec)
    }

    /// The cycle after this one, of which the driver's area shows `this`, and whether its place is unknown. The first cycle
    /// of another driver finds the place and time of the former's last one (measured with 0.3.65: the main thread has
    /// yet to give us the new clock): it is a cycle like others, in which clients pull.
    pub(crate) fn followed_by(
        &self,
        block: &Block,
        mut this: CycleFacts,
        now: u64,
    ) -> (CycleFacts, bool) {
        let last = &self.facts;
        if self.clock != block.clock {
            // How mute releases the mic, and no discontinuity. But clients can run in the new driver's first cycle before we
            // do (seen with 64 of them on 1.4: one pull less, without any other sign); then our own come later than one
            // quantum after another.
            let period = u64::from(last.frames) * 1_000_000_000 / u64::from(last.rate.max(1));
            let gap = block.nsec.saturating_sub(last.started_ns);
            this.flagged = gap > period + SWITCH_JITTER_NS;
            return (this, false);
        }
        let next = last.position.wrapping_add(u64::from(last.frames));
        // Not the place in `last`: it can be our own guess, and the former driver may go on after all, one cycle behind it.
        let unplaced = self.shown == (block.position, block.nsec);
        if unplaced {
            this.started_ns = now;
            this.position = next;
        }
        this.flagged = this.position != next;
        (this, unplaced)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUANTUM: u64 = 256;

    fn shown(number: u64) -> Block {
        Block {
            clock: 37,
            position: number * QUANTUM,
            nsec: number * 5_333_333,
            frames: QUANTUM as u32,
            rate: 48_000,
            ..Block::NONE
        }
    }

    /// Whether each cycle has a place, and whether it is flagged.
    fn judged(blocks: &[Block]) -> Vec<(bool, bool)> {
        let mut last: Option<Last> = None;
        let mut judged = Vec::new();
        for (number, block) in (1..).zip(blocks) {
            let this = CycleFacts {
                started_ns: block.nsec,
                position: block.position,
                frames: block.frames,
                rate: block.rate,
                live: false,
                flagged: false,
            };
            let (facts, unplaced) = match &last {
                Some(last) => last.followed_by(block, this, number * 5_333_333),
                None => (this, false),
            };
            judged.push((!unplaced, facts.flagged));
            last = Some(Last::new(block, facts));
        }
        judged
    }

    #[test]
    fn a_place_shown_twice_leaves_one_cycle_without_a_place() {
        // The driver went on as before: one flag, and every further cycle has its place again.
        assert_eq!(
            judged(&[1, 2, 2, 3, 4, 5].map(shown)),
            [
                (true, false),
                (true, false),
                (false, false),
                (true, true),
                (true, false),
                (true, false)
            ]
        );
        let other = |number| Block {
            clock: 38,
            ..shown(number)
        };
        let changed = [shown(1), shown(2), shown(2), other(4), other(5)];
        assert_eq!(
            judged(&changed),
            [
                (true, false),
                (true, false),
                (false, false),
                (true, false),
                (true, false)
            ]
        );
    }
}
