//! An operating system's audio that is made up: inputs that deliver a ramp in real time, and everything that can go wrong with
//! them on command. For tests, of this crate and of what builds on it.
//!
//! The ramp says of each sample when it was captured: frame `n` since the clock began is [`ramp`]`(n)` on the left, its
//! negative on the right.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use truemute_core::observed::Api;

use crate::system::{
    Block, Capture, CaptureEvent, CaptureFormat, Input, Names, OnBlock, OnEvent, Permission,
    Recorder, Role, System, SystemError,
};

/// The ramp begins anew after so many frames: all its values are exact.
pub const RAMP: u64 = 1 << 24;

/// The left sample of frame `number`, at least 0 and less than 1.
pub fn ramp(number: u64) -> f32 {
    // Both are below 2^24, where every whole number is a float.
    (number % RAMP) as f32 / RAMP as f32
}

/// The UID of [`Mic::virtual_mic`].
pub const VIRTUAL_MIC: &str = "truemute";

/// An input.
#[derive(Clone, Debug, PartialEq)]
pub struct Mic {
    /// What the system says of it.
    pub input: Input,
    /// How it delivers; each block has `largest_block` frames.
    pub format: CaptureFormat,
    /// How much faster than the host's its clock is, in parts per million.
    pub drift_ppm: f64,
    /// Whether its blocks have no frame.
    pub empty: bool,
    /// Whether all its samples are 0.
    pub silent: bool,
}

impl Mic {
    /// A stereo microphone of 48 kHz with blocks of 512 frames, that works.
    pub fn new(uid: &str) -> Mic {
        Mic {
            input: Input {
                uid: uid.into(),
                name: format!("{uid} (simulated)"),
                role: Role::RealMic,
                has_output: false,
                rate: 48_000,
            },
            format: CaptureFormat {
                rate: 48_000,
                channels: 2,
                largest_block: 512,
                latency_ns: 0,
            },
            drift_ppm: 0.0,
            empty: false,
            silent: false,
        }
    }

    /// TrueMute's own device, as the system lists it.
    pub fn virtual_mic() -> Mic {
        let mut mic = Mic::new(VIRTUAL_MIC);
        mic.input.role = Role::VirtualMic;
        mic
    }
}

/// The made-up system. Clones are the same one.
#[derive(Clone)]
pub struct Simulated {
    names: Names,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    mics: Vec<Mic>,
    default: Option<String>,
    permission: Option<Permission>,
    asked: u32,
    recorders: Option<Vec<Recorder>>,
    executables: BTreeMap<u32, PathBuf>,
    hogged: Vec<String>,
    watchers: Vec<(u64, Arc<dyn Fn() + Send + Sync>)>,
    next_watcher: u64,
    /// UIDs of what is captured now.
    captured: Vec<String>,
    starts: u64,
    stall: Duration,
}

impl Simulated {
    /// A system with these inputs, of which the first is the default, and with permission.
    pub fn new(mics: Vec<Mic>) -> Simulated {
        Simulated::like(
            Names {
                system: "The simulation",
                microphone_settings: "its Microphone Settings",
                sound_settings: "its Sound Settings",
                virtual_mic: VIRTUAL_MIC,
                shown_as: "the simulated virtual mic",
                api: Api::Unknown,
            },
            mics,
        )
    }

