//! Ten simulated minutes of devices whose clocks differ from the driver's, whose threads stall and whose frames get lost. A
//! reader that always reads as far ahead as it may never meets a frame that is not there.

use truemute_feeder::{Block, Feeder, Flow, Format, Frame, Pacing, RATE, Sink, Timeline};

const READ_BEHIND: f64 = 1024.0;
/// Whoever reads late still finds what he reads, as long as the writer is not a whole ring ahead.
const HALF_THE_RING: f64 = 16_384.0;

/// Where the ring is written, and that runs are written without a hole.
#[derive(Default)]
struct Ring {
    begins: u32,
    from: u64,
    to: u64,
}

impl Sink for Ring {
    fn begin(&mut self, position: u64, _host_ns: u64) {
        self.begins += 1;
        (self.from, self.to) = (position, position);
    }

    fn write(&mut self, frames: &[Frame]) {
        self.to += frames.len() as u64;
    }
}

/// A device whose clock runs `drift_ppm` fast. Every `stall_every`th block comes `stall_ms` late, and those behind it when it
/// has come.
#[derive(Clone, Copy)]
struct Device {
    rate: u32,
    block: u32,
    drift_ppm: f64,
    jitter_ns: f64,
    stall_every: u64,
    stall_ms: u32,
}

fn run(device: Device, seconds: u64) {
    let format = Format {
        rate: device.rate,
        channels: 1,
        largest_block: device.block,
    };
    let mut feeder = Feeder::new(format, Pacing::default()).unwrap();
    let clock = Timeline {
        host_ns: 7,
        position: 90_000,
        seed: 1,
    };
    let samples = vec![0.25; device.block as usize];
    let mut ring = Ring::default();
    let true_rate = f64::from(device.rate) * (1.0 + device.drift_ppm / 1e6);
    let block_ns = f64::from(device.block) / true_rate * 1e9;
    let mut arrival_ns: f64 = 0.0;
    let mut random = 1_u64;
    for number in 0..(seconds as f64 * 1e9 / block_ns) as u64 {
        let captured_ns = 1e9 + number as f64 * block_ns;
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let jitter_ns = ((random >> 40) as f64 / (1 << 23) as f64 - 1.0) * device.jitter_ns;
        let stalled = number % device.stall_every == device.stall_every - 1;
        let late_ns = if stalled {
            f64::from(device.stall_ms) * 1e6
        } else {
            0.0
        };
        arrival_ns = arrival_ns.max(captured_ns + block_ns + late_ns);
        if number > 0 {
            // The last moment before the block is there.
            let reads_to = clock.position_at(arrival_ns as u64) - READ_BEHIND;
            let ahead = ring.to as f64 - reads_to;
            assert!(
                ahead >= 0.0,
                "underrun by {ahead} at block {number} of {}",
                device.rate
            );
        }
        let host_ns = (captured_ns + jitter_ns) as u64;
        let block = Block {
            samples: &samples,
            host_ns,
        };
        let flow = feeder.push(block, clock, &mut ring);
        assert_eq!(flow == Flow::Began, number == 0);
        assert!(!matches!(flow, Flow::Gap(_)));
        let now = clock.position_at(arrival_ns as u64);
        assert!(ring.to as f64 - now < HALF_THE_RING);
    }
    assert_eq!(ring.begins, 1);
}

const USUAL: Device = Device {
    rate: RATE,
    block: 512,
    drift_ppm: 0.0,
    jitter_ns: 20_000.0,
    stall_every: 97,
    stall_ms: 30,
};

#[test]
fn ten_minutes_of_a_fast_and_a_slow_clock() {
    for drift_ppm in [-200.0, 0.0, 200.0] {
        run(Device { drift_ppm, ..USUAL }, 600);
    }
}

#[test]
fn ten_minutes_at_44100_fast() {
    run(
        Device {
            rate: 44_100,
            drift_ppm: 200.0,
            ..USUAL
        },
        600,
    );
}

