//! What a client's tape proves: which cycles can be relied on, where a block of the ramp came from, and whether a
//! stretch is as silent or as live as the daemon said.
//!
//! A client reads the graph's position from an area that the driver rewrites each cycle. On a loaded machine a client
//! can be so late that it reads the next cycle's position; after a change of the driver it can read the former driver's.
//! Such cycles, and those beside them, prove nothing by position.

use truemute_pipewire::rehearsal::{Format, ramp_phase, ramp_value};

use crate::recorder::Recorder;
use crate::stage::Switch;
use crate::tape::{Cycle, Hash};

/// How far a late cycle's position can be wrong, in cycles.
const BLUR: usize = 2;

/// One client's tape, read.
#[derive(Clone, Debug)]
pub struct Reading {
    /// Its cycles, in the order in which they came.
    pub cycles: Vec<Cycle>,
    /// For each of them, whether its position is certainly its own: it and its neighbours came in time and in sequence.
    pub sure: Vec<bool>,
}

impl Reading {
    /// Reads what is on the tape now.
    ///
    /// # Panics
    /// If the tape had no room for something.
    pub fn of(client: &Recorder) -> Self {
        let tape = client.tape();
        assert_eq!(tape.lost(), 0, "the recorder's tape is too short");
        Self::new(tape.cycles_from(0))
    }

    /// Reads a part of a tape.
    pub fn new(cycles: Vec<Cycle>) -> Self {
        let mut sure = vec![true; cycles.len()];
        let mut doubt = |index: usize| {
            let end = (index + BLUR + 1).min(cycles.len());
            sure[index.saturating_sub(BLUR)..end].fill(false);
        };
        for (index, cycle) in cycles.iter().enumerate() {
            let length = cycle.duration * 1_000_000_000 / RATE;
            // A graph that was busy until the next cycle began did not wait for all its nodes: one of them is without its
            // block now, and if that is the daemon its clients are without sound.
            let overrun = cycle.former_busy_ns >= length - length / 10;
            if cycle.moved || overrun || cycle.done_ns >= cycle.nsec + length {
                doubt(index);
            }
        }
        let changes = pairs(&cycles, |before, after| before.clock != after.clock);
        for index in breaks(&cycles).chain(changes) {
            doubt(index);
            doubt(index + 1);
        }
        Self { cycles, sure }
    }

    /// Whether all went well from `start_ns` to `end_ns`, and a little around.
    pub fn is_steady(&self, start_ns: u64, end_ns: u64) -> bool {
        const AROUND: u64 = 100_000_000;
        let span = start_ns.saturating_sub(AROUND)..end_ns.saturating_add(AROUND);
        self.cycles
            .iter()
            .zip(&self.sure)
            .all(|(cycle, sure)| *sure || !span.contains(&cycle.nsec))
    }

    /// How often, from `start_ns` on, the next cycle of the same clock was not the next: each is a lost cycle, or several.
    pub fn gaps(&self, start_ns: u64) -> usize {
        breaks(&self.cycles)
            .filter(|index| self.cycles[*index].nsec >= start_ns)
            .filter(|index| !is_frozen(&self.cycles[*index], &self.cycles[index + 1]))
            .count()
    }

    /// The cycles that must be silent: from the acknowledged place of `mute` (or the start) until `unmute` was sent (or
    /// the end). Less those that may have been another cycle than they say, and that at the border.
    pub fn silent(&self, mute: Option<&Switch>, unmute: Option<&Switch>) -> Vec<&Cycle> {
        let start = mute.map_or(0, |mute| self.at(mute));
        let border = mute.map_or(0, |_| BLUR + 1);
        let until = unmute.map_or(u64::MAX, |unmute| unmute.sent_ns);
        (start..self.cycles.len())
            .take_while(|index| self.cycles[*index].nsec < until)
            .filter(|index| {
                let inside = *index >= start + border && self.cycles[*index].done_ns < until;
                self.sure[*index] || inside
            })
            .map(|index| &self.cycles[index])
            .collect()
    }

    /// The cycles that must be live and whose positions are sure: from the acknowledged place of `unmute` until `mute`
    /// was sent (or the end).
    pub fn live(&self, unmute: &Switch, mute: Option<&Switch>) -> Vec<&Cycle> {
        let start = self.at(unmute);
        let until = mute.map_or(u64::MAX, |mute| mute.sent_ns);
        (start..self.cycles.len())
            .take_while(|index| self.cycles[*index].done_ns < until)
            .filter(|index| self.sure[*index])
            .map(|index| &self.cycles[index])
            .collect()
    }

    /// The first cycle at or after the acknowledged place, or (if the client missed that, or nothing ran) after the
    /// acknowledgement itself.
    fn at(&self, switch: &Switch) -> usize {
        let place = switch.place();
        let reached = |cycle: &Cycle| {
            let there = place.is_some_and(|(clock, position)| {
                cycle.clock == clock && cycle.position >= position
            });
            // An old cycle of the same clock can have a higher position: the clock of a mic can begin again.
            cycle.nsec >= switch.replied_ns || (there && cycle.done_ns >= switch.sent_ns)
        };
        let found = self.cycles.iter().position(reached);
        found.unwrap_or(self.cycles.len())
    }
}

/// Cycles after which the next one of the same clock is not the next. A new clock begins where it likes.
fn breaks(cycles: &[Cycle]) -> impl Iterator<Item = usize> {
    pairs(cycles, |before, after| {
        before.clock == after.clock && before.position + before.duration != after.position
    })
}

/// The second is a cycle of another driver, read from an area that the former driver does not write any more: the client
/// is led to the new driver's a cycle or two later.
fn is_frozen(before: &Cycle, after: &Cycle) -> bool {
    before.position == after.position && before.nsec == after.nsec
}

