//! The Windows driver's portable parts in this process (`truemute-miniport`: its device, gate, ledger, clock and requests), with an
//! audio engine that fetches from it as `GetReadPacket` lets it. The driver's calls from Windows are not here: they are driven by
//! the host in C. Its control device can be opened in this process, and from another one over a socket.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use truemute_agent::simulated::now_ns;
use truemute_agent::system::SystemError;
use truemute_miniport::capture::State;
use truemute_miniport::clock::Clock;
use truemute_miniport::device::{Caller, Device, Handle, Refused};
use truemute_miniport::requests::answer;
use truemute_windows::control_device::{AskError, ControlDevice, Opens};
use truemute_windows::events::{Events, Heard, OFFER, RawEvent};
use truemute_windows::sessions::{Session, Sessions};
use truemute_windows_interface::record::Snapshot;
use truemute_windows_interface::{FRAME_BYTES, Request};

use crate::plugin::Read;

/// Packets of the engine's buffer, as it asks for them.
const PACKETS: usize = 2;
/// Frames of a packet: 10 ms.
const PACKET: usize = 480;

/// The driver, as long as somebody has it.
#[derive(Clone)]
pub struct Driver(Arc<Mutex<Inside>>);

struct Inside {
    device: Box<Device>,
    last_handle: Handle,
    /// Whether whoever asks is of a session that is not at the console.
    away: bool,
}

impl Default for Driver {
    fn default() -> Self {
        Self::new()
    }
}

