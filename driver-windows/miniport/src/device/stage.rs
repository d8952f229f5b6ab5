//! A device for tests, with an audio engine and an agent that the test plays, on a clock that the test sets.

use super::{Device, Handle, Refused, Tick};
use crate::capture::State;
use crate::clock::Clock;
use truemute_core::local_ring::Frame;
use truemute_windows_interface::record::{Attach, Feed, Snapshot};
use truemute_windows_interface::{FRAME_BYTES, MOST_FRAMES, VERSION};

pub(crate) const AGENT: Handle = 0x10;
pub(crate) const OTHER: Handle = 0x20;
pub(crate) const MS: u64 = 1_000_000;
pub(crate) const PACKET: usize = 480;

/// A device, the moment, and the memory that the audio engine reads.
pub(crate) struct Stage {
    pub(crate) device: Box<Device>,
    pub(crate) now_ns: u64,
    memory: *mut u8,
    bytes: usize,
}

impl Stage {
    /// A running stream of two packets of 10 ms, or one without packets.
    pub(crate) fn running(packets: u32) -> Self {
        let mut stage = Self::stopped(packets);
        stage.go(State::Run);
        stage
    }

    pub(crate) fn stopped(packets: u32) -> Self {
        let mut device = Box::new(Device::new());
        device.start(Clock::new(1_000_000_000, 5 * MS), 77);
        device.appear();
        assert!(device.open_stream());
        let bytes = 2 * PACKET * FRAME_BYTES;
        let buffer = vec![0xee_u8; bytes].leak();
        let memory = buffer.as_mut_ptr();
        assert!(device.stream().unwrap().take_buffer(buffer, packets));
        Self {
            device,
            now_ns: 5 * MS,
            memory,
            bytes,
        }
    }

    pub(crate) fn go(&mut self, state: State) {
        assert!(self.device.go(self.now_ns, state));
    }

    /// What the audio engine finds in the buffer now.
    pub(crate) fn buffer(&self) -> Vec<Frame> {
        // SAFETY: the memory is leaked, and the device does not run meanwhile.
        let bytes = unsafe { core::slice::from_raw_parts(self.memory, self.bytes) };
        bytes.as_chunks().0.to_vec()
    }

    pub(crate) fn wait(&mut self, ns: u64) -> Tick {
        self.now_ns += ns;
        self.device.tick(self.now_ns)
    }

    pub(crate) fn attach(&mut self) {
        self.device
            .attach(
                AGENT,
                Attach {
                    version: VERSION,
                    reserved: 0,
                },
            )
            .unwrap();
    }

    pub(crate) fn unmute(&mut self) -> u64 {
        self.device.unmute(self.now_ns, AGENT).unwrap().epoch
    }

    /// Feeds a ramp for the next frames from the clock's position on: each frame says its position.
    pub(crate) fn feed(&mut self, epoch: u64, frames: usize) -> Result<(), Refused> {
        let position = self.device.clock().position_at(self.now_ns);
        let frames: Vec<Frame> = (position..).take(frames).map(ramp).collect();
        let head = Feed {
            epoch,
            position,
            began_ns: self.now_ns,
            frames: frames.len() as u32,
            reserved: 0,
        };
        self.device.feed(self.now_ns, AGENT, head, &frames)
    }

    pub(crate) fn snapshot(&mut self) -> Snapshot {
        self.device.snapshot(self.now_ns, OTHER)
    }
}

/// Never zeros.
pub(crate) fn ramp(position: u64) -> Frame {
    (position | 1 << 63).to_le_bytes()
}

pub(crate) const ZEROS: Frame = [0; FRAME_BYTES];

/// A stage in which sound stands in the buffer, with more of it in the ring.
pub(crate) fn loud() -> (Stage, u64) {
    let mut stage = Stage::running(2);
    stage.attach();
    let epoch = stage.unmute();
    stage.feed(epoch, MOST_FRAMES).unwrap();
    stage.wait(15 * MS);
    assert!(
        stage
            .buffer()
            .iter()
            .filter(|frame| **frame != ZEROS)
            .count()
            > PACKET
    );
    (stage, epoch)
}

/// Nothing of the sound is left, now or later, whatever the clock says.
pub(crate) fn assert_silent(stage: &mut Stage) {
    assert_eq!(stage.buffer(), [ZEROS; 2 * PACKET]);
    stage.wait(5 * MS);
    assert_eq!(stage.buffer(), [ZEROS; 2 * PACKET]);
    assert!(stage.device.ring.is_empty());
}
