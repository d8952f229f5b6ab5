//! The driver as the agent's driver: requests on its control device, and a look at it twenty times a second for what it does not tell
//! on its own.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use truemute_agent::driver::{
    Connect, Connected, Driver, DriverError, Hears, Look, Muted, Notice, Opened, Progress, When,
};
use truemute_agent::system::{Role, System};
use truemute_core::observed::Tally;
use truemute_feeder::{Pacing, Timeline};
use truemute_windows_interface::record::{self, Snapshot};
use truemute_windows_interface::{ATTACHED_HERE, Request, VERSION};

use crate::clients::Clients;
use crate::control_device::{AskError, ControlDevice, Opens};
use crate::events::Events;
use crate::events::processes::Processes;
use crate::ring::Feeding;
use crate::sessions::Sessions;

/// Time between two looks at the driver. A stream that begins is captured for this much later, at most.
const LOOK: Duration = Duration::from_millis(50);

/// The driver writes what is due now, and reads nothing ahead of it.
const PACING: Pacing = Pacing {
    stall_ms: 30,
    read_behind: 0,
};

/// `KSSTATE_RUN` of ks.h.
const RUN: u32 = 3;

/// Asks for a record that takes nothing.
macro_rules! ask {
    ($device:expr, $request:ident) => {
        ask!($device, $request, record::$request)
    };
    ($device:expr, $request:ident, $record:ty) => {{
        let mut bytes = [0; <$record>::BYTES];
        $device
            .ask(Request::$request, &[], &mut bytes)
            .and_then(|()| <$record>::decode(&bytes).ok_or(AskError::Version))
    }};
}
/// Where the driver is, and who records.
pub struct Link {
    /// Opens the driver's control device.
    pub device: Arc<dyn Opens>,
    /// Who has sessions on which endpoint.
    pub sessions: Arc<dyn Sessions>,
    /// What Windows' own events say of who gets sound.
    pub events: Arc<dyn Events>,
}

impl Connect for Link {
    fn connect(&self, hears: Arc<dyn Hears>) -> Result<Connected, DriverError> {
        let open = || -> Result<_, AskError> {
            let device: Arc<dyn ControlDevice> = self.device.open()?.into();
            let version = ask!(device, Version)?;
            if version.version != VERSION {
                return Err(AskError::Version);
            }
            let attach = record::Attach {
                version: VERSION,
                reserved: 0,
            };
            let mut bytes = [0; record::Attach::BYTES];
            if !attach.encode(&mut bytes) {
                return Err(AskError::Version);
            }
            device.ask(Request::Attach, &bytes, &mut [])?;
            let (clock, look) = (ask!(device, Clock)?, ask!(device, Snapshot)?);
            Ok((device, version.instance, clock, look))
        };
        let (device, instance, clock, look) = open().map_err(DriverError::new)?;
        let opened = Arc::<AtomicU64>::default();
        let refused = Arc::<AtomicU64>::default();
        let (end, ended) = channel::<()>();
        let looking = Looking {
            device: device.clone(),
            instance,
            opened: opened.clone(),
            hears,
        };
        let running = u32::from(look.state == RUN);
        let thread = std::thread::Builder::new()
            .name("truemute-driver".into())
            .spawn(move || {
                let mut told = running;
                while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(LOOK) {
                    if let Err(why) = looking.look(&mut told) {
                        return looking.hears.lost(why);
                    }
                }
            });
        let thread = thread.map_err(|error| {
            DriverError::new(format!(
                "The system gives no thread ({error}). Close other programs."
            ))
        })?;
        let ring = Box::new(Feeding::new(device.clone(), refused.clone()));
        Ok(Connected {
            driver: Box::new(Connection {
                device,
                sessions: self.sessions.clone(),
                events: self.events.clone(),
                clients: Mutex::default(),
                opened,
                refused,
                end: Some(end),
                thread: Some(thread),
            }),
            ring,
            instance,
            clock: Timeline {
                host_ns: clock.host_ns,
                position: clock.position,
                seed: clock.seed,
            },
            running,
            pacing: PACING,
        })
    }
}

/// The thread that looks.
struct Looking {
    device: Arc<dyn ControlDevice>,
    instance: u64,
    /// Epoch of our last unmute; 0 after a mute of our own.
    opened: Arc<AtomicU64>,
    hears: Arc<dyn Hears>,
}

