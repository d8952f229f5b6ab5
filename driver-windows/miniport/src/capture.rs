//! The one stream: where it stands, what of its cyclic buffer is written, and which packets the audio engine has fetched.
//! What may be written, and when, decides `device.rs`.

use truemute_windows_interface::FRAME_BYTES;

/// Packets in one buffer at most. The audio engine asks for one or two.
pub const MOST_PACKETS: u32 = 32;
/// Frames in the buffer at most: 2 s.
pub const MOST_BUFFER_FRAMES: usize = 96_000;
/// Frames that pass the gate at once at most: 10 ms.
const PIECE: u64 = 480;

/// `KSSTATE` of ks.h.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum State {
    /// Nothing is held.
    #[default]
    Stop = 0,
    /// Resources are held.
    Acquire = 1,
    /// Ready; time stands still.
    Pause = 2,
    /// Capturing.
    Run = 3,
}

impl State {
    /// The state of a number; nothing for any other.
    pub const fn of(code: u32) -> Option<Self> {
        Some(match code {
            0 => Self::Stop,
            1 => Self::Acquire,
            2 => Self::Pause,
            3 => Self::Run,
            _ => return None,
        })
    }
}

/// A packet that the audio engine may read now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Its number since the stream left the stop state.
    pub number: u64,
    /// Its frames.
    pub frames: u64,
    /// The position of its first frame on the driver's clock.
    pub position: u64,
    /// Whether it has sound in it.
    pub live: bool,
    /// Whether another one is complete.
    pub more: bool,
    /// Packets before it that were overwritten unfetched.
    pub lost: u64,
}

/// A piece of the cyclic buffer that is due, and the frames of the driver's clock that belong in it.
#[derive(Debug)]
pub struct Piece<'b> {
    /// Where.
    pub bytes: &'b mut [u8],
    /// Position of its first frame.
    pub position: u64,
    /// How many frames.
    pub frames: u64,
}

/// The stream. Frames are numbered from 0 since it was stopped; time counts only while it runs.
#[derive(Debug, Default)]
pub struct Stream {
    state: State,
    /// The memory that the audio engine reads, whole frames.
    buffer: Option<&'static mut [u8]>,
    /// Frames of a packet; 0 if the stream has none.
    packet: u64,
    /// Frames that were written.
    written: u64,
    /// The frame of the driver's clock that was next when it began to run, and which of the stream's that was.
    began: (u64, u64),
    /// The first packet that was not fetched.
    fetched: u64,
    /// Packets that were told of.
    told: u64,
    /// Bit n: a packet whose number is n modulo 64 has sound in it.
    live: u64,
}

impl Stream {
    /// Its state.
    pub const fn state(&self) -> State {
        self.state
    }

    /// Frames of its buffer.
    pub fn buffer_frames(&self) -> u64 {
        self.buffer
            .as_ref()
            .map_or(0, |buffer| (buffer.len() / FRAME_BYTES) as u64)
    }

    /// Takes the buffer into use, with zeros in it, as so many packets; 0 for a buffer without packets. False, and not taken, if it
    /// has one, if it is no whole number of frames or packets, or too large.
    pub fn take_buffer(&mut self, buffer: &'static mut [u8], packets: u32) -> bool {
        let (frames, rest) = (buffer.len() / FRAME_BYTES, buffer.len() % FRAME_BYTES);
        let packet = (frames as u64).checked_div(u64::from(packets)).unwrap_or(0);
        let whole = packet.saturating_mul(u64::from(packets)) == frames as u64;
        let fits =
            rest == 0 && (1..=MOST_BUFFER_FRAMES).contains(&frames) && packets <= MOST_PACKETS;
        if self.buffer.is_some() || self.state > State::Acquire || !fits || (packets > 0 && !whole)
        {
            return false;
        }
        buffer.fill(0);
        self.buffer = Some(buffer);
        self.packet = packet;
        self.rewind();
        true
    }

    /// Lets go of the buffer, with zeros in it.
    pub fn leave_buffer(&mut self) {
        self.silence();
        self.buffer = None;
    }

    /// Writes zeros over the whole buffer. Says how many of its frames had been written.
    pub fn silence(&mut self) -> u64 {
        self.live = 0;
        match &mut self.buffer {
            Some(buffer) => {
                buffer.fill(0);
                self.written.min((buffer.len() / FRAME_BYTES) as u64)
            }
            None => 0,
        }
    }