#[test]
fn ten_minutes_at_44100_slow() {
    run(
        Device {
            rate: 44_100,
            drift_ppm: -200.0,
            ..USUAL
        },
        600,
    );
}

#[test]
fn every_rate_and_block() {
    for rate in [
        8_000, 11_025, 16_000, 22_050, 24_000, 32_000, 88_200, 96_000, 176_400, 192_000,
    ] {
        for (block, drift_ppm) in [(64, 200.0), (471, -200.0), (1024, 200.0)] {
            run(
                Device {
                    rate,
                    block,
                    drift_ppm,
                    ..USUAL
                },
                8,
            );
        }
    }
    for block in [1, 3, 15, 17, 2048] {
        run(
            Device {
                block,
                drift_ppm: 200.0,
                ..USUAL
            },
            8,
        );
    }
}

/// The delay is just enough: a longer stall than it is meant for does run out.
#[test]
fn a_longer_stall_is_an_underrun() {
    let longer = Device {
        stall_ms: 36,
        drift_ppm: -200.0,
        ..USUAL
    };
    assert!(std::panic::catch_unwind(|| run(longer, 60)).is_err());
}

#[test]
fn lost_frames_become_silence_in_their_place() {
    let format = Format {
        rate: RATE,
        channels: 1,
        largest_block: 480,
    };
    let mut feeder = Feeder::new(format, Pacing::default()).unwrap();
    let clock = Timeline {
        host_ns: 0,
        position: 0,
        seed: 1,
    };
    let mut ring = Ring::default();
    let mut push = |ms: u64, clock: Timeline, ring: &mut Ring| {
        let block = Block {
            samples: &[1.0; 480],
            host_ns: ms * 1_000_000,
        };
        feeder.push(block, clock, ring)
    };
    assert_eq!(push(100, clock, &mut ring), Flow::Began);
    assert_eq!(push(110, clock, &mut ring), Flow::Steady);
    // 20 ms never came.
    assert_eq!(push(140, clock, &mut ring), Flow::Gap(960));
    assert_eq!(ring.to - ring.from, 3 * 480 + 960);
    // The time stamps go back, or far ahead, or the driver has another clock: all begin anew.
    assert_eq!(push(120, clock, &mut ring), Flow::Began);
    assert_eq!(push(60_000, clock, &mut ring), Flow::Began);
    let other = Timeline { seed: 2, ..clock };
    assert_eq!(push(60_010, other, &mut ring), Flow::Began);
    assert_eq!(push(60_020, other, &mut ring), Flow::Steady);
}

#[test]
fn a_block_without_a_frame_or_before_the_clock_is_nothing() {
    let format = Format {
        rate: RATE,
        channels: 2,
        largest_block: 480,
    };
    let mut feeder = Feeder::new(format, Pacing::default()).unwrap();
    let clock = Timeline {
        host_ns: 10_000_000_000,
        position: 0,
        seed: 1,
    };
    let mut ring = Ring::default();
    for (samples, host_ns) in [
        (&[][..], 10_000_000_000),
        (&[0.0], 10_000_000_000),
        (&[0.0; 960], 0),
    ] {
        assert_eq!(
            feeder.push(Block { samples, host_ns }, clock, &mut ring),
            Flow::Steady
        );
    }
    assert_eq!((ring.begins, ring.to), (0, 0));
}

#[test]
fn what_no_microphone_has_is_refused() {
    for (rate, channels, largest_block) in [
        (7_999, 1, 512),
        (192_001, 1, 512),
        (0, 1, 512),
        (RATE, 0, 512),
        (RATE, 65, 512),
        (RATE, 1, u32::MAX),
        (8_000, 1, 4096),
    ] {
        let format = Format {
            rate,
            channels,
            largest_block,
        };
        assert!(
            Feeder::new(format, Pacing::default()).is_err(),
            "{format:?}"
        );
    }
}
