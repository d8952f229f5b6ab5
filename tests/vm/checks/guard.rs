//! Ways round TrueMute Microphone, as an ordinary app can take them.

use std::fs;
use std::time::Duration;

use serde_json::Value;

use super::{LIMIT, live, muted, no_sound};
use crate::person;
use crate::recorder::{Apps, Recorder};
use crate::report::{Seen, Trouble};
use crate::wait::{until, wait};
use truemute_tests::tape::monotonic_ns;

/// The name of the real mic's node.
fn real_mic() -> Result<String, Trouble> {
    let status = person::status().ok_or("the daemon does not answer")?;
    Ok(status["real_mic"]["name"]
        .as_str()
        .ok_or("there is no real mic")?
        .to_owned())
}

/// The bypass of this process in `truemute status`.
fn reported(pid: u32) -> Option<Value> {
    let status = person::status()?;
    status["bypasses"]
        .as_array()?
        .iter()
        .find(|it| it["pid"] == pid)
        .cloned()
}

/// An app opens the device itself, which the muted TrueMute has left free.
pub(crate) fn behind_the_server() -> Seen {
    let apps = Apps::start()?;
    muted(&apps)?;
    until(LIMIT, crate::card::closed).ok_or("the card is open while muted")?;
    let app = Recorder::start("arecord -q -D hw:Intel -f S16_LE -r 48000 -c 2 -t raw")?;
    let heard = || app.heard(0, u64::MAX).frames > 0;
    until(LIMIT, heard).ok_or("arecord -D hw:Intel could not open the device")?;
    let (bypass, took) = wait(LIMIT, || reported(app.pid()))
        .ok_or_else(|| format!("it recorded, and was not reported: {:?}", person::status()))?;
    Ok(said(&bypass, took))
}

/// An app names the real mic.
pub(crate) fn past_truemute() -> Seen {
    let app = past(&real_mic()?)?;
    let (bypass, took) = wait(LIMIT, || reported(app.pid()))
        .ok_or_else(|| format!("not reported: {:?}", person::status()))?;
    Ok(said(&bypass, took))
}

fn said(bypass: &Value, took: Duration) -> String {
    let word = |key: &str| bypass[key].as_str().unwrap_or_default().to_owned();
    format!(
        "reported after {} as {} ({}), path {}, {}, identity {}",
        super::ms(took),
        word("app"),
        word("executable"),
        word("path"),
        word("done"),
        word("identity")
    )
}

/// The same once the person has asked for more: nothing reaches it, and TrueMute Microphone works.
pub(crate) fn enforced() -> Seen {
    let mic = real_mic()?;
    let settings = fs::read_to_string(format!("{}/{}", person::HOME, person::SETTINGS))?;
    person::write(
        person::SETTINGS,
        &format!("{settings}guard = \"enforce\"\n"),
    )?;
    let seen = enforced_on(&mic);
    person::write(person::SETTINGS, &settings)?;
    person::run("truemute install --restart")?;
    until(LIMIT, person::ready).ok_or("the daemon did not come back")?;
    seen
}

fn enforced_on(mic: &str) -> Seen {
    person::run("truemute install --restart")?;
    until(LIMIT, person::ready).ok_or("the daemon does not start with guard = \"enforce\"")?;
    let apps = Apps::start()?;
    live(&apps)?;
    let app = past(mic)?;
    until(Duration::from_secs(5), || {
        app.heard(0, u64::MAX).sounding > 0
    });
    let heard = app.heard(0, u64::MAX);
    if heard.sounding > 0 {
        return Err(Trouble::Failed(format!(
            "it got {} bytes of sound",
            heard.sounding
        )));
    }
    let from = monotonic_ns() - 1_000_000_000;
    if apps
        .iter()
        .any(|it| it.heard(from, monotonic_ns()).sounding == 0)
    {
        return Err(no_sound(
            "the apps on TrueMute Microphone have no sound any more",
        ));
    }
    Ok(
        "an app that names the real mic got no sound in 5 s; those on TrueMute Microphone did"
            .to_owned(),
    )
}

fn past(mic: &str) -> Result<Recorder, Trouble> {
    Recorder::start(&format!(
        "pw-record --target {mic} --format s16 --rate 48000 --channels 2 --raw -"
    ))
}
