//! The thread that captures: only while somebody listens, the gate is open, and a real mic is there. It also sees who records
//! past TrueMute, and says what is wrong. It alone opens, starts and stops captures.

use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use truemute_core::observed::{MicState, RealMic};
use truemute_feeder::{Feeder, Format, Pacing};

use crate::agent::{Shared, Told, lock, missing};
use crate::choice::choose;
use crate::driver::Ring;
use crate::feed::Feed;
use crate::system::{Capture, Input, Permission, Role, SystemError};

/// Time between two turns that nobody asked for: the system's own notices get lost.
const TICK: Duration = Duration::from_secs(1);

/// A mic that gave nothing but zeros for so long is reported. Also the quietest room is not zero.
const ALL_ZERO: Duration = Duration::from_secs(3);

/// A mic that gave no frame for so long is reported, and started again. Bluetooth devices take two seconds to start.
const NO_FRAMES: Duration = Duration::from_secs(4);

/// What the keeper is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Note {
    /// A turn: something may have changed.
    Turn,
    /// The end.
    End,
}

/// The thread's state.
pub(crate) struct Keeper {
    shared: Arc<Shared>,
    ring: Arc<Mutex<Box<dyn Ring>>>,
    pacing: Pacing,
    capture: Option<Running>,
    hogged: Option<String>,
    last_default: Option<String>,
    asked: bool,
    /// Frames of the present capture at the last turn at which there were more than before, and when that was, or when frames were
    /// first wanted.
    heard: Option<(u64, Instant)>,
    /// Since frames came last, blocks without any did.
    empty: bool,
    /// Set by the capture's events: it has to be opened again.
    stale: Arc<std::sync::atomic::AtomicBool>,
}

struct Running {
    uid: String,
    since: Instant,
    /// Dropping it stops it.
    _capture: Box<dyn Capture>,
}

impl Keeper {
    pub(crate) fn new(shared: Arc<Shared>, ring: Box<dyn Ring>, pacing: Pacing) -> Keeper {
        let file = shared.options.last_default.as_ref();
        let last_default = file.and_then(|file| std::fs::read_to_string(file).ok());
        Keeper {
            shared,
            ring: Arc::new(Mutex::new(ring)),
            pacing,
            capture: None,
            hogged: None,
            last_default: last_default.map(|uid| uid.trim().to_owned()),
            asked: false,
            heard: None,
            empty: false,
            stale: Arc::default(),
        }
    }

    /// Runs until the end.
    pub(crate) fn run(mut self, notes: &Receiver<Note>) {
        while let Ok(Note::Turn) | Err(RecvTimeoutError::Timeout) = notes.recv_timeout(TICK) {
            // One turn for all who asked.
            if notes.try_iter().any(|note| matches!(note, Note::End)) {
                break;
            }
            self.turn();
        }
        self.capture = None;
        self.release();
    }

    /// Looks at everything, and does what is to be done.
    pub(crate) fn turn(&mut self) {
        let mut warnings = Vec::new();
        let inputs = self.shared.system.inputs().unwrap_or_else(|error| {
            warnings.push(error.to_string());
            Vec::new()
        });
        self.follow_default(&inputs);
        if !inputs.iter().any(|input| input.role == Role::VirtualMic) {
            warnings.push(format!(
                "The driver answers, but the system does not list {}: apps cannot select it. Restart the machine.",
                self.shared.system.names().shown_as
            ));
        }
        let wishes = &self.shared.options.wishes;
        let mic = choose(&inputs, wishes, self.last_default.as_deref()).cloned();
        self.hog(mic.as_ref(), &mut warnings);
        let told = match &mic {
            Some(mic) => self.capture(mic, &mut warnings),
            None => {
                self.capture = None;
                missing()
            }
        };
        self.look_for_bypasses(&inputs, &mut warnings);
        self.shared.answered.store(true, Ordering::Relaxed);
        self.shared.tell(Told {
            real_mic: told,
            warnings,
        });
    }

    /// "The default" is the last one that was not TrueMute's own device.
    fn follow_default(&mut self, inputs: &[Input]) {
        let Ok(Some(default)) = self.shared.system.default_input() else {
            return;
        };
        let ours = inputs
            .iter()
            .any(|input| input.uid == default && input.is_ours());
        if ours || self.last_default.as_ref() == Some(&default) {
            return;
        }
        if let Some(file) = &self.shared.options.last_default
            && let Err(error) = std::fs::write(file, &default)
        {
            tracing::warn!(
                "the default input cannot be remembered in {}: {error}",
                file.display()
            );
        }
        self.last_default = Some(default);
    }

    /// Captures the mic, or not, and says which.
    fn capture(&mut self, mic: &Input, warnings: &mut Vec<String>) -> RealMic {
        let told = |state| RealMic {
            name: mic.uid.clone(),
            description: mic.name.clone(),
            state,
        };
        let listened = self.shared.running.load(Ordering::Relaxed) > 0;
        let wanted = listened && (self.shared.route.is_open() || self.shared.options.hold);
        let permission = self.shared.system.permission();
        let stale = self.stale.swap(false, Ordering::Relaxed);
        let fits = |running: &Running| running.uid == mic.uid && !stale;
        if !wanted || permission == Permission::Denied || !self.capture.as_ref().is_some_and(fits) {
            self.capture = None;
        }
        if !wanted || permission == Permission::Denied {
            self.heard = None;
            self.empty = false;
        }
        if permission == Permission::Denied {
            let names = self.shared.system.names();
            warnings.push(format!(
                "{} does not let TrueMute hear {}. Allow it in {}, and start TrueMute again.",
                names.system, mic.name, names.microphone_settings
            ));
            return told(MicState::Denied);
        }
        if !wanted {
            return told(MicState::Released);
        }
        if permission == Permission::NotAsked {
            if !std::mem::replace(&mut self.asked, true) {
                self.shared.system.ask_permission();
            }
            warnings.push(format!(
                "{} waits for an answer whether TrueMute may hear the microphone. Answer its question.",
                self.shared.system.names().system
            ));
        }
        if self.capture.is_none()
            && let Err(why) = self.start(mic)
        {
            warnings.push(why);
            return told(MicState::Missing);
        }
        let told = self.judge(mic, warnings, told);
        // It may be that the audio system itself was started again.
        let age = self.capture.as_ref().map(|running| running.since.elapsed());
        if self.is_deaf() && age.is_some_and(|age| age > NO_FRAMES) {
            self.capture = None;
        }
        told
    }

