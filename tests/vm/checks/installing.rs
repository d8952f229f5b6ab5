//! Login, installation and what it gives, and that nothing of it stays.

use super::LIMIT;
use crate::before_and_after::Picture;
use crate::person;
use crate::recorder::Apps;
use crate::report::{Seen, Trouble};
use crate::wait::{until, wait};

/// Kept over the reboot.
const BEFORE: &str = "/var/lib/truemute-vm-before.json";

/// What `truemute uninstall` leaves, and says so.
const HISTORY: [&str; 4] = [
    ".local/state/truemute",
    ".local/state/truemute/history.sqlite",
    ".local/state/truemute/history.sqlite-shm",
    ".local/state/truemute/history.sqlite-wal",
];

/// The person's session on the machine's own screen, and the audio server in it.
pub(crate) fn login() -> Seen {
    let seat = || {
        let text = person::run("loginctl list-sessions --no-legend").ok()?;
        let line = text
            .lines()
            .find(|it| it.contains("person") && it.contains("seat0"))?;
        Some(line.split_whitespace().collect::<Vec<_>>().join(" "))
    };
    let (session, _) = wait(LIMIT * 4, seat).ok_or("nobody is logged in on seat0")?;
    let card =
        || Picture::take().is_ok_and(|it| it.nodes.iter().any(|it| it.contains("alsa_input")));
    until(LIMIT * 4, card).ok_or("the person's audio server shows no microphone")?;
    let display =
        || person::run("systemctl --user show-environment").is_ok_and(|it| it.contains("DISPLAY="));
    until(LIMIT * 4, display).ok_or("there is no graphical session")?;
    Ok(format!("session {session}; the audio server has the card"))
}

/// As a person would: the program to a folder on the PATH, settings, `truemute install`.
pub(crate) fn install() -> Seen {
    person::run(&format!("mkdir -p {}/.local/bin", person::HOME))?;
    person::run(&format!("cp /payload/truemute {}", person::TRUEMUTE))?;
    person::write(person::SETTINGS, "hotkey = \"ctrl+alt+m\"\n")?;
    Picture::take()?.keep(BEFORE)?;
    let said = person::run("truemute install --restart")?;
    until(LIMIT, person::ready)
        .ok_or_else(|| format!("no daemon answers after `truemute install`, which said: {said}"))?;
    let active = person::run("systemctl --user is-active truemute.service")?;
    let files = Picture::take()?
        .changes_since(&Picture::kept(BEFORE)?)
        .len();
    Ok(format!(
        "the unit is {}; {files} files and nodes are new or changed",
        active.trim()
    ))
}

/// What `truemute doctor` says, and that TrueMute Microphone is what apps get.
pub(crate) fn works() -> Seen {
    let default =
        || person::run("pactl get-default-source").is_ok_and(|it| it.trim() == "truemute.mic");
    until(LIMIT, default).ok_or("TrueMute Microphone is not the default source")?;
    let mut said = String::new();
    let content = until(LIMIT, || {
        person::output("truemute doctor").is_ok_and(|output| {
            said = String::from_utf8_lossy(&output.stdout).into_owned();
            output.status.success()
        })
    });
    content.ok_or_else(|| format!("`truemute doctor` says: {said}"))?;
    Ok(said.lines().last().unwrap_or_default().to_owned())
}

/// The names of clients, as the hardened unit sees them.
pub(crate) fn identity() -> Seen {
    let apps = Apps::start()?;
    let found = || {
        let stats = person::json("truemute clients --json").ok()?;
        let clients = stats["clients"].as_array()?;
        let seen: Vec<String> = apps
            .iter()
            .filter_map(|app| {
                let client = clients.iter().find(|it| it["pid"] == app.pid())?;
                let executable = client["executable"].as_str()?;
                Some(format!(
                    "{}: {}, {executable}",
                    app.name(),
                    client["identity"].as_str()?
                ))
            })
            .collect();
        (seen.len() == apps.iter().count()).then_some(seen)
    };
    let (seen, _) = wait(LIMIT, found).ok_or_else(|| {
        let now = person::json("truemute clients --json");
        Trouble::Failed(format!(
            "not all clients are named with an executable: {now:?}"
        ))
    })?;
    // A native client and an ALSA one are on the server's own socket; a PulseAudio one is behind pipewire-pulse.
    let expected = ["verified", "corroborated", "verified"];
    for (line, word) in seen.iter().zip(expected) {
        if !line.contains(word) {
            return Err(Trouble::Failed(format!("{line}: expected {word}")));
        }
    }
    Ok(seen.join("; "))
}

/// `truemute uninstall`, and that everything is as it was, but for what it says it leaves: the history of counts.
pub(crate) fn uninstall() -> Seen {
    let before = Picture::kept(BEFORE)?;
    let said = person::run("truemute uninstall --restart")?;
    let mut left = Vec::new();
    let same = || {
        left = match Picture::take() {
            Ok(now) => now.changes_since(&before),
            Err(trouble) => vec![format!("{trouble:?}")],
        };
        left.retain(|it| {
            !HISTORY
                .iter()
                .any(|history| it == &format!("new file {history}"))
        });
        left.is_empty()
    };
    until(LIMIT, same);
    if !left.is_empty() {
        return Err(Trouble::Failed(format!(
            "left behind: {}; it said: {said}",
            left.join(", ")
        )));
    }
    let state = format!("{}/.local/state/wireplumber", person::HOME);
    let named = person::output(&format!("grep --recursive truemute {state}"))?;
    let units = person::run("systemctl --user list-unit-files --no-legend")?;
    if units.contains("truemute") || !named.stdout.is_empty() {
        return Err(Trouble::Failed(format!(
            "systemd or the session manager still knows it: {}",
            String::from_utf8_lossy(&named.stdout)
        )));
    }
    Ok(format!(
        "{} files and {} nodes are as they were before `truemute install`; only the history of counts is left, as it says",
        before.files.len(),
        before.nodes.len()
    ))
}
