//! Looks at the backend: each second while anybody is connected (or records past the gate), after each change, and when somebody asks. Each look goes
//! to the history first, then to the actor. While the actor has not taken one, nobody looks again: what changes meanwhile is in
//! the next look, so that a flood of changes or requests fills no queue.

use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use truemute_core::observed::ClientState;

use super::History;
use super::actor::Message;
use crate::backend::Backend;

/// Time between two looks while anybody is connected, or records past the gate.
const PERIOD: Duration = Duration::from_secs(1);

/// How long a look waits for the actor to take the one before: longer than a call of the backend keeps it. If it is hung, what
/// asks for looks goes on that much slower.
const TAKEN_WITHIN: Duration = Duration::from_secs(1);

/// Looks at whatever backend runs now. Any thread but the audio thread may call it.
pub(super) struct Observer {
    source: Mutex<Option<(u64, Arc<dyn Backend>)>>,
    /// Held over a whole look, so that looks reach the history one at a time and in order.
    looking: Mutex<()>,
    wake: Mutex<Wake>,
    woken: Condvar,
    /// The actor has taken a look. Not the same as above: it would wake the thread for nothing after each look.
    taken: Condvar,
    history: Arc<dyn History>,
    actor: Sender<Message>,
}

#[derive(Default)]
struct Wake {
    wanted: bool,
    /// Looks on their way to the actor.
    untaken: usize,
    connected: bool,
    ended: bool,
}

impl Observer {
    /// Starts the thread that looks by itself.
    pub(super) fn start(
        history: Arc<dyn History>,
        actor: Sender<Message>,
    ) -> std::io::Result<(Arc<Observer>, JoinHandle<()>)> {
        let observer = Arc::new(Observer {
            source: Mutex::default(),
            looking: Mutex::default(),
            wake: Mutex::default(),
            woken: Condvar::new(),
            taken: Condvar::new(),
            history,
            actor,
        });
        let thread = std::thread::Builder::new().name("observer".into()).spawn({
            let observer = observer.clone();
            move || observer.run()
        })?;
        Ok((observer, thread))
    }

    /// Which backend to look at from now on.
    pub(super) fn look_at(&self, source: Option<(u64, Arc<dyn Backend>)>) {
        let lost = source.is_none();
        let looking = lock(&self.looking);
        *lock(&self.source) = source;
        if lost {
            self.history.server_lost();
            lock(&self.wake).connected = false;
        }
        drop(looking);
        self.wake();
    }

    /// Asks for a look soon.
    pub(super) fn wake(&self) {
        lock(&self.wake).wanted = true;
        self.woken.notify_all();
    }

    /// The actor has taken a look. To be called once for each, whatever it makes of it.
    pub(super) fn taken(&self) {
        lock(&self.wake).untaken -= 1;
        self.taken.notify_all();
    }

    /// Ends the thread, and looks at nothing any more.
    pub(super) fn end(&self) {
        lock(&self.source).take();
        lock(&self.wake).ended = true;
        self.woken.notify_all();
        self.taken.notify_all();
    }

    /// Looks as soon as the actor has taken the last look, if there is a backend. For any thread but the actor's.
    pub(super) fn look(&self) {
        let waits = |wake: &mut Wake| wake.untaken > 0 && !wake.ended;
        let wake = lock(&self.wake);
        let waited = self.taken.wait_timeout_while(wake, TAKEN_WITHIN, waits);
        // Not over the look: the actor itself wakes the thread.
        drop(waited);
        let _looking = lock(&self.looking);
        let Some((generation, backend)) = lock(&self.source).clone() else {
            return;
        };
        let look = match backend.snapshot() {
            Ok(look) => Arc::new(look),
            Err(error) => {
                tracing::warn!("no look at the backend: {error}");
                return;
            }
        };
        self.history.record(&look);
        let (gone, connected): (Vec<_>, Vec<_>) = look
            .clients
            .iter()
            .map(|client| (client.id, client.state))
            .partition(|(_, state)| *state == ClientState::Gone);
        let (ended, recording): (Vec<_>, Vec<_>) = look
            .bypasses
            .iter()
            .map(|bypass| (bypass.id, bypass.state))
            .partition(|(_, state)| *state == ClientState::Gone);
        if !gone.is_empty() || !ended.is_empty() {
            backend.forget_gone(&ids(&gone), &ids(&ended));
        }
        let mut wake = lock(&self.wake);
        wake.connected = !connected.is_empty() || !recording.is_empty();
        // Counted before it can be taken.
        wake.untaken += 1;
        drop(wake);
        let _ = self.actor.send(Message::Looked(generation, look));
    }

    fn run(&self) {
        loop {
            let mut wake = lock(&self.wake);
            while !wake.wanted && !wake.ended {
                if wake.connected {
                    let (again, waited) = self
                        .woken
                        .wait_timeout(wake, PERIOD)
                        .unwrap_or_else(PoisonError::into_inner);
                    wake = again;
                    if waited.timed_out() {
                        break;
                    }
                } else {
                    wake = self
                        .woken
                        .wait(wake)
                        .unwrap_or_else(PoisonError::into_inner);
                }
            }
            if wake.ended {
                return;
            }
            wake.wanted = false;
            drop(wake);
            self.look();
        }
    }
}

fn ids(records: &[(u64, ClientState)]) -> Vec<u64> {
    records.iter().map(|(id, _)| *id).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
