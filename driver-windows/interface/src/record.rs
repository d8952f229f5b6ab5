//! What the buffers of the control device's requests hold: fixed numbers of whole numbers, little-endian, in order, without
//! gaps, so that each is also a C structure. Read from bytes and written to bytes, never cast.

use crate::{FRAME_BYTES, MOST_FRAMES};

/// A structure of whole numbers, and how it is written.
macro_rules! record {
    ($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[repr(C)]
        pub struct $name { $($(#[$field_meta])* pub $field: $type,)* }

        impl $name {
            /// Bytes of it.
            pub const BYTES: usize = 0 $(+ size_of::<$type>())*;

            /// Reads it from exactly so many bytes; nothing from any other number.
            pub fn decode(bytes: &[u8]) -> Option<Self> {
                let rest = bytes;
                $(let ($field, rest) = rest.split_first_chunk()?;)*
                rest.is_empty().then_some(Self { $($field: <$type>::from_le_bytes(*$field),)* })
            }

            /// Writes it into exactly so many bytes; false, and nothing written, for any other number.
            #[must_use]
            pub fn encode(&self, bytes: &mut [u8]) -> bool {
                if bytes.len() != Self::BYTES {
                    return false;
                }
                let rest = bytes;
                $(let Some(($field, rest)) = rest.split_first_chunk_mut() else { return false };
                *$field = self.$field.to_le_bytes();)*
                rest.is_empty()
            }
        }

        const _: () = assert!(size_of::<$name>() == $name::BYTES, "no gaps: it is a C structure as it stands");
    };
}

record! {
    /// Which driver this is.
    Version {
        /// The driver's [`crate::VERSION`].
        version: u32,
        /// Its [`crate::RATE`].
        rate: u32,
        /// Differs after each start of the driver, so that counts which begin anew never look negative.
        instance: u64,
    }
}

record! {
    /// Who wants to be the feeder.
    Attach {
        /// Its [`crate::VERSION`].
        version: u32,
        /// 0.
        reserved: u32,
    }
}

record! {
    /// Head of a feed; its frames follow, [`crate::FRAME_BYTES`] each. See [`split_feed`].
    Feed {
        /// Epoch of the unmute in which they were captured ([`Unmuted::epoch`]).
        epoch: u64,
        /// Where the first frame belongs on the driver's clock. One that follows the last feed's last frame goes on with its run;
        /// any other begins a run, and what was fed before is heard no more.
        position: u64,
        /// When the capture of the first frame began, with the source's latency subtracted.
        began_ns: u64,
        /// How many frames, 1 to [`crate::MOST_FRAMES`].
        frames: u32,
        /// 0.
        reserved: u32,
    }
}

record! {
    /// The gate.
    Gate {
        /// Number of the epoch.
        epoch: u64,
        /// 1 if it was unmuted in this epoch, else 0. Live is more: it takes a lease, and sound.
        open: u32,
        /// 0.
        reserved: u32,
    }
}

record! {
    /// A mute took effect: no frame of sound is written from now on, and none that was written is left in the buffer that the
    /// audio engine reads from.
    Muted {
        /// The epoch that it opened.
        epoch: u64,
        /// Position of the driver's clock: all that is written from here on is zeros.
        position: u64,
        /// When that was.
        done_ns: u64,
    }
}

record! {
    /// The gate was opened.
    Unmuted {
        /// The epoch: feeds count only with this number.
        epoch: u64,
        /// Position of the driver's clock then.
        position: u64,
        /// When: only sound captured from then on counts.
        opened_ns: u64,
    }
}

record! {
    /// Where the driver's clock stood at one moment. It goes on by [`crate::RATE`] frames a second.
    Clock {
        /// The moment.
        host_ns: u64,
        /// The position then, in frames.
        position: u64,
        /// Number of the time line: positions compare only within one.
        seed: u64,
    }
}

record! {
    /// Everything that the driver counted since it started, at one moment. Frames are [`crate::RATE`] a second.
    Snapshot {
        /// [`Version::instance`].
        instance: u64,
        /// The moment.
        at_ns: u64,
        /// The gate's epoch.
        epoch: u64,
        /// [`Gate::open`].
        open: u32,
        /// Why the last delivery was silent (`SilentReason::code` of `truemute-core`); 0 if it was live, or if there was none.
        reason: u32,
        /// Who is the feeder: 0 nobody, 1 another handle, [`crate::ATTACHED_HERE`] the handle that asks.
        attached: u32,
        /// The pin's state: 0 stop, 1 acquire, 2 pause, 3 run (`KSSTATE` of ks.h). 0 while there is no stream.
        state: u32,
        /// Streams now: 0 or 1.
        streams: u32,
        /// Frames in the buffer of the stream; 0 without one.
        buffer_frames: u32,
        /// Streams that were opened.
        opened: u64,
        /// Streams that were refused: a second one, or another format.
        refused: u64,
        /// Times that a stream came to run.
        runs: u64,
        /// Packets that the audio engine fetched (`GetReadPacket`) with sound in them.
        live_pulls: u64,
        /// Their frames.
        live_pull_frames: u64,
        /// Packets that it fetched, all zeros by our doing.
        muted_pulls: u64,
        /// Their frames.
        muted_pull_frames: u64,
        /// Packets that it did not fetch before they were overwritten.
        lost_pulls: u64,
        /// When it fetched the last one; 0 for never.
        last_pull_ns: u64,
        /// Median of the time between two fetches.
        interval_p50_ns: u64,
        /// 99th percentile of it.
        interval_p99_ns: u64,
        /// The longest.
        interval_max_ns: u64,
        /// Frames of sound that were written for the audio engine. Counted whether or not it fetches packets.
        live_frames: u64,
        /// Frames of zeros that were written for it.
        muted_frames: u64,
        /// Frames that it had perhaps not fetched, and that a mute overwrote with zeros: they are in `live_frames` or
        /// `muted_frames` already.
        zeroed_frames: u64,
        /// Feeds that were taken.
        feeds: u64,
        /// Their frames.
        fed_frames: u64,
        /// Feeds that were refused: of another epoch, or out of reach.
        feeds_refused: u64,
        /// Leases that ran out, each of which was a mute.
        leases_expired: u64,
        /// Times that a feeder went away while the gate was open, each of which was a mute.
        feeders_lost: u64,
    }
}

/// The head and the frames of a feed; nothing unless the length is exactly what the head says, and from 1 to
/// [`crate::MOST_FRAMES`] frames.
pub fn split_feed(bytes: &[u8]) -> Option<(Feed, &[[u8; FRAME_BYTES]])> {
    let (head, frames) = bytes.split_at_checked(Feed::BYTES)?;
    let head = Feed::decode(head)?;
    let (frames, rest) = frames.as_chunks();
    let announced = usize::try_from(head.frames).ok()?;
    let fits =
        rest.is_empty() && frames.len() == announced && (1..=MOST_FRAMES).contains(&announced);
    (fits && head.reserved == 0).then_some((head, frames))
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::vec;
    use std::vec::Vec;

    #[test]
    fn bytes_are_in_order_and_little_endian() {
        let gate = Gate {
            epoch: 0x0102_0304_0506_0708,
            open: 1,
            reserved: 0,
        };
        let mut bytes = [0xff; Gate::BYTES];
        assert!(gate.encode(&mut bytes));
        assert_eq!(bytes, [8, 7, 6, 5, 4, 3, 2, 1, 1, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(Gate::decode(&bytes), Some(gate));
    }

    #[test]
    fn sizes_are_those_of_version_1() {
        // Whoever changes one has to change `VERSION`.
        let sizes = [
            Version::BYTES,
            Attach::BYTES,
            Feed::BYTES,
            Gate::BYTES,
            Muted::BYTES,
            Unmuted::BYTES,
            Clock::BYTES,
            Snapshot::BYTES,
        ];
        assert_eq!(
            (crate::VERSION, sizes),
            (1, [16, 8, 32, 16, 24, 24, 24, 208])
        );
    }

    #[test]
    fn another_length_is_neither_read_nor_written() {
        for wrong in [0, 1, Clock::BYTES - 1, Clock::BYTES + 1] {
            let mut bytes = vec![0xa5; wrong];
            assert_eq!(Clock::decode(&bytes), None);
            assert!(!Clock::default().encode(&mut bytes));
            assert!(bytes.iter().all(|byte| *byte == 0xa5));
        }
    }

    fn feed(frames: u32, follow: usize, reserved: u32) -> Vec<u8> {
        let head = Feed {
            epoch: 1,
            position: 2,
            began_ns: 3,
            frames,
            reserved,
        };
        let mut bytes = vec![0; Feed::BYTES];
        assert!(head.encode(&mut bytes));
        bytes.resize(Feed::BYTES + follow, 7);
        bytes
    }

    #[test]
    fn a_feed_is_as_long_as_it_says() {
        let bytes = feed(2, 16, 0);
        let (head, frames) = split_feed(&bytes).expect("it fits");
        assert_eq!((head.epoch, head.position, head.began_ns), (1, 2, 3));
        assert_eq!(frames, [[7; 8]; 2]);
        let most = MOST_FRAMES as u32;
        assert!(split_feed(&feed(most, MOST_FRAMES * 8, 0)).is_some());
        for (frames, follow, reserved) in [
            (2, 15, 0),
            (2, 17, 0),
            (2, 24, 0),
            (3, 16, 0),
            (0, 0, 0),
            (most + 1, MOST_FRAMES * 8 + 8, 0),
            (u32::MAX, 16, 0),
            (2, 16, 1),
        ] {
            assert_eq!(
                split_feed(&feed(frames, follow, reserved)),
                None,
                "{frames} {follow}"
            );
        }
        assert_eq!(split_feed(&[0; 31]), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(words in prop::collection::vec(any::<u8>(), Snapshot::BYTES)) {
            let snapshot = Snapshot::decode(&words).expect("so long it is");
            let mut bytes = vec![0; Snapshot::BYTES];
            prop_assert!(snapshot.encode(&mut bytes));
            prop_assert_eq!(bytes, words);
        }

        #[test]
        fn any_bytes_are_a_feed_or_none(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Some((head, frames)) = split_feed(&bytes) {
                prop_assert_eq!(frames.len(), head.frames as usize);
            }
        }
    }
}