    /// Goes to a state, at a position of the driver's clock up to which everything is written. False, and nothing done, if there
    /// is no buffer to run with.
    pub fn go(&mut self, state: State, position: u64) -> bool {
        if state == State::Run && self.buffer.is_none() {
            return false;
        }
        if state == State::Run && self.state != State::Run {
            self.began = (position, self.written);
        }
        if state == State::Stop {
            self.silence();
            self.rewind();
        }
        self.state = state;
        true
    }

    fn rewind(&mut self) {
        (self.written, self.fetched, self.told, self.live) = (0, 0, 0, 0);
        self.began = (0, 0);
    }

    /// The next piece that is due when the driver's clock is at `now`; nothing if all is written, or if it does not run.
    /// [`Stream::wrote`] has to follow.
    pub fn due(&mut self, now: u64) -> Option<Piece<'_>> {
        if self.state != State::Run {
            return None;
        }
        let buffer = self.buffer.as_deref_mut()?;
        let size = (buffer.len() / FRAME_BYTES) as u64;
        let (began, first) = self.began;
        let target = first.saturating_add(now.saturating_sub(began));
        let mut frames = target.saturating_sub(self.written);
        if frames > size {
            // The timer was so late that older frames would be overwritten at once: they are lost.
            self.written = target.saturating_sub(size);
            self.live = 0;
            frames = size;
        }
        let into = self.written.checked_rem(self.packet).unwrap_or(0);
        if self.packet > 0 {
            frames = frames.min(self.packet.saturating_sub(into));
            if into == 0 {
                self.live &= !bit(self.written.checked_div(self.packet).unwrap_or(0));
            }
        }
        let offset = self.written.checked_rem(size)?;
        let frames = frames.min(size.saturating_sub(offset)).min(PIECE);
        let start = usize::try_from(offset).ok()?.checked_mul(FRAME_BYTES)?;
        let length = usize::try_from(frames).ok()?.checked_mul(FRAME_BYTES)?;
        let bytes = buffer.get_mut(start..)?.get_mut(..length)?;
        (frames > 0).then_some(Piece {
            bytes,
            position: began.saturating_add(self.written.saturating_sub(first)),
            frames,
        })
    }

    /// So many frames of the piece that was due are written.
    pub fn wrote(&mut self, frames: u64, live: bool) {
        if live && let Some(packet) = self.written.checked_div(self.packet) {
            self.live |= bit(packet);
        }
        self.written = self.written.saturating_add(frames);
    }

    /// Where in the buffer the next frame will be written, in bytes.
    pub fn offset(&self) -> u64 {
        let frame = self.written.checked_rem(self.buffer_frames()).unwrap_or(0);
        frame.saturating_mul(FRAME_BYTES as u64)
    }

    /// Whether it has packets: then it is fetched by [`Stream::fetch`].
    pub const fn has_packets(&self) -> bool {
        self.packet > 0
    }

    /// The position of the driver's clock at which the next packet will be complete; nothing if it has none or does not run.
    pub fn next_packet(&self) -> Option<u64> {
        if self.state != State::Run {
            return None;
        }
        let next = self.written.checked_div(self.packet)?.saturating_add(1);
        Some(self.position_of(next.saturating_mul(self.packet)))
    }

    /// Whether a packet was completed since the last time that this was asked.
    pub fn tell(&mut self) -> bool {
        let complete = self.written.checked_div(self.packet).unwrap_or(0);
        core::mem::replace(&mut self.told, complete) < complete
    }

    /// The oldest packet that is complete, was not fetched and is not being overwritten. Now it is fetched.
    pub fn fetch(&mut self) -> Option<Packet> {
        let complete = self.written.checked_div(self.packet)?;
        let packets = self.buffer_frames().checked_div(self.packet)?;
        let kept = complete.saturating_sub(packets.saturating_sub(1).max(1));
        let number = self.fetched.max(kept);
        if number >= complete {
            return None;
        }
        let lost = number.saturating_sub(self.fetched);
        self.fetched = number.saturating_add(1);
        Some(Packet {
            number,
            frames: self.packet,
            position: self.position_of(number.saturating_mul(self.packet)),
            live: self.live & bit(number) != 0,
            more: self.fetched < complete,
            lost,
        })
    }

    fn position_of(&self, frame: u64) -> u64 {
        let (began, first) = self.began;
        began.saturating_add(frame).saturating_sub(first)
    }
}

const fn bit(packet: u64) -> u64 {
    1 << (packet & 63)
}