fn pairs(cycles: &[Cycle], is_so: impl Fn(&Cycle, &Cycle) -> bool) -> impl Iterator<Item = usize> {
    let found = move |(index, pair): (usize, &[Cycle])| is_so(&pair[0], &pair[1]).then_some(index);
    cycles.windows(2).enumerate().filter_map(found)
}

/// The graph's rate in all these tests.
const RATE: u64 = 48_000;

/// The hash that a block of the ramp has which begins at `position`.
fn ramp_hash(bits: u32, format: Format, channels: u32, position: u64, frames: u32) -> u64 {
    let mut hash = Hash::default();
    for position in position..position + u64::from(frames) {
        for channel in 0..channels {
            let sample = ramp_value(bits, channel, position);
            match format {
                Format::F32 => sample.to_le_bytes().iter().for_each(|it| hash.add(*it)),
                Format::S16 => ((sample * 32768.0) as i16)
                    .to_le_bytes()
                    .iter()
                    .for_each(|it| hash.add(*it)),
            }
        }
    }
    hash.0
}

/// When the first sample of a block was played by the simulated mic, in monotonic nanoseconds; nothing if it is no sample
/// of the ramp. `known` is a block of the same stretch whose position is sure; it lends the ramp's time, so that the
/// block's own position may be wrong. (The ramp repeats, one of 15 bits after 0.7 s: the latest time that the sample can
/// mean is given.)
pub fn born_ns(cycle: &Cycle, known: &Cycle, bits: u32, format: Format) -> Option<u64> {
    let modulus = (1i64 << bits) - 1;
    let now = known.position.cast_signed()
        + frames(cycle.done_ns.cast_signed() - known.nsec.cast_signed());
    let age = (now - phase(cycle, bits, format)?).rem_euclid(modulus);
    cycle
        .done_ns
        .checked_sub(age.cast_unsigned() * 1_000_000_000 / RATE)
}

fn frames(nanoseconds: i64) -> i64 {
    nanoseconds.saturating_mul(RATE.cast_signed()) / 1_000_000_000
}

/// How many frames before its cycle a block of the ramp was played by the simulated mic, if all of it is the ramp.
pub fn ramp_delay(cycle: &Cycle, bits: u32, format: Format, channels: u32) -> Option<u64> {
    let modulus = (1i64 << bits) - 1;
    let phase = phase(cycle, bits, format)?;
    let delay = (cycle.position.cast_signed() - phase).rem_euclid(modulus);
    let start = cycle.position.checked_sub(delay.cast_unsigned())?;
    let exact = cycle.hash == ramp_hash(bits, format, channels, start, cycle.frames);
    exact.then_some(delay.cast_unsigned())
}

fn phase(cycle: &Cycle, bits: u32, format: Format) -> Option<i64> {
    let sample = match format {
        Format::F32 => f32::from_bits(cycle.first),
        Format::S16 => f32::from((cycle.first as u16).cast_signed()) / 32768.0,
    };
    ramp_phase(bits, 0, sample).map(u64::cast_signed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cycle(number: u64) -> Cycle {
        let nsec = 1_000_000_000 + number * 1_000_000;
        Cycle {
            clock: 1,
            position: number * 48,
            nsec,
            duration: 48,
            frames: 48,
            done_ns: nsec + 1000,
            ..Cycle::default()
        }
    }

    #[test]
    fn late_cycles_and_gaps_are_not_sure() {
        let mut cycles: Vec<_> = (0..10).chain(11..20).map(cycle).collect();
        cycles[2].done_ns += 1_000_000;
        let reading = Reading::new(cycles);
        let distrusted: Vec<_> = (0..19).filter(|index| !reading.sure[*index]).collect();
        assert_eq!(reading.gaps(0), 1);
        assert_eq!(reading.gaps(1_011_000_000), 0);
        assert_eq!(distrusted, [0, 1, 2, 3, 4, 7, 8, 9, 10, 11, 12]);
    }

    #[test]
    fn a_block_of_the_ramp_tells_its_age() {
        let block = |number: u64, played: u64, format| {
            let sample = ramp_value(15, 0, played);
            let first = match format {
                Format::F32 => sample.to_bits(),
                Format::S16 => u32::from(((sample * 32768.0) as i16).cast_unsigned()),
            };
            Cycle {
                first,
                ..cycle(number)
            }
        };
        for format in [Format::F32, Format::S16] {
            let known = block(700, 700 * 48 - 48, format);
            let born = |block: Cycle| born_ns(&block, &known, 15, format);
            let near = |time: u64, block: Cycle| born(block).unwrap().abs_diff(time) < 30_000;
            assert!(near(known.nsec - 1_000_000, known));
            let stale = block(702, 690 * 48, format);
            assert!(near(known.nsec - 10_000_000, stale));
            let misread = Cycle {
                position: 5,
                ..stale
            };
            assert_eq!(born(misread), born(stale));
            assert_eq!(born(cycle(701)), None);
        }
    }

    #[test]
    fn a_block_of_the_ramp_is_one_to_the_last_bit() {
        let hash = ramp_hash(23, Format::F32, 2, 4000, 48);
        let block = Cycle {
            first: ramp_value(23, 0, 4000).to_bits(),
            position: 4096,
            hash,
            ..cycle(1)
        };
        assert_eq!(ramp_delay(&block, 23, Format::F32, 2), Some(96));
        let hash = hash ^ 1;
        let spoilt = Cycle { hash, ..block };
        assert_eq!(ramp_delay(&spoilt, 23, Format::F32, 2), None);
    }
}
