//! The daemon killed and hung, under the real systemd: who takes over, who starts it again, what apps get meanwhile.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use truemute_tests::tape::monotonic_ns;

use super::{LIMIT, live, ms, muted};
use crate::person;
use crate::recorder::Apps;
use crate::report::{Seen, Trouble};
use crate::wait::wait;

pub(crate) fn killed_muted() -> Seen {
    while_muted(Signal::KILL)
}

pub(crate) fn killed_live() -> Seen {
    while_live(Signal::KILL)
}

pub(crate) fn hung_muted() -> Seen {
    while_muted(Signal::STOP)
}

pub(crate) fn hung_live() -> Seen {
    while_live(Signal::STOP)
}

/// Not one bit of sound from the mute on until somebody unmutes the new daemon; then sound, in the same apps.
fn while_muted(signal: Signal) -> Seen {
    let apps = Apps::start()?;
    live(&apps)?;
    muted(&apps)?;
    let from = monotonic_ns();
    let (_, took) = replace_daemon(signal)?;
    apps.silence()?;
    let status = person::status().ok_or("the new daemon does not answer")?;
    if status["gate"] != "muted" {
        return Err(Trouble::Failed(format!("muted before, now {status}")));
    }
    let gap = apps.silent(from, monotonic_ns())?;
    live(&apps)?;
    Ok(format!(
        "no sound; a new daemon, muted, answered after {}; longest gap of an app {}; the same apps had sound after unmute",
        ms(took),
        ms(gap)
    ))
}

/// Silence while there is no daemon; what comes then is what the new daemon says it is.
fn while_live(signal: Signal) -> Seen {
    let apps = Apps::start()?;
    live(&apps)?;
    let (struck_ns, took) = replace_daemon(signal)?;
    let drained = apps.only_drained(struck_ns, started_ns()?)?;
    let status = person::status().ok_or("the new daemon does not answer")?;
    match status["gate"].as_str() {
        Some("live") => apps.sound()?,
        _ => apps.silence()?,
    };
    Ok(format!(
        "no sound from after the blow ({drained}); a new daemon was ready after {}, its gate {} (reason {}); \
         longest gap of an app in that time {}",
        ms(took),
        status["gate"],
        status["reason"],
        ms(drained.gap)
    ))
}

/// Strikes the daemon, and waits until systemd has put another in its place that answers. Returns when it was struck, on the
/// monotonic clock in nanoseconds, and how long the rest took.
fn replace_daemon(signal: Signal) -> Result<(u64, Duration), Trouble> {
    let old = person::unit("MainPID")?;
    let pid = old
        .parse()
        .ok()
        .and_then(Pid::from_raw)
        .ok_or("the unit has no process")?;
    let (struck_ns, struck) = (monotonic_ns(), Instant::now());
    kill_process(pid, signal).map_err(|error| error.to_string())?;
    let another = || {
        let new = person::unit("MainPID").ok()?;
        (new != old && new != "0" && person::ready()).then_some(())
    };
    wait(LIMIT * 3, another).ok_or_else(|| {
        format!(
            "systemd put no new daemon in place: {:?}",
            person::unit("ActiveState")
        )
    })?;
    Ok((struck_ns, struck.elapsed()))
}

/// When the daemon's process began, on the monotonic clock.
fn started_ns() -> Result<u64, Trouble> {
    let text = person::unit("ExecMainStartTimestampMonotonic")?;
    let micros: u64 = text
        .parse()
        .map_err(|_| format!("systemd knows no start: {text}"))?;
    Ok(micros * 1000)
}
