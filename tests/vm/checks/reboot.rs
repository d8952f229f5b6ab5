//! A reboot: what was muted comes up muted, before anything can record.

use std::fs;

use truemute_tests::tape::monotonic_ns;

use super::{LIMIT, gate, live, muted};
use crate::person;
use crate::recorder::Apps;
use crate::report::{Seen, Trouble};
use crate::wait::until;

const UNIT: &str = ".config/systemd/user/early.service";
const RECORDING: &str = "/home/person/early.raw";

/// An app that records as soon as there is an audio server; and the state that must survive.
pub(crate) fn prepare() -> Seen {
    let apps = Apps::start()?;
    live(&apps)?;
    muted(&apps)?;
    person::write(
        UNIT,
        &format!(
            "[Unit]\nAfter=pipewire.service\n[Service]\nExecStart=/usr/bin/pw-record --format s16 --rate 48000 --channels 2 \
             --raw -\nStandardOutput=append:{RECORDING}\nRestart=always\nRestartSec=100ms\n[Install]\n\
             WantedBy=pipewire.service\n"
        ),
    )?;
    person::run("systemctl --user enable early.service")?;
    Ok(
        "muted; an app is set to record from the default source as soon as the audio server starts"
            .to_owned(),
    )
}

/// All that the early app got is zeros, and the gate is muted; then it works as before.
pub(crate) fn comes_up_muted() -> Seen {
    let seen = came_up_muted();
    // However that went: what comes next looks at what is left of the installation, not of this.
    person::run("systemctl --user disable --now early.service")?;
    fs::remove_file(format!("{}/{UNIT}", person::HOME))?;
    let _ = fs::remove_file(RECORDING);
    seen
}

fn came_up_muted() -> Seen {
    until(LIMIT * 5, person::ready).ok_or("no daemon answers after the reboot")?;
    gate("muted")?;
    let apps = Apps::start()?;
    let from = monotonic_ns();
    apps.silence()?;
    apps.silent(from, monotonic_ns())?;
    let recording =
        fs::read(RECORDING).map_err(|error| format!("the early app recorded nothing: {error}"))?;
    person::run("systemctl --user stop early.service")?;
    let sounding = recording.iter().filter(|it| **it != 0).count();
    if sounding > 0 || recording.is_empty() {
        return Err(Trouble::Failed(format!(
            "the early app got {} bytes, {sounding} of them sound",
            recording.len()
        )));
    }
    let status = person::status().ok_or("the daemon does not answer")?;
    live(&apps)?;
    Ok(format!(
        "muted (reason {}); an app that records from the start of the audio server on got {} frames, all zero; sound after \
         unmute",
        status["reason"],
        recording.len() / 4
    ))
}
