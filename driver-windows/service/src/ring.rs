//! The way of the frames into the driver: whole numbers of 32 bits, some at once, by [`Request::Feed`]. The driver has no floating
//! point, so the conversion is here.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use truemute_agent::driver::Ring;
use truemute_feeder::Frame;
use truemute_windows_interface::record::Feed;
use truemute_windows_interface::{FRAME_BYTES, MOST_FRAMES, RATE, Request};

use crate::control_device::{AskError, ControlDevice};

/// Feeds the driver. Allocates nothing after it was made; each write is a call into the driver, which takes a spin lock for as long as
/// the frames take to be copied.
pub(crate) struct Feeding {
    device: Arc<dyn ControlDevice>,
    /// Feeds that the driver refused although the gate was open.
    refused: Arc<AtomicU64>,
    head: Feed,
    buffer: Box<[u8]>,
}

impl Feeding {
    pub(crate) fn new(device: Arc<dyn ControlDevice>, refused: Arc<AtomicU64>) -> Self {
        Self {
            device,
            refused,
            head: Feed::default(),
            buffer: vec![0; Feed::BYTES + MOST_FRAMES * FRAME_BYTES].into(),
        }
    }
}

impl Ring for Feeding {
    fn begin(&mut self, epoch: u64, position: u64, began_ns: u64) {
        self.head = Feed {
            epoch,
            position,
            began_ns,
            frames: 0,
            reserved: 0,
        };
    }

    fn write(&mut self, frames: &[Frame]) {
        for frames in frames.chunks(MOST_FRAMES) {
            let (head, room) = self.buffer.split_at_mut(Feed::BYTES);
            self.head.frames = frames.len() as u32;
            let encoded = self.head.encode(head);
            debug_assert!(encoded, "the head has its own length");
            let places = room.as_chunks_mut::<4>().0;
            for (place, sample) in places.iter_mut().zip(frames.as_flattened()) {
                *place = to_i32(*sample).to_le_bytes();
            }
            let bytes = Feed::BYTES + frames.len() * FRAME_BYTES;
            // After a mute, nobody wants them.
            if let Err(why) = self
                .device
                .ask(Request::Feed, &self.buffer[..bytes], &mut [])
                && why != AskError::Closed
            {
                self.refused.fetch_add(1, Ordering::Relaxed);
            }
            let ns = frames.len() as u64 * 1_000_000_000 / u64::from(RATE);
            self.head.position += frames.len() as u64;
            self.head.began_ns += ns;
        }
    }
}

/// The nearest whole number of a sample; what is out of range is clipped, and what is no number is silence. All 24 bits of a
/// float's fraction are kept.
fn to_i32(sample: f32) -> i32 {
    // Casts from float to integer saturate, and make 0 of what is no number.
    (f64::from(sample) * 2_147_483_648.0).round() as i32
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn samples_keep_their_bits_and_their_bounds() {
        for (sample, whole) in [
            (0.0, 0),
            (-0.0, 0),
            (1.0 / (1 << 24) as f32, 128),
            (0.5, 1 << 30),
            (-1.0, i32::MIN),
            (1.0, i32::MAX),
            (2.0, i32::MAX),
            (-7.0, i32::MIN),
            (f32::INFINITY, i32::MAX),
            (f32::NAN, 0),
        ] {
            assert_eq!(to_i32(sample), whole, "{sample}");
        }
    }

    #[derive(Default)]
    struct Heard(Mutex<Vec<(Feed, Vec<u8>)>>);

    impl ControlDevice for Heard {
        fn ask(&self, request: Request, input: &[u8], output: &mut [u8]) -> Result<(), AskError> {
            assert_eq!((request, output.len()), (Request::Feed, 0));
            let (head, frames) = truemute_windows_interface::record::split_feed(input).unwrap();
            let mut heard = self.0.lock().unwrap();
            heard.push((head, frames.as_flattened().to_vec()));
            match heard.len() {
                1 => Ok(()),
                2 => Err(AskError::Closed),
                _ => Err(AskError::Other(87)),
            }
        }
    }

    #[test]
    fn a_long_run_goes_in_pieces_that_follow_each_other() {
        let (device, refused) = (Arc::new(Heard::default()), Arc::<AtomicU64>::default());
        let mut feeding = Feeding::new(device.clone(), refused.clone());
        feeding.begin(3, 1000, 5_000_000_000);
        feeding.write(&[[0.5, -0.5]; MOST_FRAMES + 48]);
        feeding.write(&[[0.0, 0.0]; 1]);
        let heard = device.0.lock().unwrap();
        let heads: Vec<_> = heard
            .iter()
            .map(|(head, _)| (head.epoch, head.position, head.began_ns, head.frames))
            .collect();
        assert_eq!(
            heads,
            [
                (3, 1000, 5_000_000_000, 4800),
                (3, 5800, 5_100_000_000, 48),
                (3, 5848, 5_101_000_000, 1)
            ]
        );
        let (left, right) = (1_i32 << 30, -(1_i32 << 30));
        let frame = [left.to_le_bytes(), right.to_le_bytes()].concat();
        assert_eq!(heard[1].1, frame.repeat(48));
        assert_eq!(
            refused.load(Ordering::Relaxed),
            1,
            "a closed gate refuses nothing that is wanted"
        );
    }
}
