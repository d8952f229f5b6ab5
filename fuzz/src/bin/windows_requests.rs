//! Any requests to the Windows driver's control device, by two handles at the console and away from it, in any order and at any time, while an
//! audio engine fetches: an error and nothing else, or what the request says. What is heard was fed since the gate was last
//! shut, and nothing is left in the buffer while it is shut.
#![no_main]

use libfuzzer_sys::fuzz_target;
use truemute_miniport::capture::State;
use truemute_miniport::clock::Clock;
use truemute_miniport::device::{Caller, Device, Handle};
use truemute_miniport::requests::answer;
use truemute_windows_interface::record::{Attach, Feed, Unmuted};
use truemute_windows_interface::{ATTACHED_HERE, FRAME_BYTES, MOST_FRAMES, Request, VERSION};

const HANDLES: [Handle; 2] = [0x10, 0x20];
const BEGIN_NS: u64 = 5_000_000;
/// Two packets of 10 ms.
const BUFFER: usize = 2 * 480 * FRAME_BYTES;

/// What is left of the fuzzer's bytes. Zeros follow them.
struct Script<'b>(&'b [u8]);

impl Script<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    fn word(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.byte()).collect()
    }
}

/// The device, and what a reader of its documentation expects of it.
struct Stage {
    device: Box<Device>,
    memory: *mut u8,
    now_ns: u64,
    feeder: Option<Handle>,
    /// The last epoch that was opened.
    epoch: u64,
    /// The first epoch that was opened since the gate was shut.
    oldest: Option<u64>,
}

impl Stage {
    fn new() -> Self {
        thread_local! {
            /// The audio engine's pages.
            static MEMORY: *mut u8 = vec![0_u8; BUFFER].leak().as_mut_ptr();
        }
        let mut device = Box::new(Device::new());
        device.start(Clock::new(1_000_000_000, BEGIN_NS), 77);
        device.appear();
        let mut stage = Self {
            device,
            memory: MEMORY.with(|memory| *memory),
            now_ns: BEGIN_NS,
            feeder: None,
            epoch: 0,
            oldest: None,
        };
        stage.open_stream();
        stage
    }

    fn open_stream(&mut self) {
        // SAFETY: the pages are leaked, and at most one stream of one device at a time has them: the last device is dropped, and this one's
        // last stream was closed.
        let buffer = unsafe { std::slice::from_raw_parts_mut(self.memory, BUFFER) };
        assert!(self.device.open_stream());
        let stream = self.device.stream().expect("it was opened just now");
        assert!(stream.take_buffer(buffer, 2));
        assert!(self.device.go(self.now_ns, State::Run));
    }

    /// Each frame says in which epoch it was fed, and is never zeros.
    fn heard(&self) -> Vec<u64> {
        // SAFETY: the pages are leaked, and nobody writes them meanwhile.
        let bytes = unsafe { std::slice::from_raw_parts(self.memory, BUFFER) };
        let frames = bytes.as_chunks::<FRAME_BYTES>().0.iter();
        let frames = frames.map(|frame| u64::from_le_bytes(*frame));
        frames.filter(|frame| *frame != 0).collect()
    }

    fn check(&mut self) {
        for handle in HANDLES {
            let seen = self.device.snapshot(self.now_ns, handle);
            let expected = match self.feeder {
                None => 0,
                Some(feeder) if feeder == handle => ATTACHED_HERE,
                Some(_) => 1,
            };
            assert_eq!(seen.attached, expected);
            if seen.open == 0 {
                self.oldest = None;
            }
        }
        let oldest = self.oldest.unwrap_or(u64::MAX);
        for epoch in self.heard() {
            assert!((oldest..=self.epoch).contains(&epoch), "sound of {epoch}");
        }
    }

