//! A capture callback may push: nothing is allocated then (promise P6), also at a gap, a new run and with drift.

use truemute_feeder::{Block, Feeder, Format, Frame, Pacing, RATE, Sink, Timeline};

struct Count(u64);

impl Sink for Count {
    fn begin(&mut self, _position: u64, _host_ns: u64) {}

    fn write(&mut self, frames: &[Frame]) {
        self.0 += frames.len() as u64;
    }
}

#[test]
fn pushing_does_not_allocate() {
    for rate in [8_000, 44_100, RATE, 192_000] {
        let format = Format {
            rate,
            channels: 2,
            largest_block: 512,
        };
        let mut feeder = Feeder::new(format, Pacing::default()).unwrap();
        let samples = vec![0.5; 1024];
        let clock = Timeline {
            host_ns: 0,
            position: 0,
            seed: 1,
        };
        let mut count = Count(0);
        let counted = allocation_counter::measure(|| {
            for number in 0..1000_u64 {
                let lost = number / 100;
                // 300 ppm slow, with a gap after each hundred blocks.
                let host_ns = (number + lost) * 512 * 1_000_300_000 / u64::from(rate);
                let seed = number / 500;
                let size = if number % 7 == 0 { 3 } else { 1024 };
                feeder.push(
                    Block {
                        samples: &samples[..size],
                        host_ns,
                    },
                    Timeline { seed, ..clock },
                    &mut count,
                );
            }
            feeder.reset();
        });
        assert!(count.0 > 10_000);
        assert_eq!(counted.count_total, 0, "{rate}");
    }
}
