//! What the Windows driver and those who open its control device say to each other. Here are the numbers: names, control
//! codes ([`Request`]), limits and the one format. [`record`] has what the buffers hold. What the driver does about it is
//! in `driver-windows/miniport`, who asks it in `driver-windows/service`.
//!
//! The device is opened as [`PATH`], by the system, administrators and whoever sits at the console. Each request is a
//! `DeviceIoControl` with buffers of exactly [`Request::input_bytes`] and [`Request::output_bytes`]; with any other length it fails
//! and does nothing. Whoever may open the device may look and may mute. One handle at a time is the feeder
//! ([`Request::Attach`]); it alone may feed, renew and unmute, and when it is closed, for whatever reason, the driver mutes. So it
//! does when a request comes by that handle from a session that is no longer at the console: the handle may look and mute, but
//! it is not the feeder any more, and cannot become it again before the session is back.
//!
//! All times are nanoseconds of the performance counter: `ticks * 10^9 / frequency`, rounded down, of
//! `QueryPerformanceCounter` in the agent and `KeQueryPerformanceCounter` in the driver, which are the same counter.
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::float_arithmetic
    )
)]

pub mod record;

/// Version of the codes and records. Both sides must have the same: they are installed together.
pub const VERSION: u32 = 1;

/// What `CreateFile` opens.
pub const PATH: &str = r"\\.\TrueMute";
/// The control device's name in the kernel.
pub const DEVICE_NAME: &str = r"\Device\TrueMute";
/// The link that makes [`PATH`] lead to it.
pub const LINK_NAME: &str = r"\DosDevices\TrueMute";

/// Frames a second. There is no other rate.
pub const RATE: u32 = 48_000;
/// Samples in a frame: left, then right.
pub const CHANNELS: u16 = 2;
/// Bits of a sample: a signed whole number, little-endian, of which all bits count.
pub const BITS: u16 = 32;
/// Bytes of a frame.
pub const FRAME_BYTES: usize = 8;

/// Frames in one [`Request::Feed`] at most: 100 ms.
pub const MOST_FRAMES: usize = 4800;
/// So far behind and ahead of the driver's clock all frames of a feed must lie, in frames: 250 ms. Others are refused.
pub const REACH: u64 = 12_000;
/// A lease that is not renewed for so long has run out, which is a mute. In nanoseconds.
pub const LEASE_NS: u64 = 250_000_000;
/// When the last feed is so long ago, the source counts as missing, whatever the ring still has. In nanoseconds.
pub const STALE_NS: u64 = 50_000_000;

/// What a snapshot says of the feeder ([`record::Snapshot`]) if that is who asks.
pub const ATTACHED_HERE: u32 = 2;

/// What the control device can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Request {
    /// Which driver this is. Gives [`record::Version`].
    Version = 0,
    /// Become the feeder. Takes [`record::Attach`]. Fails with `STATUS_SHARING_VIOLATION` while another handle is the feeder, and with
    /// `STATUS_REVISION_MISMATCH` if the versions differ. The gate is as it was: shut.
    Attach = 1,
    /// Sound. Takes [`record::Feed`] and its frames, and gives nothing. Fails with `STATUS_INVALID_DEVICE_STATE` if
    /// the gate is not open in that epoch (the frames are of no use any more: somebody muted), and with `STATUS_INVALID_PARAMETER` for
    /// frames beyond [`REACH`].
    Feed = 2,
    /// Answer for "live" for another [`LEASE_NS`]. Gives [`record::Gate`]: if it is not open there was nothing to renew.
    RenewLease = 3,
    /// Silence, also of what the audio engine has not yet fetched. Gives [`record::Muted`]. Anybody.
    Mute = 4,
    /// Open the gate in a new epoch, with a lease. Gives [`record::Unmuted`].
    Unmute = 5,
    /// Where the driver's clock stands. Gives [`record::Clock`].
    Clock = 6,
    /// What was counted. Gives [`record::Snapshot`].
    Snapshot = 7,
}

/// `CTL_CODE` of wdm.h: `DeviceType << 16 | Access << 14 | Function << 2 | Method`. Device types from 0x8000 and functions from
/// 0x800 on are the vendor's; method 0 is `METHOD_BUFFERED`.
const fn ctl_code(function: u32, access: u32) -> u32 {
    (0x8000 << 16) | (access << 14) | ((0x800 | function) << 2)
}

impl Request {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Version,
        Self::Attach,
        Self::Feed,
        Self::RenewLease,
        Self::Mute,
        Self::Unmute,
        Self::Clock,
        Self::Snapshot,
    ];

    /// Whether only the handle that is attached may ask this. To others it is `STATUS_ACCESS_DENIED`.
    pub const fn feeders_only(self) -> bool {
        matches!(self, Self::Feed | Self::RenewLease | Self::Unmute)
    }

    /// The control code. What only looks or mutes needs a handle with `FILE_READ_DATA`, the rest one with `FILE_WRITE_DATA`;
    /// the I/O manager sees to it.
    pub const fn code(self) -> u32 {
        const READ: u32 = 1;
        const WRITE: u32 = 2;
        let access = match self {
            Self::Version | Self::Mute | Self::Clock | Self::Snapshot => READ,
            Self::Attach | Self::Feed | Self::RenewLease | Self::Unmute => WRITE,
        };
        ctl_code(self as u32, access)
    }

    /// The request of a control code; nothing for a code that is none of ours.
    pub fn of_code(code: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|request| request.code() == code)
    }

    /// Bytes that it takes; for [`Request::Feed`], without the frames.
    pub const fn input_bytes(self) -> usize {
        match self {
            Self::Attach => record::Attach::BYTES,
            Self::Feed => record::Feed::BYTES,
            _ => 0,
        }
    }

    /// Bytes that it gives.
    pub const fn output_bytes(self) -> usize {
        match self {
            Self::Version => record::Version::BYTES,
            Self::Attach | Self::Feed => 0,
            Self::RenewLease => record::Gate::BYTES,
            Self::Mute => record::Muted::BYTES,
            Self::Unmute => record::Unmuted::BYTES,
            Self::Clock => record::Clock::BYTES,
            Self::Snapshot => record::Snapshot::BYTES,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_ctl_code() {
        // Reckoned by hand from wdm.h's macro: a change of these breaks installed agents.
        let codes = [
            0x8000_6000,
            0x8000_a004,
            0x8000_a008,
            0x8000_a00c,
            0x8000_6010,
            0x8000_a014,
            0x8000_6018,
            0x8000_601c,
        ];
        assert_eq!(Request::ALL.map(Request::code), codes);
        for request in Request::ALL {
            assert_eq!(Request::of_code(request.code()), Some(request));
            for wrong in [1, 2, 3, 0x4000, 0x1_0000] {
                assert_eq!(
                    Request::of_code(request.code() ^ wrong),
                    None,
                    "{request:?}"
                );
            }
        }
        assert_eq!(Request::of_code(0), None);
    }

    #[test]
    fn who_may_only_read_may_not_speak_for_the_user() {
        for request in Request::ALL
            .into_iter()
            .filter(|request| request.feeders_only())
        {
            assert_eq!(request.code() >> 14 & 3, 2, "{request:?}");
        }
    }
}