    /// The input of a request: mostly as it should be, else anything.
    fn input(&self, script: &mut Script<'_>, request: Request, plausible: bool) -> Vec<u8> {
        let mut input = match request {
            Request::Attach if plausible => {
                let mut bytes = vec![0; Attach::BYTES];
                let version = VERSION + u32::from(script.byte() == 0xff);
                assert!(
                    Attach {
                        version,
                        reserved: 0
                    }
                    .encode(&mut bytes)
                );
                bytes
            }
            Request::Feed if plausible => {
                let now = self.device.clock().position_at(self.now_ns);
                let frames = usize::from(script.word()) % (MOST_FRAMES + 2);
                let head = Feed {
                    epoch: self.epoch.wrapping_add(u64::from(script.byte() >> 7)),
                    position: (now + u64::from(script.word())).saturating_sub(1 << 14),
                    began_ns: self.now_ns.saturating_sub(u64::from(script.word()) << 10),
                    frames: frames as u32,
                    reserved: 0,
                };
                let mut bytes = vec![0; Feed::BYTES];
                assert!(head.encode(&mut bytes));
                bytes.resize(Feed::BYTES + frames * FRAME_BYTES, 0);
                bytes
            }
            _ if plausible => vec![0; request.input_bytes()],
            _ => {
                let count = usize::from(script.byte());
                script.bytes(count)
            }
        };
        if request == Request::Feed && input.len() > Feed::BYTES {
            let (head, frames) = input.split_at_mut(Feed::BYTES);
            let (epoch, _) = head.split_first_chunk().expect("it begins with the epoch");
            let tag = u64::from_le_bytes(*epoch).max(1).to_le_bytes();
            frames
                .chunks_mut(FRAME_BYTES)
                .for_each(|frame| frame.copy_from_slice(&tag[..frame.len()]));
        }
        input
    }

    fn ask(&mut self, script: &mut Script<'_>, how: u8) {
        let caller = Caller {
            handle: HANDLES[usize::from(how >> 3 & 1)],
            may_feed: how >> 4 & 3 != 3,
        };
        let request = Request::ALL[usize::from(how & 7)];
        let wrong = if how >> 6 == 3 { script.byte() } else { 0 };
        let input = self.input(script, request, wrong & 1 == 0);
        let room = match wrong & 2 {
            0 => request.output_bytes(),
            _ => usize::from(script.byte()),
        };
        let code = match wrong & 4 {
            0 => request.code(),
            _ => request.code() ^ 1 << (script.byte() & 31),
        };
        let mut buffer = input.clone();
        buffer.resize(input.len().max(room), 0xcc);
        let before = buffer.clone();
        let answered = answer(
            &mut self.device,
            self.now_ns,
            caller,
            code,
            &mut buffer,
            input.len(),
            room,
        );
        if !caller.may_feed && self.feeder == Some(caller.handle) {
            self.feeder = None;
            assert_eq!(self.device.snapshot(self.now_ns, caller.handle).open, 0);
        }
        let Ok(bytes) = answered else {
            assert_eq!(buffer, before, "a request that failed gives nothing");
            return;
        };
        let asked = Request::of_code(code).expect("only known requests succeed");
        assert_eq!(
            (bytes, &buffer[bytes..]),
            (asked.output_bytes(), &before[bytes..])
        );
        assert!(!asked.feeders_only() || self.feeder == Some(caller.handle));
        match asked {
            Request::Attach => {
                assert!(
                    caller.may_feed && self.feeder.is_none_or(|feeder| feeder == caller.handle)
                );
                self.feeder = Some(caller.handle);
            }
            Request::Unmute => {
                let unmuted = Unmuted::decode(&buffer[..bytes]).expect("it has its length");
                assert!(unmuted.epoch > self.epoch);
                self.epoch = unmuted.epoch;
                self.oldest.get_or_insert(unmuted.epoch);
            }
            Request::Mute => {
                assert!(
                    self.heard().is_empty(),
                    "nothing is left when a mute returns"
                );
            }
            _ => {}
        }
    }

    /// What is no request.
    fn befall(&mut self, what: u8, script: &mut Script<'_>) {
        match what & 7 {
            0 => self.device.sleep(),
            1 => {
                let handle = HANDLES[usize::from(what >> 3 & 1)];
                self.device.detach(handle);
                self.feeder = self.feeder.filter(|feeder| *feeder != handle);
            }
            2 => {
                self.device.vanish();
                self.feeder = None;
                self.device.appear();
            }
            3 => {
                self.device.close_stream();
                assert!(
                    self.heard().is_empty(),
                    "nothing is left when a stream has ended"
                );
                self.open_stream();
            }
            4 => {
                let state = State::of(u32::from(script.byte() & 3)).expect("there are four");
                assert!(self.device.go(self.now_ns, state));
            }
            _ => {
                while let Some(packet) = self.device.fetch(self.now_ns) {
                    assert!(packet.frames == 480);
                }
            }
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let mut script = Script(bytes);
    let mut stage = Stage::new();
    while !script.0.is_empty() {
        let how = script.byte();
        // Up to 32 ms, so that leases and feeds of several steps run out.
        stage.now_ns += u64::from(script.byte()) << 17;
        if how >> 6 == 2 {
            stage.befall(how, &mut script);
        } else {
            stage.ask(&mut script, how);
        }
        stage.device.tick(stage.now_ns);
        stage.check();
    }
});
