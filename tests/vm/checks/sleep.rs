//! Suspend to RAM (ACPI S3) by `systemctl suspend`; the host wakes the machine some seconds later (xtask/src/vm/waking.rs).

use std::fs;
use std::process::Command;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use truemute_tests::tape::monotonic_ns;

use super::{LIMIT, gate, live, ms, muted, no_sound};
use crate::card::BUILT_IN;
use crate::person;
use crate::recorder::Apps;
use crate::report::{Seen, Trouble};
use crate::wait::until;

/// Sleeps some seconds; returns how long the machine really slept.
fn suspend() -> Result<Duration, Trouble> {
    let states = fs::read_to_string("/sys/power/mem_sleep").unwrap_or_default();
    if !states.contains("deep") {
        return Err(Trouble::Impossible(format!(
            "the machine cannot suspend to RAM: {states}"
        )));
    }
    let before = (suspends()?, slept());
    let asked = Command::new("systemctl").arg("suspend").status()?;
    if !asked.success() {
        return Err(Trouble::Failed(format!(
            "`systemctl suspend` ended with {asked}"
        )));
    }
    until(LIMIT * 2, || suspends().is_ok_and(|it| it > before.0))
        .ok_or("the machine did not fall asleep")?;
    Ok(slept() - before.1)
}

/// How often the kernel has suspended and come back.
fn suspends() -> Result<u32, Trouble> {
    let text = fs::read_to_string("/sys/power/suspend_stats/success")?;
    Ok(text
        .trim()
        .parse()
        .map_err(|_| format!("not a number: {text}"))?)
}

/// How long the machine has slept since it booted: the clock that goes on in sleep runs ahead of the one that does not.
fn slept() -> Duration {
    let read = |clock| {
        let time = clock_gettime(clock);
        Duration::new(
            time.tv_sec.unsigned_abs(),
            time.tv_nsec.unsigned_abs() as u32,
        )
    };
    read(ClockId::Boottime).saturating_sub(read(ClockId::Monotonic))
}

/// Muted before, muted after, the card closed all the while.
pub(crate) fn muted_over() -> Seen {
    let apps = Apps::start()?;
    live(&apps)?;
    muted(&apps)?;
    let from = monotonic_ns();
    let daemon = person::unit("MainPID")?;
    let slept = suspend()?;
    apps.silence()?;
    gate("muted")?;
    let gap = apps.silent(from, monotonic_ns())?;
    until(LIMIT, || BUILT_IN.closed()).ok_or("the card is open while muted")?;
    live(&apps)?;
    Ok(format!(
        "slept {} s; no sound, the card closed; apps went on (longest gap {} of running time); {}; sound after unmute",
        slept.as_secs(),
        ms(gap),
        same_daemon(&daemon)?
    ))
}

/// Whether systemd left the daemon alone.
fn same_daemon(before: &str) -> Seen {
    let same = person::unit("MainPID")? == before;
    let word = if same {
        "the same daemon"
    } else {
        "systemd's watchdog put another daemon in place"
    };
    Ok(word.to_owned())
}

/// Live before; after it muted until somebody unmutes: by the daemon, which logind tells before. (Live, if the daemon was not told
/// in time, and systemd froze the user's processes for less than the gate's lease.)
pub(crate) fn live_over() -> Seen {
    let apps = Apps::start()?;
    live(&apps)?;
    let (daemon, starts) = (person::unit("MainPID")?, person::unit("NRestarts")?);
    let asleep = monotonic_ns();
    let slept = suspend()?;
    let awake = monotonic_ns();
    until(LIMIT, person::ready).ok_or("the daemon is not ready after waking")?;
    let status = person::status().ok_or("the daemon does not answer after waking")?;
    let gate = status["gate"].as_str().unwrap_or_default().to_owned();
    let heard = match gate.as_str() {
        "live" => {
            apps.sound()
                .map_err(|_| no_sound("live, but no sound after waking"))?;
            String::new()
        }
        _ => {
            apps.silence()?;
            if !matches!(status["reason"].as_str(), Some("sleep" | "lease" | "start")) {
                return Err(Trouble::Failed(format!(
                    "muted, but not by sleep: {status}"
                )));
            }
            // Sound that was on its way when the machine fell asleep may still come, none after a silence.
            apps.silent_at_last(asleep, monotonic_ns())?;
            " (as it must be)".to_owned()
        }
    };
    let took = monotonic_ns() - awake;
    let daemon = same_daemon(&daemon)?;
    live(&apps)?;
    let count = |text: &str| text.parse::<u32>().unwrap_or(u32::MAX);
    let again = count(&person::unit("NRestarts")?).saturating_sub(count(&starts));
    if again > 1 {
        return Err(Trouble::Failed(format!(
            "systemd started the daemon {again} times"
        )));
    }
    Ok(format!(
        "slept {} s; {daemon}; the gate was {gate}, reason {}{heard}, and the same apps heard it so {} after waking; sound after \
         unmute",
        slept.as_secs(),
        status["reason"],
        ms(Duration::from_nanos(took))
    ))
}
