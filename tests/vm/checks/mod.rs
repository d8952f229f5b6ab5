//! The checks, by what they touch, and the few steps that many of them begin with.

pub(crate) mod daemon_faults;
pub(crate) mod device;
pub(crate) mod guard;
pub(crate) mod hotkey;
pub(crate) mod installing;
pub(crate) mod loopback;
pub(crate) mod reboot;
pub(crate) mod sleep;

use std::fs;
use std::time::{Duration, Instant};

use crate::person;
use crate::recorder::Apps;
use crate::report::{Seen, Trouble};
use crate::wait::until;

/// For states that come by themselves; under emulation on a busy host everything takes long.
const LIMIT: Duration = Duration::from_secs(60);

/// The gate live, and sound in all apps; returns how long that took from the command on. A starved emulation lets the lease run out: then it is unmuted again, a few times.
fn live(apps: &Apps) -> Result<Duration, Trouble> {
    until(LIMIT, person::ready).ok_or_else(|| {
        Trouble::Failed(format!(
            "the daemon has no real mic: {:?}",
            person::status()
        ))
    })?;
    let mut last = Trouble::Failed("never unmuted".to_owned());
    for _ in 0..3 {
        let asked = Instant::now();
        person::run("truemute unmute")?;
        match apps.sound() {
            Ok(_) => return Ok(asked.elapsed()),
            Err(trouble) => last = trouble,
        }
        if person::gate_is("live") {
            break;
        }
    }
    Err(last)
}

/// Makes a check again that a starved emulation has spoiled, a few times.
pub(crate) fn unstarved(check: impl Fn() -> Seen) -> Seen {
    for _ in 0..2 {
        match check() {
            Err(Trouble::Impossible(_)) => {}
            seen => return seen,
        }
    }
    check()
}

/// Why there is no sound though nobody muted. A host that starves the emulation lets the lease run out, as it should: then
/// nothing was found out.
fn no_sound(what: &str) -> Trouble {
    let status = person::status();
    match status {
        Some(status) if status["reason"] == "lease" => Trouble::Impossible(format!(
            "{what}: the emulation got so little processor time that the gate's lease ran out"
        )),
        status => Trouble::Failed(format!("{what}: {status:?}")),
    }
}

/// The gate muted, and silence in all apps.
fn muted(apps: &Apps) -> Result<(), Trouble> {
    person::run("truemute mute")?;
    apps.silence()?;
    Ok(())
}

/// Waits for a gate of this word.
fn gate(word: &str) -> Result<Duration, Trouble> {
    until(LIMIT, || person::gate_is(word))
        .ok_or_else(|| Trouble::Failed(format!("the gate is not {word}: {:?}", person::status())))
}

fn ms(time: Duration) -> String {
    format!("{} ms", time.as_millis())
}

/// How a changed setting comes into force.
const RESTART: &str = "systemctl --user restart truemute.service";
/// One that WirePlumber has to know of as well.
const INSTALL_AGAIN: &str = "truemute install --restart";

/// Makes a check with one more line in the person's settings, which `apply` brings into force, and takes it out again.
fn with_setting(line: &str, apply: &str, check: impl FnOnce() -> Seen) -> Seen {
    let before = fs::read_to_string(format!("{}/{}", person::HOME, person::SETTINGS))?;
    let set = |text: &str| {
        person::write(person::SETTINGS, text)?;
        person::run(apply)?;
        until(LIMIT, person::ready)
            .ok_or_else(|| Trouble::Failed(format!("the daemon does not start with {text}")))
    };
    let seen = set(&format!("{before}{line}\n")).and_then(|_| check());
    let back = set(&before);
    let seen = seen?;
    back?;
    Ok(seen)
}