    /// The same, that is called as another system.
    pub fn like(names: Names, mics: Vec<Mic>) -> Simulated {
        let default = mics.first().map(|mic| mic.input.uid.clone());
        let state = State {
            mics,
            default,
            recorders: Some(Vec::new()),
            ..State::default()
        };
        Simulated {
            names,
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// Connects an input.
    pub fn plug(&self, mic: Mic) {
        self.change(|state| state.mics.push(mic));
    }

    /// Disconnects an input.
    pub fn unplug(&self, uid: &str) {
        self.change(|state| state.mics.retain(|mic| mic.input.uid != uid));
    }

    /// Changes an input, if it is there.
    pub fn alter(&self, uid: &str, alter: impl FnOnce(&mut Mic)) {
        self.change(|state| {
            if let Some(mic) = state.mics.iter_mut().find(|mic| mic.input.uid == uid) {
                alter(mic);
            }
        });
    }

    /// What the user answered.
    pub fn permit(&self, permission: Permission) {
        self.change(|state| state.permission = Some(permission));
    }

    /// Who records; nothing if this system cannot tell.
    pub fn set_recorders(&self, recorders: Option<Vec<Recorder>>) {
        self.change(|state| state.recorders = recorders);
    }

    /// Like [`Simulated::set_recorders`], but nobody is told.
    pub fn set_recorders_silently(&self, recorders: Option<Vec<Recorder>>) {
        self.lock().recorders = recorders;
    }

    /// The executable of a process; without it, that of the real process with this number, where the system has /proc.
    pub fn set_executable(&self, pid: u32, executable: PathBuf) {
        self.lock().executables.insert(pid, executable);
    }

    /// The next block of the running capture comes this late.
    pub fn stall(&self, time: Duration) {
        self.lock().stall = time;
    }

    /// UIDs of the inputs that are captured now.
    pub fn captured(&self) -> Vec<String> {
        self.lock().captured.clone()
    }

    /// How often a capture was started.
    pub fn starts(&self) -> u64 {
        self.lock().starts
    }

    /// How often the user was asked for permission.
    pub fn asked(&self) -> u32 {
        self.lock().asked
    }

    /// UIDs of the inputs in hog mode.
    pub fn hogged(&self) -> Vec<String> {
        self.lock().hogged.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        change(&mut state);
        let watchers = state.watchers.clone();
        drop(state);
        for (_, changed) in watchers {
            changed();
        }
    }

    fn mic(&self, uid: &str) -> Option<Mic> {
        let state = self.lock();
        state.mics.iter().find(|mic| mic.input.uid == uid).cloned()
    }
}

impl System for Simulated {
    fn names(&self) -> Names {
        self.names
    }

    fn now_ns(&self) -> u64 {
        now_ns()
    }

    fn inputs(&self) -> Result<Vec<Input>, SystemError> {
        Ok(self
            .lock()
            .mics
            .iter()
            .map(|mic| mic.input.clone())
            .collect())
    }

    fn default_input(&self) -> Result<Option<String>, SystemError> {
        Ok(self.lock().default.clone())
    }

    fn set_default_input(&self, uid: &str) -> Result<(), SystemError> {
        if self.mic(uid).is_none() {
            return Err(SystemError::NoDevice(uid.into()));
        }
        self.change(|state| state.default = Some(uid.into()));
        Ok(())
    }

    fn open(&self, uid: &str) -> Result<Box<dyn Capture>, SystemError> {
        let mic = self
            .mic(uid)
            .ok_or_else(|| SystemError::NoDevice(uid.into()))?;
        Ok(Box::new(SimulatedCapture {
            system: self.clone(),
            opened: mic,
            running: None,
        }))
    }

    fn permission(&self) -> Permission {
        self.lock().permission.unwrap_or(Permission::Granted)
    }

    fn ask_permission(&self) {
        self.lock().asked += 1;
    }

    fn recorders(&self) -> Result<Vec<Recorder>, SystemError> {
        let recorders = self.lock().recorders.clone();
        recorders.ok_or(SystemError::TooOld("To see who records", "another version"))
    }

    fn executable(&self, pid: u32) -> Option<PathBuf> {
        let named = self.lock().executables.get(&pid).cloned();
        named.or_else(|| std::fs::read_link(format!("/proc/{pid}/exe")).ok())
    }

    fn watch(
        &self,
        changed: Arc<dyn Fn() + Send + Sync>,
    ) -> Result<Box<dyn Send + Sync>, SystemError> {
        let mut state = self.lock();
        let number = state.next_watcher;
        state.next_watcher += 1;
        state.watchers.push((number, changed));
        Ok(Box::new(Watching {
            system: self.clone(),
            number,
        }))
    }

    fn set_hog(&self, uid: &str, on: bool) -> Result<(), SystemError> {
        let mut state = self.lock();
        if !state.mics.iter().any(|mic| mic.input.uid == uid) {
            return Err(SystemError::NoDevice(uid.into()));
        }
        state.hogged.retain(|hogged| hogged != uid);
        if on {
            state.hogged.push(uid.into());
        }
        Ok(())
    }
}

struct Watching {
    system: Simulated,
    number: u64,
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.system
            .lock()
            .watchers
            .retain(|(number, _)| *number != self.number);
    }
}

struct SimulatedCapture {
    system: Simulated,
    opened: Mic,
    running: Option<Running>,
}

struct Running {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Capture for SimulatedCapture {
    fn format(&self) -> CaptureFormat {
        self.opened.format
    }

    fn start(&mut self, on_block: OnBlock, on_event: OnEvent) -> Result<(), SystemError> {
        self.stop();
        let uid = self.opened.input.uid.clone();
        if self.system.mic(&uid).is_none() {
            return Err(SystemError::NoDevice(uid));
        }
        let stop = Arc::new(AtomicBool::new(false));
        let deliver = Deliver {
            system: self.system.clone(),
            opened: self.opened.clone(),
            stop: stop.clone(),
        };
        let thread = std::thread::Builder::new()
            .name("simulated-mic".into())
            .spawn(move || deliver.run(on_block, &on_event))
            .map_err(|error| SystemError::Refused {
                what: "a thread".into(),
                status: error.raw_os_error().unwrap_or(0),
            })?;
        let mut state = self.system.lock();
        state.captured.push(uid);
        state.starts += 1;
        self.running = Some(Running { stop, thread });
        Ok(())
    }