impl Looking {
    fn look(&self, told: &mut u32) -> Result<(), DriverError> {
        let opened = self.opened.load(Ordering::SeqCst);
        let look = ask!(self.device, Snapshot).map_err(DriverError::new)?;
        if look.instance != self.instance {
            return Err(DriverError::new(
                "The driver was started again. The connection to it is made anew.",
            ));
        }
        // The lease ran out, another program muted, which anybody may, or another user is at the console.
        let shut = opened > 0 && look.open == 0 && look.epoch > opened;
        let mine = || {
            let forgets =
                self.opened
                    .compare_exchange(opened, 0, Ordering::SeqCst, Ordering::SeqCst);
            forgets.is_ok()
        };
        if shut && mine() {
            self.hears.notice(Notice::LeaseRanOut(look.epoch));
        }
        if look.attached != ATTACHED_HERE {
            return Err(DriverError::new(
                "The driver takes no sound from here any more: another user is at the console, or the device was started again",
            ));
        }
        let running = u32::from(look.state == RUN);
        if std::mem::replace(told, running) != running {
            self.hears.notice(Notice::Running(running));
        }
        Ok(())
    }
}

struct Connection {
    device: Arc<dyn ControlDevice>,
    sessions: Arc<dyn Sessions>,
    events: Arc<dyn Events>,
    clients: Mutex<(Clients, Processes)>,
    opened: Arc<AtomicU64>,
    refused: Arc<AtomicU64>,
    /// Dropping it ends the thread that looks.
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Connection {
    fn clients(&self) -> MutexGuard<'_, (Clients, Processes)> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn snapshot(&self) -> Result<Snapshot, DriverError> {
        ask!(self.device, Snapshot).map_err(DriverError::new)
    }
}

impl Driver for Connection {
    fn mute(&self) -> Result<Muted, DriverError> {
        self.opened.store(0, Ordering::SeqCst);
        let muted = ask!(self.device, Mute, record::Muted).map_err(DriverError::new)?;
        Ok(Muted {
            epoch: muted.epoch,
            // The driver answers when its buffer holds zeros only.
            settled: true,
            done_ns: muted.done_ns,
        })
    }

    fn unmute(&self) -> Result<Opened, DriverError> {
        let unmuted = ask!(self.device, Unmute, record::Unmuted).map_err(DriverError::new)?;
        self.opened.store(unmuted.epoch, Ordering::SeqCst);
        Ok(Opened {
            epoch: unmuted.epoch,
            opened_ns: unmuted.opened_ns,
        })
    }

    fn renew_lease(&self) -> Result<(), DriverError> {
        ask!(self.device, RenewLease, record::Gate)
            .map(drop)
            .map_err(DriverError::new)
    }

    /// Frames stand for pulls: they are counted also where the engine fetches no packets.
    fn progress(&self) -> Result<Progress, DriverError> {
        let look = self.snapshot()?;
        Ok(Progress {
            at_ns: look.at_ns,
            live_pulls: look.live_frames,
        })
    }

    fn look(&self, system: &dyn System, now: When) -> Result<Look, DriverError> {
        let mut locked = self.clients();
        let (clients, processes) = &mut *locked;
        processes.listen(&*self.events);
        let look = self.snapshot()?;
        let mut warnings = Vec::new();
        let sessions = self.sessions.sessions();
        let inputs = system.inputs().unwrap_or_default();
        let ours = inputs
            .into_iter()
            .filter(|input| input.role == Role::VirtualMic);
        let ours: Vec<String> = ours.map(|input| input.uid).collect();
        let sessions = sessions
            .map_err(|error| warnings.push(format!("Who records cannot be told: {error}")))
            .ok();
        clients.look(&look, (sessions.as_deref(), &ours), processes, system, now);
        let refused = self.refused.load(Ordering::Relaxed);
        if refused > 0 {
            warnings.push(format!(
                "The driver refused {refused} feeds since the connection was made. If it goes on, restart the machine."
            ));
        }
        Ok(Look {
            instance: look.instance,
            clients: clients.all(&look, now),
            unattributed: Tally::default(),
            warnings,
        })
    }

    fn forget(&self, gone: &[u64]) {
        self.clients().0.forget(gone);
    }

    fn diag(&self) -> Result<String, DriverError> {
        Ok(format!("{:#?}", self.snapshot()?))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.end = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
