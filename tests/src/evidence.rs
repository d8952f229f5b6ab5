//! What a client's tape proves: which cycles can be relied on, where a block of the ramp came from, and whether a
//! stretch is as silent or as live as the daemon said.
//!
//! A client reads the graph's position from an area that the driver rewrites each cycle. On a loaded machine a client
//! can be so late that it reads the next cycle's position; such cycles, and those beside a gap, prove nothing by position.

use truemute_pipewire::rehearsal::{Format, ramp_phase, ramp_value};

use crate::stage::Switch;
use crate::tape::{Cycle, Hash};

/// How far a late cycle's position can be wrong, in cycles.
const BLUR: usize = 2;

/// For each cycle, whether its position is certainly its own: it and its neighbours came in time and in sequence.
pub fn trusted(cycles: &[Cycle]) -> Vec<bool> {
    let mut trusted = vec![true; cycles.len()];
    let mut distrust = |index: usize| {
        let end = (index + BLUR + 1).min(cycles.len());
        trusted[index.saturating_sub(BLUR)..end].fill(false);
    };
    for (index, cycle) in cycles.iter().enumerate() {
        let due = cycle.nsec + cycle.duration * 1_000_000_000 / RATE;
        if cycle.moved || cycle.done_ns >= due {
            distrust(index);
        }
    }
    for (index, pair) in cycles.windows(2).enumerate() {
        let (before, after) = (&pair[0], &pair[1]);
        // A new clock begins where it likes.
        if before.clock == after.clock && before.position + before.duration != after.position {
            distrust(index);
            distrust(index + 1);
        }
    }
    trusted
}

/// The graph's rate in all these tests.
const RATE: u64 = 48_000;

/// The hash that a block of the ramp has which begins at `position`.
pub fn ramp_hash(bits: u32, format: Format, channels: u32, position: u64, frames: u32) -> u64 {
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
/// of the ramp. `known` is a block whose position is sure; it lends the ramp's time, so that the block's own may be wrong.
/// (A ramp of 15 bits repeats after 0.7 s, so a sample is taken to be within half of that.)
pub fn born_ns(cycle: &Cycle, known: &Cycle, bits: u32, format: Format) -> Option<u64> {
    let modulus = (1i64 << bits) - 1;
    let phase = phase(cycle, bits, format)? - phase(known, bits, format)?;
    let later = (phase + modulus / 2).rem_euclid(modulus) - modulus / 2;
    let age = known.position.cast_signed() - phase_position(known, bits, format)?;
    let nanoseconds = (later - age) * 1_000_000_000 / RATE.cast_signed();
    known.nsec.checked_add_signed(nanoseconds)
}

/// The position that the first sample of a block carries: the last before the block's own that it can mean.
fn phase_position(cycle: &Cycle, bits: u32, format: Format) -> Option<i64> {
    let modulus = (1i64 << bits) - 1;
    let position = cycle.position.cast_signed();
    Some(position - (position - phase(cycle, bits, format)?).rem_euclid(modulus))
}

fn phase(cycle: &Cycle, bits: u32, format: Format) -> Option<i64> {
    let sample = match format {
        Format::F32 => f32::from_bits(cycle.first),
        Format::S16 => f32::from((cycle.first as u16).cast_signed()) / 32768.0,
    };
    ramp_phase(bits, 0, sample).map(u64::cast_signed)
}

/// The cycles at and after `place`, as indices into a tape: from the first that a late client may have logged there.
pub fn after(cycles: &[Cycle], place: (u32, u64)) -> Option<usize> {
    cycles
        .iter()
        .position(|cycle| cycle.clock == place.0 && cycle.position >= place.1)
}

/// The cycles that must be silent: from the acknowledged place of `mute` until `unmute` was sent (or the end). Less those
/// that a late client logged at the border and whose position may be wrong.
///
/// # Panics
/// If there are none, or the mute was not applied in a cycle.
pub fn silent_stretch<'a>(
    cycles: &'a [Cycle],
    mute: &Switch,
    unmute: Option<&Switch>,
) -> Vec<&'a Cycle> {
    let place = mute.place().expect("the mute was applied in a cycle");
    let start = after(cycles, place).expect("the client saw the acknowledged cycle");
    let trusted = trusted(cycles);
    let until = unmute.map_or(u64::MAX, |unmute| unmute.sent_ns);
    let stretch: Vec<_> = (start..cycles.len())
        .take_while(|index| cycles[*index].nsec < until)
        .filter(|index| trusted[*index] || *index > start + BLUR)
        .map(|index| &cycles[index])
        .collect();
    assert!(!stretch.is_empty(), "no cycle between mute and unmute");
    stretch
}

/// The cycles that must be live and whose positions are sure: from the acknowledged place of `unmute` until `mute` was
/// sent (or the end).
///
/// # Panics
/// If the unmute was not applied in a cycle.
pub fn live_stretch<'a>(
    cycles: &'a [Cycle],
    unmute: &Switch,
    mute: Option<&Switch>,
) -> Vec<&'a Cycle> {
    let place = unmute.place().expect("the unmute was applied in a cycle");
    let Some(start) = after(cycles, place) else {
        return Vec::new();
    };
    let trusted = trusted(cycles);
    let until = mute.map_or(u64::MAX, |mute| mute.sent_ns);
    (start..cycles.len())
        .take_while(|index| cycles[*index].done_ns < until)
        .filter(|index| trusted[*index])
        .map(|index| &cycles[index])
        .collect()
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
    fn late_cycles_and_gaps_are_not_trusted() {
        let mut cycles: Vec<_> = (0..10).chain(11..20).map(cycle).collect();
        cycles[2].done_ns += 1_000_000;
        let trusted = trusted(&cycles);
        let distrusted: Vec<_> = (0..19).filter(|index| !trusted[*index]).collect();
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
            assert_eq!(born(known), Some(known.nsec - 1_000_000));
            let stale = block(702, 690 * 48, format);
            assert_eq!(born(stale), Some(known.nsec - 10_000_000));
            let misread = Cycle {
                position: 5,
                ..stale
            };
            assert_eq!(born(misread), born(stale));
            assert_eq!(born(cycle(701)), None);
        }
    }
}
