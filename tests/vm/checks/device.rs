//! The card itself: recording from it, closing it, opening it, taking it away.

use std::time::{Duration, Instant};

use truemute_tests::tape::monotonic_ns;

use super::{LIMIT, gate, live, ms, muted, no_sound};
use crate::card::{BUILT_IN, Card, Microphone};
use crate::person;
use crate::recorder::Apps;
use crate::report::{Seen, Trouble};
use crate::wait::until;

/// Muted by default; unmuted, the ramp that the card's microphone hears is in every app's recording.
pub(crate) fn record() -> Seen {
    let apps = Apps::start()?;
    let from = monotonic_ns();
    apps.silence()?;
    apps.silent(from, monotonic_ns())?;
    if !BUILT_IN.closed() {
        return Err("the card's microphone is open before anybody unmuted".into());
    }
    let took = live(&apps)?;
    if !BUILT_IN.running() {
        return Err(Trouble::Failed(format!(
            "sound, but the card says {:?}",
            BUILT_IN.told()
        )));
    }
    Ok(format!(
        "silent until unmuted; then sound in pw-record, parecord and arecord, in all of them {} after the \
         command was typed",
        ms(took)
    ))
}

/// P8: `truemute mute` lets the kernel close the device.
pub(crate) fn mute_closes() -> Seen {
    let apps = Apps::start()?;
    closes(BUILT_IN, &apps)
}

/// Unmutes and mutes a few times: this microphone is closed then, stays so, and nothing is heard.
pub(super) fn closes(microphone: Microphone, apps: &Apps) -> Seen {
    let mut times = Vec::new();
    for _ in 0..5 {
        live(apps)?;
        let asked = Instant::now();
        person::run("truemute mute")?;
        let answered = Instant::now();
        until(LIMIT, || microphone.closed())
            .ok_or_else(|| format!("it stays open: {:?}", microphone.told()))?;
        times.push((asked.elapsed(), answered.elapsed()));
        apps.silence()?;
        let from = monotonic_ns();
        until(Duration::from_secs(1), || !microphone.closed());
        apps.silent(from, monotonic_ns())?;
        if !microphone.closed() {
            return Err("it was opened again while muted".into());
        }
    }
    times.sort();
    let (asked, answered) = times[times.len() / 2];
    Ok(format!(
        "/proc/asound says closed {} after the command was typed, {} after its answer (median of 5; the 200 ms that are \
         promised are for a real machine)",
        ms(asked),
        ms(answered)
    ))
}

/// And unmute opens it.
pub(crate) fn unmute_opens() -> Seen {
    let apps = Apps::start()?;
    muted(&apps)?;
    until(LIMIT, || BUILT_IN.closed()).ok_or("the card stays open while muted")?;
    person::run("truemute unmute")?;
    let open = until(LIMIT, || BUILT_IN.running()).ok_or("the card does not run after unmute")?;
    live(&apps)?;
    Ok(format!(
        "the card runs {} after the answer; sound in all apps",
        ms(open)
    ))
}

/// The card goes away under a live gate: apps get zeros, and sound again when it is back.
pub(crate) fn unplug_live() -> Seen {
    let apps = Apps::start()?;
    live(&apps)?;
    let card = Card::find()?;
    card.unplug()?;
    apps.silence()?;
    let from = monotonic_ns();
    until(Duration::from_secs(2), || false);
    let gap = apps.silent(from, monotonic_ns())?;
    card.plug_in()?;
    let back = Instant::now();
    apps.sound()
        .map_err(|_| no_sound("no sound after it was back"))?;
    Ok(format!(
        "the same apps went on and got zeros (longest gap {}), and sound {} after it was back",
        ms(gap),
        ms(back.elapsed())
    ))
}

/// The card goes away and comes back while muted: nothing is heard, nobody opens it.
pub(crate) fn unplug_muted() -> Seen {
    let apps = Apps::start()?;
    live(&apps)?;
    muted(&apps)?;
    let from = monotonic_ns();
    let card = Card::find()?;
    card.unplug()?;
    until(Duration::from_secs(2), || false);
    card.plug_in()?;
    until(LIMIT, || {
        person::status().is_some_and(|it| it["real_mic"]["state"] == "released")
    })
    .ok_or_else(|| format!("the daemon did not find it again: {:?}", person::status()))?;
    until(LIMIT, || BUILT_IN.closed()).ok_or("the card is open while muted")?;
    gate("muted")?;
    let gap = apps.silent(from, monotonic_ns())?;
    live(&apps)?;
    Ok(format!(
        "no sound (longest gap {}); closed when it was back; sound after unmute",
        ms(gap)
    ))
}

/// Nobody is left without a microphone.
pub(crate) fn without_truemute() -> Seen {
    let apps = Apps::start()?;
    let took = apps.sound()?;
    if !BUILT_IN.running() {
        return Err("sound that is not the card's".into());
    }
    Ok(format!("apps record from it again, after {}", ms(took)))
}