    fn stop(&mut self) {
        if let Some(Running { stop, thread }) = self.running.take() {
            stop.store(true, Ordering::Relaxed);
            let _ = thread.join();
            let mut state = self.system.lock();
            let uid = &self.opened.input.uid;
            if let Some(at) = state.captured.iter().position(|captured| captured == uid) {
                state.captured.remove(at);
            }
        }
    }
}

impl Drop for SimulatedCapture {
    fn drop(&mut self) {
        self.stop();
    }
}

struct Deliver {
    system: Simulated,
    opened: Mic,
    stop: Arc<AtomicBool>,
}

impl Deliver {
    fn run(self, mut on_block: OnBlock, on_event: &OnEvent) {
        let format = self.opened.format;
        let frames = u64::from(format.largest_block);
        let rate = f64::from(format.rate) * (1.0 + self.opened.drift_ppm / 1e6);
        // Of the frame with this number since the clock began.
        let host_ns = |number: u64| (number as f64 * 1e9 / rate).round() as u64;
        let mut samples = vec![0.0; (frames * u64::from(format.channels)) as usize];
        let mut number = (now_ns() as f64 / 1e9 * rate) as u64;
        while !self.stop.load(Ordering::Relaxed) {
            let stall = std::mem::take(&mut self.system.lock().stall);
            let captured_ns = host_ns(number + frames);
            let left_ns = captured_ns.saturating_sub(now_ns());
            std::thread::sleep(Duration::from_nanos(left_ns) + stall);
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            let Some(now) = self.system.mic(&self.opened.input.uid) else {
                return on_event(CaptureEvent::Gone);
            };
            if now.format != format {
                return on_event(CaptureEvent::FormatChanged);
            }
            let heard = !now.silent && self.system.permission() == Permission::Granted;
            for (at, frame) in samples
                .chunks_exact_mut(format.channels as usize)
                .enumerate()
            {
                let left = if heard { ramp(number + at as u64) } else { 0.0 };
                frame.fill(left);
                if let (true, Some(right)) = (heard, frame.get_mut(1)) {
                    *right = -left;
                }
            }
            let length = if now.empty { 0 } else { samples.len() };
            on_block(Block {
                samples: &samples[..length],
                host_ns: host_ns(number),
            });
            number += frames;
        }
    }
}

/// The clock of the simulation: the system's monotonic one.
pub fn now_ns() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let time = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let now = seconds * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0);
    LAST.fetch_max(now, Ordering::Relaxed).max(now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn it_delivers_the_ramp_in_its_time_until_it_is_stopped() {
        let system = Simulated::new(vec![Mic::new("mic")]);
        let mut capture = system.open("mic").unwrap();
        let (told, blocks) = channel();
        let on_block = move |block: Block<'_>| {
            let _ = told.send((block.host_ns, block.samples.to_vec(), now_ns()));
        };
        capture.start(Box::new(on_block), Arc::new(|_| {})).unwrap();
        assert_eq!(system.captured(), ["mic"]);
        let some: Vec<_> = (0..5)
            .map(|_| blocks.recv_timeout(Duration::from_secs(20)).unwrap())
            .collect();
        capture.stop();
        assert!(system.captured().is_empty());
        while blocks.try_recv().is_ok() {}
        for (host_ns, samples, at_ns) in &some {
            assert!(*at_ns >= host_ns + 512 * 1_000_000_000 / 48_000);
            let number = (*host_ns as f64 * 48_000.0 / 1e9).round() as u64;
            assert_eq!(
                samples[..4],
                [
                    ramp(number),
                    -ramp(number),
                    ramp(number + 1),
                    -ramp(number + 1)
                ]
            );
        }
        for pair in some.windows(2) {
            assert_eq!(
                ramp(((pair[1].0 - pair[0].0) as f64 * 48e-6).round() as u64),
                ramp(512)
            );
        }
    }

    #[test]
    fn what_goes_wrong_is_told() {
        let system = Simulated::new(vec![Mic::new("mic")]);
        let start = || {
            let mut capture = system.open("mic").unwrap();
            let (told, blocks) = channel();
            let (event, events) = channel();
            let on_block = move |block: Block<'_>| {
                let zeros = block.samples.iter().all(|sample| *sample == 0.0);
                let _ = told.send((block.samples.len(), zeros));
            };
            let on_event = move |what| {
                let _ = event.send(what);
            };
            capture
                .start(Box::new(on_block), Arc::new(on_event))
                .unwrap();
            (capture, blocks, events)
        };
        let soon = Duration::from_secs(20);
        let (_capture, blocks, events) = start();
        let until = |wanted| while blocks.recv_timeout(soon).unwrap() != wanted {};
        until((1024, false));
        system.permit(Permission::Denied);
        until((1024, true));
        system.alter("mic", |mic| mic.empty = true);
        until((0, true));
        system.alter("mic", |mic| mic.format.rate = 44_100);
        assert_eq!(events.recv_timeout(soon), Ok(CaptureEvent::FormatChanged));
        let (_capture, _blocks, events) = start();
        system.unplug("mic");
        assert_eq!(events.recv_timeout(soon), Ok(CaptureEvent::Gone));
        assert!(system.open("mic").is_err());
    }
}
