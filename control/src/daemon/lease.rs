//! The lease: proof to the backend that the actor still answers for "live". A thread renews it while the gate is live and
//! the actor vouches; a hung or dead actor lets it run out, and the backend's gate falls silent by itself.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::priority::go_first;
use crate::backend::Backend;

/// After so long without a renewal the gate may be silent: [`Backend::renew_lease`] allows 250 ms, the Linux backend's
/// gate falls silent after 200.
const LEASE: Duration = Duration::from_millis(200);

/// Time between two renewals.
const RENEWAL: Duration = Duration::from_millis(50);

/// How long one sign of life of the actor counts. With [`LEASE`], a hung actor means silence after 350 ms.
pub(super) const VOUCH: Duration = Duration::from_millis(150);

/// The actor's end of the renewing thread. Dropping it ends the thread.
pub(super) struct Lease {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    grant: Option<Grant>,
    grants: u64,
    vouched_until: Instant,
    ended: bool,
}

#[derive(Clone)]
struct Grant {
    number: u64,
    backend: Arc<dyn Backend>,
    renewed_at: Instant,
}

impl Lease {
    /// Starts the thread. `ran_out` is called from it, with the number of the grant, when the gate must have fallen silent
    /// because no renewal came in time; nothing is renewed after that until the next grant.
    pub(super) fn start(ran_out: impl Fn(u64) + Send + 'static) -> std::io::Result<Lease> {
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                grant: None,
                grants: 0,
                vouched_until: Instant::now(),
                ended: false,
            }),
            changed: Condvar::new(),
        });
        let thread = std::thread::Builder::new().name("lease".into()).spawn({
            let shared = shared.clone();
            move || {
                go_first();
                shared.renew(ran_out);
            }
        })?;
        Ok(Lease {
            shared,
            thread: Some(thread),
        })
    }

    /// Renews the lease of `backend` from now on, for as long as the actor vouches. Returns the grant's number.
    pub(super) fn grant(&self, backend: Arc<dyn Backend>) -> u64 {
        let mut state = self.shared.lock();
        state.grants += 1;
        state.grant = Some(Grant {
            number: state.grants,
            backend,
            renewed_at: Instant::now(),
        });
        self.shared.changed.notify_one();
        state.grants
    }

    /// Renews nothing any more.
    pub(super) fn revoke(&self) {
        self.shared.lock().grant = None;
    }

    /// Whether the thread does its work: what is granted was renewed in time, or nothing is granted.
    pub(super) fn is_kept(&self) -> bool {
        let state = self.shared.lock();
        let grant = state.grant.as_ref();
        grant.is_none_or(|grant| grant.renewed_at.elapsed() <= LEASE * 2)
    }

    /// The actor answers, and will again within `time`.
    pub(super) fn vouch(&self, time: Duration) {
        self.shared.lock().vouched_until = Instant::now() + time;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.shared.lock().ended = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn renew(&self, ran_out: impl Fn(u64)) {
        let mut state = self.lock();
        while !state.ended {
            let now = Instant::now();
            let vouched = now < state.vouched_until;
            let ran_out_of = match &mut state.grant {
                // Nothing wakes this thread while the gate is muted.
                None => {
                    state = self
                        .changed
                        .wait(state)
                        .unwrap_or_else(PoisonError::into_inner);
                    continue;
                }
                Some(grant) if now.duration_since(grant.renewed_at) > LEASE => Some(grant.number),
                Some(grant) if vouched => {
                    let before = std::mem::replace(&mut grant.renewed_at, now);
                    grant.backend.renew_lease(now);
                    // This thread may have been kept waiting since it looked at the clock. Then the gate has been silent,
                    // and is live again now: that has to be a mute like any other that ran out.
                    (before.elapsed() > LEASE).then_some(grant.number)
                }
                Some(_) => None,
            };
            if let Some(number) = ran_out_of {
                state.grant = None;
                ran_out(number);
                continue;
            }
            state = self
                .changed
                .wait_timeout(state, RENEWAL)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::backend::BackendError;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::mpsc;
    use truemute_core::observed::{AppSwitched, Applied, MutedApp, Snapshot};

    #[derive(Default)]
    pub(in super::super) struct Renewals {
        count: AtomicU64,
        /// How long a renewal takes.
        takes: Mutex<Duration>,
    }

    impl Backend for Renewals {
        fn mute(&self) -> Result<Applied, BackendError> {
            unreachable!()
        }
        fn unmute(&self) -> Result<Applied, BackendError> {
            unreachable!()
        }
        fn silence(&self) {
            unreachable!()
        }
        fn mute_app(&self, _: &str) -> Result<AppSwitched, BackendError> {
            unreachable!()
        }
        fn unmute_app(&self, _: &str) -> Result<AppSwitched, BackendError> {
            unreachable!()
        }
        fn restore_muted_apps(&self, _: &[MutedApp]) {}
        fn renew_lease(&self, _: Instant) {
            std::thread::sleep(*self.takes.lock().unwrap());
            self.count.fetch_add(1, Ordering::Relaxed);
        }
        fn is_alive(&self) -> bool {
            unreachable!()
        }
        fn snapshot(&self) -> Result<Snapshot, BackendError> {
            unreachable!()
        }
        fn forget_gone(&self, _: &[u64], _: &[u64]) {}
        fn description(&self) -> String {
            unreachable!()
        }
        fn set_tracing(&self, _: bool) {}
    }

    #[test]
    fn an_actor_that_hangs_lets_the_lease_run_out() {
        let (told, ran_out) = mpsc::channel();
        let lease = Lease::start(move |number| told.send(number).unwrap()).unwrap();
        let backend = Arc::new(Renewals::default());
        lease.vouch(VOUCH);
        let number = lease.grant(backend.clone());
        assert_eq!(ran_out.recv_timeout(Duration::from_secs(10)), Ok(number));
        let at_the_end = backend.count.load(Ordering::Relaxed);
        assert!(at_the_end >= 1);
        lease.vouch(VOUCH);
        assert!(ran_out.recv_timeout(Duration::from_millis(200)).is_err());
        assert_eq!(backend.count.load(Ordering::Relaxed), at_the_end);
    }

    #[test]
    fn a_renewal_that_came_too_late_is_a_lease_that_ran_out() {
        let (told, ran_out) = mpsc::channel();
        let lease = Lease::start(move |number| told.send(number).unwrap()).unwrap();
        let backend = Arc::new(Renewals::default());
        lease.vouch(Duration::from_secs(10));
        let number = lease.grant(backend.clone());
        while backend.count.load(Ordering::Relaxed) == 0 {
            std::thread::yield_now();
        }
        // The thread wakes late, but within the lease, and then takes so long to renew that the lease has run out.
        *backend.takes.lock().unwrap() = LEASE / 2;
        {
            let _state = lease.shared.lock();
            std::thread::sleep(LEASE * 3 / 4);
        }
        assert_eq!(ran_out.recv_timeout(Duration::from_secs(1)), Ok(number));
    }

    #[test]
    fn a_revoked_lease_is_not_renewed_and_does_not_run_out() {
        let (told, ran_out) = mpsc::channel();
        let lease = Lease::start(move |number| told.send(number).unwrap()).unwrap();
        let backend = Arc::new(Renewals::default());
        lease.vouch(Duration::from_secs(10));
        lease.grant(backend.clone());
        lease.revoke();
        let at_revoke = backend.count.load(Ordering::Relaxed);
        assert!(ran_out.recv_timeout(Duration::from_millis(400)).is_err());
        assert_eq!(backend.count.load(Ordering::Relaxed), at_revoke);
    }
}
