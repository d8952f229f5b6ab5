//! What logind tells of sleep (org.freedesktop.login1(5)): the machine waits with it until we are ready, for at most five
//! seconds by default ("delay" in systemd-inhibit(1)), and we hear when it is awake again.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::{Either, select};
use zbus::{Connection, OwnedFd, Proxy};

/// Pause before another try where there is no logind, or it has gone.
const AGAIN: Duration = Duration::from_secs(30);

const NAME: &str = "org.freedesktop.login1";

/// Calls `told` with true before the machine sleeps, which waits until it returns, and with false when it is awake again. From
/// a thread of its own; where there is no logind, never.
pub(crate) fn watch_sleep(told: impl Fn(bool) + Send + 'static) {
    let thread = std::thread::Builder::new().name("sleep".into());
    let started = thread.spawn(move || {
        loop {
            if let Err(error) = zbus::block_on(watch(&told)) {
                tracing::debug!("nobody says when the machine sleeps: {error}");
            }
            std::thread::sleep(AGAIN);
        }
    });
    if let Err(error) = started {
        tracing::warn!("nobody says when the machine sleeps: {error}");
    }
}

/// Until the bus ends, or logind is not as it should be.
async fn watch(told: impl Fn(bool)) -> zbus::Result<()> {
    let bus = Connection::system().await?;
    let manager = "org.freedesktop.login1.Manager";
    let logind = Proxy::new(&bus, NAME, "/org/freedesktop/login1", manager).await?;
    let mut signals = logind.receive_signal("PrepareForSleep").await?;
    // Another logind knows nothing of what we asked the former one for.
    let mut owners = logind.receive_owner_changed().await?;
    let mut held = delay(&logind).await;
    loop {
        let wait = match select(signals.next(), owners.next()).await {
            Either::Left((Some(signal), _)) => {
                let asleep = signal.body().deserialize()?;
                told(asleep);
                !asleep
            }
            Either::Right((Some(owner), _)) => owner.is_some(),
            Either::Left((None, _)) | Either::Right((None, _)) => return Ok(()),
        };
        // Given back, it says that we are ready.
        drop(held.take());
        if wait {
            held = delay(&logind).await;
        }
    }
}

/// The machine waits with each sleep until what this returns is closed. Without it we still hear of the sleep, if not in time.
async fn delay(logind: &Proxy<'_>) -> Option<OwnedFd> {
    let why = "mutes, so that nothing is heard after waking";
    let call = ("sleep", "TrueMute", why, "delay");
    let held: zbus::Result<OwnedFd> = logind.call("Inhibit", &call).await;
    held.inspect_err(|error| {
        tracing::warn!("logind will not wait with a sleep until TrueMute has muted ({error}). Mute before the machine sleeps.");
    })
    .ok()
}