    fn is_deaf(&self) -> bool {
        self.heard.is_some_and(|(_, at)| at.elapsed() > NO_FRAMES)
    }

    /// Whether what is captured is any good.
    fn judge(
        &mut self,
        mic: &Input,
        warnings: &mut Vec<String>,
        told: impl Fn(MicState) -> RealMic,
    ) -> RealMic {
        let hearing = self.shared.route.hearing();
        let (before, _) = *self.heard.get_or_insert((0, Instant::now()));
        if hearing.frames > before {
            self.heard = Some((hearing.frames, Instant::now()));
            self.empty = false;
        }
        // Kept over a restart of the capture, which has delivered nothing at first, whatever is wrong.
        self.empty |= hearing.empty > 0;
        if self.is_deaf() {
            let how = match self.empty {
                false => "delivers nothing",
                true => "delivers blocks without sound",
            };
            warnings.push(format!(
                "{} {how}. Connect it again, or choose another microphone.",
                mic.name
            ));
            return told(MicState::Missing);
        }
        let zero_for = hearing.zero_since_ns.map(|since_ns| {
            Duration::from_nanos(self.shared.system.now_ns().saturating_sub(since_ns))
        });
        if zero_for.is_some_and(|time| time > ALL_ZERO) {
            warnings.push(format!(
                "{} delivers nothing but zeros, although TrueMute may hear it. Look for a mute switch on it, and at its input volume.",
                mic.name
            ));
            return told(MicState::AllZero);
        }
        told(MicState::Capturing)
    }

    fn start(&mut self, mic: &Input) -> Result<(), String> {
        let text = |error: SystemError| error.to_string();
        let mut capture = self.shared.system.open(&mic.uid).map_err(text)?;
        let format = capture.format();
        let feeder = Format {
            rate: format.rate,
            channels: format.channels,
            largest_block: format.largest_block,
        };
        let feeder = Feeder::new(feeder, self.pacing).map_err(|error| error.to_string())?;
        let route = self.shared.route.clone();
        route.begin();
        let mut feed = Feed::new(
            route,
            self.ring.clone(),
            feeder,
            format.channels,
            format.latency_ns,
        );
        let (stale, shared) = (self.stale.clone(), Arc::downgrade(&self.shared));
        let on_event = move |_| {
            stale.store(true, Ordering::Relaxed);
            if let Some(shared) = shared.upgrade() {
                shared.wake();
            }
        };
        capture
            .start(Box::new(move |block| feed.take(block)), Arc::new(on_event))
            .map_err(text)?;
        // It counts from 0; how long nothing was heard, goes on.
        self.heard = Some((0, self.heard.map_or_else(Instant::now, |(_, at)| at)));
        self.capture = Some(Running {
            uid: mic.uid.clone(),
            since: Instant::now(),
            _capture: capture,
        });
        Ok(())
    }

    /// While muted, has the mic for itself if that is configured.
    fn hog(&mut self, mic: Option<&Input>, warnings: &mut Vec<String>) {
        let muted = !self.shared.route.is_open();
        let wanted = mic.filter(|_| self.shared.options.hog && muted);
        if let Some(mic) = wanted.filter(|mic| mic.has_output) {
            warnings.push(format!(
                "hold_device does nothing for {}, which also plays: nobody else could play. Use a microphone without an output.",
                mic.name
            ));
        }
        let wanted = wanted.filter(|mic| !mic.has_output);
        if self.hogged.as_ref() != wanted.map(|mic| &mic.uid) {
            self.release();
        }
        let Some(mic) = wanted else {
            return;
        };
        if self.hogged.is_none() {
            match self.shared.system.set_hog(&mic.uid, true) {
                Ok(()) => self.hogged = Some(mic.uid.clone()),
                Err(error) => return warnings.push(error.to_string()),
            }
        }
        warnings.push(format!(
            "While muted, TrueMute keeps {} for itself (hold_device), so that it is not let go of. Set hold_device to false if its indicator is to go off.",
            mic.name
        ));
    }

    fn release(&mut self) {
        if let Some(uid) = self.hogged.take()
            && let Err(error) = self.shared.system.set_hog(&uid, false)
        {
            tracing::warn!("{error}");
        }
    }

    fn look_for_bypasses(&self, inputs: &[Input], warnings: &mut Vec<String>) {
        if !self.shared.options.report_bypasses {
            return;
        }
        let system = &*self.shared.system;
        match system.recorders() {
            Ok(recorders) => {
                let (trusted, now) = (&self.shared.options.trusted_processors, self.shared.now());
                let changed =
                    lock(&self.shared.bypasses).look(&recorders, inputs, trusted, system, now);
                if changed {
                    (self.shared.events)(truemute_core::observed::Event::Changed);
                }
            }
            Err(error) => warnings.push(error.to_string()),
        }
    }
}
