//! What becomes of the sound: bit for bit the same where rates and clocks are equal, and measured where they are not.

use std::f64::consts::TAU;

use truemute_feeder::{Block, Feeder, Format, Frame, Pacing, RATE, Sink, Timeline};

const CLOCK: Timeline = Timeline {
    host_ns: 0,
    position: 0,
    seed: 1,
};

#[derive(Default)]
struct Tape(Vec<Frame>);

impl Sink for Tape {
    fn begin(&mut self, _position: u64, _host_ns: u64) {
        self.0.clear();
    }

    fn write(&mut self, frames: &[Frame]) {
        self.0.extend_from_slice(frames);
    }
}

/// What comes of `sound` (by frame number and channel) on a device whose clock runs `drift_ppm` fast.
fn through(
    rate: u32,
    channels: u32,
    drift_ppm: f64,
    frames: u64,
    sound: impl Fn(u64, u32) -> f32,
) -> (Vec<Frame>, Feeder) {
    let format = Format {
        rate,
        channels,
        largest_block: 480,
    };
    let mut feeder = Feeder::new(format, Pacing::default()).unwrap();
    let mut tape = Tape::default();
    let true_rate = f64::from(rate) * (1.0 + drift_ppm / 1e6);
    // Blocks of changing size.
    let mut sizes = [480, 1, 17, 479, 100].into_iter().cycle();
    let mut at = 0;
    while at < frames {
        let size = sizes.next().unwrap();
        let samples: Vec<f32> = (at..at + size)
            .flat_map(|frame| (0..channels).map(move |channel| (frame, channel)))
            .map(|(frame, channel)| sound(frame, channel))
            .collect();
        let host_ns = (1e9 + at as f64 / true_rate * 1e9) as u64;
        feeder.push(
            Block {
                samples: &samples,
                host_ns,
            },
            CLOCK,
            &mut tape,
        );
        at += size;
    }
    (tape.0, feeder)
}

/// Level in dB of what is left of `sound` when the tone of `hz` is taken out, relative to full scale.
fn residue_db(sound: &[Frame], hz: f64) -> (f64, f64) {
    let phase = |at: usize| TAU * hz * at as f64 / f64::from(RATE);
    let scale = 2.0 / sound.len() as f64;
    let (mut sine, mut cosine) = (0.0, 0.0);
    for (at, frame) in sound.iter().enumerate() {
        sine += f64::from(frame[0]) * phase(at).sin() * scale;
        cosine += f64::from(frame[0]) * phase(at).cos() * scale;
    }
    let left = sound
        .iter()
        .enumerate()
        .map(|(at, frame)| f64::from(frame[0]) - sine * phase(at).sin() - cosine * phase(at).cos());
    let power = left.map(|value| value * value).sum::<f64>() / sound.len() as f64;
    let db = |power: f64| 10.0 * power.max(1e-20).log10();
    (db((sine * sine + cosine * cosine) / 2.0), db(power))
}

fn tone(rate: u32, hz: f64) -> impl Fn(u64, u32) -> f32 {
    move |frame, _| (TAU * hz * frame as f64 / f64::from(rate)).sin() as f32
}

#[test]
fn equal_rates_and_clocks_change_no_bit() {
    // Also what a multiplication would change.
    let odd = [f32::NAN, -0.0, f32::MIN_POSITIVE / 2.0, f32::INFINITY];
    let sound = |frame: u64, channel: u32| match odd.get(frame as usize) {
        Some(value) => *value,
        None => (frame * 2 + u64::from(channel)) as f32 / 65_536.0,
    };
    let (tape, feeder) = through(RATE, 2, 0.0, 48_000, sound);
    assert!(tape.len() > 47_000);
    for (at, frame) in tape.iter().enumerate() {
        let wanted = [sound(at as u64, 0), sound(at as u64, 1)];
        assert_eq!(frame.map(f32::to_bits), wanted.map(f32::to_bits), "{at}");
    }
    assert_eq!(feeder.latency_frames(), feeder.delay_frames());
}

#[test]
fn one_channel_is_on_both_sides_and_of_many_the_first_two_count() {
    for (channels, right) in [(1, 0), (2, 1), (6, 1)] {
        let (tape, _) = through(RATE, channels, 0.0, 4_800, |_, channel| channel as f32);
        assert!(tape.iter().all(|frame| *frame == [0.0, right as f32]));
    }
}

#[test]
fn other_rates_keep_a_tone_clean() {
    for (rate, hz) in [
        (8_000, 1_000.0),
        (16_000, 5_000.0),
        (44_100, 1_000.0),
        (44_100, 15_000.0),
        (96_000, 15_000.0),
        (192_000, 1_000.0),
    ] {
        let (tape, _) = through(rate, 1, 0.0, u64::from(rate) * 2, tone(rate, hz));
        let (level, residue) = residue_db(&tape[48_000..72_000], hz);
        assert!((level + 3.01).abs() < 0.1, "{rate} {hz}: {level} dB");
        assert!(residue < -100.0, "{rate} {hz}: {residue} dB");
    }
}

#[test]
fn what_the_driver_cannot_hold_is_gone() {
    for (rate, hz) in [(96_000, 33_000.0), (192_000, 40_000.0), (192_000, 70_000.0)] {
        let (tape, _) = through(rate, 1, 0.0, u64::from(rate), tone(rate, hz));
        let power = tape[24_000..]
            .iter()
            .map(|frame| f64::from(frame[0] * frame[0]))
            .sum::<f64>()
            / (tape.len() - 24_000) as f64;
        let level = 10.0 * power.max(1e-20).log10();
        assert!(level < -100.0, "{rate} {hz}: {level} dB");
    }
}

/// With 48 kHz and a clock that differs, whole frames slip: sound stays continuous, and no sample is louder than it was.
#[test]
fn a_slip_is_no_click() {
    for drift_ppm in [-200.0, 200.0] {
        let hz = 1_000.0;
        let frames = 480_000 - 480_000 % 1077;
        let (tape, _) = through(RATE, 1, drift_ppm, frames, tone(RATE, hz));
        let slipped = tape.len() as i64 - frames as i64;
        assert!((70..=100).contains(&slipped.abs()), "{slipped}");
        assert_eq!(slipped > 0, drift_ppm < 0.0);
        // The steepest step of the tone itself.
        let steepest = (TAU * hz / f64::from(RATE)) as f32 * 1.04;
        for pair in tape.windows(2) {
            assert!((pair[1][0] - pair[0][0]).abs() <= steepest);
        }
    }
}

#[test]
fn latency_is_where_the_sound_is() {
    for rate in [8_000_u32, 44_100, RATE, 96_000] {
        // A click half a second in.
        let click = u64::from(rate) / 2;
        let (tape, feeder) = through(rate, 1, 0.0, u64::from(rate), |frame, _| {
            if frame == click { 1.0 } else { 0.0 }
        });
        let (at, _) = tape
            .iter()
            .enumerate()
            .max_by(|one, other| one.1[0].total_cmp(&other.1[0]))
            .unwrap();
        let own = i64::from(feeder.latency_frames() - feeder.delay_frames());
        assert!((at as i64 - 24_000 - own).abs() <= 2, "{rate}: {at} {own}");
    }
}
