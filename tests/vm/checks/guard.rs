//! Ways round TrueMute Microphone, as an ordinary app can take them.

use std::time::Duration;

use serde_json::Value;

use super::{INSTALL_AGAIN, LIMIT, RESTART, live, muted, with_setting};
use crate::card::BUILT_IN;
use crate::person;
use crate::recorder::{Apps, Recorder};
use crate::report::{Seen, Trouble};
use crate::wait::{until, wait};

/// Records from the card itself, not through the audio server.
const DIRECTLY: &str = "arecord -q -D hw:Intel -f S16_LE -r 48000 -c 2 -t raw";
/// Shows the switch before the card's analogue-to-digital converter.
const CAPTURE_SWITCH: &str = "amixer -D hw:Intel sget Capture";

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
    until(LIMIT, || BUILT_IN.closed()).ok_or("the card is open while muted")?;
    let app = Recorder::start(DIRECTLY)?;
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
    with_setting("guard = \"enforce\"", INSTALL_AGAIN, || enforced_on(&mic))
}

fn enforced_on(mic: &str) -> Seen {
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

/// `hold_device`: while muted, nobody can open the card, and nothing is captured from it; unmuted, it is as ever.
pub(crate) fn held() -> Seen {
    with_setting("hold_device = true", RESTART, || {
        let apps = Apps::start()?;
        for _ in 0..2 {
            live(&apps)?;
            muted(&apps)?;
            until(LIMIT, || BUILT_IN.is("OPEN"))
                .ok_or_else(|| format!("the card is not held: {:?}", BUILT_IN.told()))?;
            // What `behind_the_server` does, but for -N: without it a program waits until it can have the device.
            let output = person::output(&format!("{DIRECTLY} -N -d 1"))?;
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            if output.status.success() || !said.contains("busy") {
                return Err(Trouble::Failed(format!(
                    "{DIRECTLY} ended with {}: {said}",
                    output.status
                )));
            }
            if !BUILT_IN.is("OPEN") {
                return Err(Trouble::Failed(format!(
                    "muted, and the card is {:?}",
                    BUILT_IN.told()
                )));
            }
        }
        live(&apps)?;
        Ok("muted, /proc/asound says OPEN, not RUNNING, and arecord -D hw: is told that the device is busy, twice; sound \
             after unmute"
            .to_owned())
    })
    .and_then(|seen| {
        until(LIMIT, || BUILT_IN.closed()).ok_or("the card is held without the setting")?;
        Ok(format!("{seen}; closed again without the setting"))
    })
}

/// `mute_hardware`: a mute turns the card's own switch off, an unmute turns it on.
pub(crate) fn in_hardware() -> Seen {
    let switch = |word: &str| {
        let state = format!("[{word}]");
        until(LIMIT, || {
            person::run(CAPTURE_SWITCH).is_ok_and(|said| said.contains(&state))
        })
        .ok_or_else(|| {
            Trouble::Failed(format!(
                "the card's switch is not {state}: {:?}",
                person::run(CAPTURE_SWITCH)
            ))
        })
    };
    if !person::run(CAPTURE_SWITCH).is_ok_and(|said| said.contains("[on]")) {
        let controls = person::run("amixer -D hw:Intel scontents")?;
        return Err(Trouble::Impossible(format!(
            "the card has no switch for its microphone that is on: {controls}"
        )));
    }
    with_setting("mute_hardware = true", RESTART, || {
        let apps = Apps::start()?;
        live(&apps)?;
        switch("on")?;
        muted(&apps)?;
        let off = switch("off")?;
        live(&apps)?;
        let on = switch("on")?;
        muted(&apps)?;
        switch("off")?;
        Ok(format!(
            "amixer shows the card's switch as off {} after `truemute mute`, as on {} after sound was back",
            super::ms(off),
            super::ms(on)
        ))
    })
    .and_then(|seen| {
        // Taking the setting out must not leave a person with a dead microphone.
        switch("on")?;
        Ok(format!("{seen}; on again without the setting"))
    })
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
