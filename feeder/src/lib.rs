//! Brings what a capture device delivers, at its own rate and by its own clock, to the clock of a virtual microphone that
//! lives elsewhere: 48 kHz, stereo, each frame at a position of that clock. Resampling and drift are decided here; who
//! captures, and where the frames go, is not ([`Sink`]).
//!
//! A frame that was captured when the driver's clock stood at `p` is written at `p` + [`Feeder::delay_frames`]. The delay
//! is as long as a stall of the capturing thread may be, so that nobody who reads sees one. How full the ring is follows
//! from it: the feeder compares the position that it writes at with the one where the block's time stamp belongs, and
//! plays the block a little faster or slower until they agree ([`pace`]). No clock is measured besides, and nothing
//! jitters as the thread's wake-ups do.
//!
//! After [`Feeder::new`] nothing here allocates, locks or blocks.
//!
//! ```
//! use truemute_feeder::{Block, Feeder, Format, Frame, Pacing, Sink, Timeline};
//!
//! struct Ring(Vec<Frame>);
//! impl Sink for Ring {
//!     fn begin(&mut self, _position: u64, _began_ns: u64) {
//!         self.0.clear();
//!     }
//!     fn write(&mut self, frames: &[Frame]) {
//!         self.0.extend_from_slice(frames);
//!     }
//! }
//!
//! let format = Format { rate: 48_000, channels: 1, largest_block: 512 };
//! let mut feeder = Feeder::new(format, Pacing::default()).unwrap();
//! let clock = Timeline { host_ns: 1_000_000, position: 0, seed: 1 };
//! let mut ring = Ring(Vec::new());
//! feeder.push(Block { samples: &[0.5; 480], host_ns: 2_000_000 }, clock, &mut ring);
//! assert_eq!(ring.0, [[0.5, 0.5]; 480]);
//! ```
#![forbid(unsafe_code)]

mod convert;
mod feed;
pub mod pace;
mod timeline;

pub use feed::{Block, Feeder, Flow, Format, FormatError, Pacing, Sink};
pub use timeline::Timeline;

/// The driver's rate in Hz.
pub const RATE: u32 = 48_000;

/// One frame of the driver: left and right.
pub type Frame = [f32; 2];