impl Driver {
    /// A driver that was loaded now.
    pub fn new() -> Driver {
        let mut device = Box::new(Device::new());
        device.start(Clock::new(1_000_000_000, now_ns()), now_ns());
        device.appear();
        Driver(Arc::new(Mutex::new(Inside {
            device,
            last_handle: 0,
            away: false,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self) -> Option<Handle> {
        let mut inside = self.lock();
        inside.last_handle += 1;
        (!inside.away).then_some(inside.last_handle)
    }

    /// Another user sits at the console from now on, and whoever asks does so from elsewhere; or they are back.
    pub fn switch_users(&self, away: bool) {
        self.lock().away = away;
    }

    fn close(&self, handle: Handle) {
        self.lock().device.detach(handle);
    }

    /// As the I/O manager does with both buffers of a buffered request.
    fn ask(
        &self,
        handle: Handle,
        code: u32,
        input: &[u8],
        output: &mut [u8],
    ) -> Result<(), Refused> {
        let mut buffer = vec![0; input.len().max(output.len())];
        buffer[..input.len()].copy_from_slice(input);
        let inside = &mut *self.lock();
        let (given, wanted) = (input.len(), output.len());
        let caller = Caller {
            handle,
            may_feed: !inside.away,
        };
        let device = &mut inside.device;
        let written = answer(device, now_ns(), caller, code, &mut buffer, given, wanted)?;
        output.copy_from_slice(&buffer[..written]);
        Ok(())
    }

    /// What the driver counted.
    pub fn snapshot(&self) -> Snapshot {
        // No handle has this number.
        self.lock().device.snapshot(now_ns(), 0)
    }

    /// Any program mutes.
    pub fn mute(&self) {
        self.lock().device.mute(now_ns());
    }

    /// Serves the control device at this socket, each connection as a handle, for as long as this process runs.
    ///
    /// # Panics
    /// The socket cannot be made.
    pub fn serve(&self, socket: &Path) {
        let listener = UnixListener::bind(socket).expect("the folder is ours");
        let driver = self.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let driver = driver.clone();
                std::thread::spawn(move || {
                    let Some(handle) = driver.open() else { return };
                    // Whatever ends it: the handle is closed.
                    let _ = driver.converse(handle, stream);
                    driver.close(handle);
                });
            }
        });
    }

    fn converse(&self, handle: Handle, mut stream: UnixStream) -> io::Result<()> {
        loop {
            let [code, input, output] = read_numbers(&mut stream)?;
            let (mut input, mut output) = (vec![0; input as usize], vec![0; output as usize]);
            stream.read_exact(&mut input)?;
            let refused = match self.ask(handle, code, &input, &mut output) {
                Ok(()) => 0,
                Err(why) => why as u32 + 1,
            };
            stream.write_all(&refused.to_le_bytes())?;
            stream.write_all(&output)?;
        }
    }

    /// The audio engine opens the one stream and fetches its packets, until it is dropped or stopped.
    ///
    /// # Panics
    /// There is a stream.
    pub fn engine(&self) -> Engine {
        let buffer = vec![0xee; PACKETS * PACKET * FRAME_BYTES].leak();
        let memory = Memory(buffer.as_mut_ptr());
        {
            let device = &mut self.lock().device;
            assert!(device.open_stream(), "there is one stream only");
            let stream = device.stream().expect("it was opened just now");
            assert!(stream.take_buffer(buffer, PACKETS as u32));
            assert!(device.go(now_ns(), State::Run));
        }
        let stop = Arc::<AtomicBool>::default();
        let reads = Arc::<Mutex<Vec<Read>>>::default();
        let thread = std::thread::spawn({
            let (driver, stop, reads) = (self.clone(), stop.clone(), reads.clone());
            move || {
                while !stop.load(Ordering::Relaxed) {
                    std::thread::sleep(driver.fetch(&memory, &reads));
                }
                let device = &mut driver.lock().device;
                device.go(now_ns(), State::Stop);
                device.close_stream();
            }
        });
        Engine {
            stop,
            reads,
            thread: Some(thread),
        }
    }

    /// The timer, and the engine that it wakes. Says when the timer is due again.
    fn fetch(&self, memory: &Memory, reads: &Mutex<Vec<Read>>) -> Duration {
        let device = &mut self.lock().device;
        let tick = device.tick(now_ns());
        let mut reads = reads.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(packet) = device.fetch(now_ns()) {
            reads.push(Read {
                position: packet.position,
                at_ns: now_ns(),
                frames: memory.packet(packet.number),
            });
        }
        Duration::from_nanos(tick.again_ns.unwrap_or(1_000_000))
    }
}

/// The pages that driver and engine share.
struct Memory(*mut u8);

// SAFETY: they are leaked, and read under the driver's lock only.
unsafe impl Send for Memory {}

impl Memory {
    fn packet(&self, number: u64) -> Vec<[f32; 2]> {
        let bytes = PACKET * FRAME_BYTES;
        let at = number as usize % PACKETS * bytes;
        // SAFETY: within the pages, which are leaked; the driver writes them under the lock that the caller has.
        let packet = unsafe { std::slice::from_raw_parts(self.0.add(at), bytes) };
        let samples = packet.as_chunks::<4>().0.iter();
        // 24 bits of sound, which are a float's: nothing is lost.
        let samples = samples.map(|bytes| i32::from_le_bytes(*bytes) as f32 / 2_147_483_648.0);
        let samples: Vec<f32> = samples.collect();
        samples.as_chunks::<2>().0.to_vec()
    }
}

/// The same, with a new read wherever sound begins or ends within a packet: the driver lets sound pass, or not, by pieces of them.
pub fn pieces(packets: &[Read]) -> Vec<Read> {
    let mut pieces = Vec::new();
    for packet in packets {
        let mut position = packet.position;
        for frames in packet
            .frames
            .chunk_by(|one, next| (*one == [0.0; 2]) == (*next == [0.0; 2]))
        {
            pieces.push(Read {
                position,
                at_ns: packet.at_ns,
                frames: frames.to_vec(),
            });
            position += frames.len() as u64;
        }
    }
    pieces
}

/// The audio engine, as one client that fetches.
pub struct Engine {
    stop: Arc<AtomicBool>,
    reads: Arc<Mutex<Vec<Read>>>,
    thread: Option<JoinHandle<()>>,
}

impl Engine {
    /// What it got so far.
    pub fn so_far(&self) -> Vec<Read> {
        self.reads
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Whether it got sound after this moment.
    pub fn hears_since(&self, at_ns: u64) -> bool {
        let reads = self.so_far();
        let late = reads.iter().rev().take_while(|read| read.at_ns > at_ns);
        late.into_iter().any(|read| !read.is_zero())
    }

    /// Leaves, and says what it got.
    pub fn stop(mut self) -> Vec<Read> {
        self.end();
        self.so_far()
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.end();
    }
}

impl Opens for Driver {
    fn open(&self) -> Result<Box<dyn ControlDevice>, AskError> {
        Ok(Box::new(Here {
            driver: self.clone(),
            handle: Driver::open(self).ok_or(AskError::Denied)?,
        }))
    }
}

/// A handle in the driver's own process.
struct Here {
    driver: Driver,
    handle: Handle,
}

impl ControlDevice for Here {
    fn ask(&self, request: Request, input: &[u8], output: &mut [u8]) -> Result<(), AskError> {
        let asked = self.driver.ask(self.handle, request.code(), input, output);
        asked.map_err(|why| error(why as u32 + 1))
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        self.driver.close(self.handle);
    }
}

/// The control device of a driver that another process serves ([`Driver::serve`]).
pub struct Elsewhere(pub PathBuf);

impl Opens for Elsewhere {
    fn open(&self) -> Result<Box<dyn ControlDevice>, AskError> {
        let stream = UnixStream::connect(&self.0).map_err(|_| AskError::NotThere)?;
        Ok(Box::new(There(Mutex::new(stream))))
    }
}

/// A handle over a socket.
struct There(Mutex<UnixStream>);

impl ControlDevice for There {
    fn ask(&self, request: Request, input: &[u8], output: &mut [u8]) -> Result<(), AskError> {
        let mut stream = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut ask = || -> io::Result<u32> {
            let head = [request.code(), input.len() as u32, output.len() as u32];
            let mut bytes = head.map(u32::to_le_bytes).concat();
            bytes.extend_from_slice(input);
            stream.write_all(&bytes)?;
            let [refused] = read_numbers(&mut stream)?;
            stream.read_exact(output)?;
            Ok(refused)
        };
        match ask() {
            Ok(0) => Ok(()),
            Ok(refused) => Err(error(refused)),
            Err(_) => Err(AskError::NotThere),
        }
    }
}

fn read_numbers<const N: usize>(stream: &mut UnixStream) -> io::Result<[u32; N]> {
    let mut numbers = [0; N];
    for number in &mut numbers {
        let mut bytes = [0; 4];
        stream.read_exact(&mut bytes)?;
        *number = u32::from_le_bytes(bytes);
    }
    Ok(numbers)
}

/// What Windows makes of the driver's refusals, by their number and one.
fn error(refused: u32) -> AskError {
    let is = |why: Refused| why as u32 + 1 == refused;
    match () {
        () if is(Refused::Gone) => AskError::NotThere,
        () if is(Refused::Busy) => AskError::Busy,
        () if is(Refused::Version) => AskError::Version,
        () if is(Refused::Closed) => AskError::Closed,
        () if is(Refused::NotFeeder) => AskError::Denied,
        () => AskError::Other(refused.cast_signed()),
    }
}

/// Sessions that a test makes up. Clones are the same ones.
#[derive(Clone, Default)]
pub struct MadeUp(Arc<Mutex<Option<Vec<Session>>>>);

impl MadeUp {
    /// Who has sessions from now on; nothing if the audio service does not answer.
    pub fn set(&self, sessions: Option<Vec<Session>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = sessions;
    }
}

impl Sessions for MadeUp {
    fn sessions(&self) -> Result<Vec<Session>, SystemError> {
        let sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.clone().ok_or_else(|| SystemError::Refused {
            what: "the list of who records".into(),
            status: -1,
        })
    }
}

/// Windows' events, replayed. Clones are the same ones.
#[derive(Clone, Default)]
pub struct Replayed(Arc<Mutex<Heard>>);

impl Replayed {
    /// They are listened to from now on.
    pub fn begin(&self) {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        heard.hears = true;
        heard.beginnings += 1;
    }

    /// These come now, and so many are lost.
    pub fn say(&self, events: impl IntoIterator<Item = RawEvent>, lost: u64) {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        heard.events.extend(events);
        heard.lost += lost;
    }
}

impl Events for Replayed {
    fn heard(&self) -> Heard {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let next = Heard {
            hears: heard.hears,
            beginnings: heard.beginnings,
            ..Heard::default()
        };
        std::mem::replace(&mut heard, next)
    }
}

/// An offer of the audio engine to this process, as Windows logs it (event 160).
pub fn offer(client: u32) -> RawEvent {
    let data = [
        &7_u64.to_le_bytes()[..],
        &client.to_le_bytes(),
        &9_u64.to_le_bytes(),
    ]
    .concat();
    RawEvent {
        id: OFFER,
        version: 0,
        pid: 900,
        at_ns: now_ns(),
        pointer_bytes: 8,
        data: RawEvent::digits(&data),
    }
}
