//! Ways round TrueMute Microphone, as an ordinary app can take them.

use std::fs;
use std::time::Duration;

use serde_json::Value;

use super::{LIMIT, live, muted};
use crate::person;
use crate::recorder::{Apps, Recorder};
use crate::report::{Seen, Trouble};
use crate::wait::{until, wait};

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

/// An app names the real mic, and hears it though TrueMute is muted.
pub(crate) fn past_truemute() -> Seen {
    person::run("truemute mute")?;
    let app = past(&real_mic()?)?;
    let (bypass, took) = wait(LIMIT, || reported(app.pid()))
        .ok_or_else(|| format!("not reported: {:?}", person::status()))?;
    until(LIMIT, || app.heard(0, u64::MAX).sounding > 0)
        .ok_or("it hears nothing: then its being kept from the mic would show nothing")?;
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
    muted(&apps)?;
    let app = past(mic)?;
    // Who asks for the real mic is given TrueMute Microphone.
    until(LIMIT, || is_client(app.pid()))
        .ok_or("the app that names the real mic is not led to TrueMute Microphone")?;
    until(Duration::from_secs(5), || false);
    let heard = app.heard(0, u64::MAX);
    if heard.sounding > 0 || heard.frames == 0 {
        return Err(Trouble::Failed(format!(
            "while muted, the app that names the real mic got {heard:?}"
        )));
    }
    live(&apps)?;
    if let Some(bypass) = reported(app.pid()) {
        return Err(Trouble::Failed(format!(
            "the app that names the real mic hears it: {bypass}"
        )));
    }
    if !is_client(app.pid()) {
        return Err("the app that names the real mic has left TrueMute Microphone".into());
    }
    Ok(format!(
        "an app that names the real mic is given TrueMute Microphone: {} frames without a sound while muted; live, those on \
         TrueMute Microphone have sound, and nobody is linked to the real mic",
        heard.frames
    ))
}

/// Whether this process records from TrueMute Microphone.
fn is_client(pid: u32) -> bool {
    person::json("truemute clients --json").is_ok_and(|it| {
        let clients = it["clients"].as_array();
        clients.is_some_and(|clients| clients.iter().any(|it| it["pid"] == pid))
    })
}

fn past(mic: &str) -> Result<Recorder, Trouble> {
    Recorder::start(&format!(
        "pw-record --target {mic} --format s16 --rate 48000 --channels 2 --raw -"
    ))
}
