//! The reply to `status` for people. The first line says what apps get; everything that could make it misleading (a
//! bypass, no server, no mic) stands right below it.

use super::words::{self, Shown};
use super::{Page, clean, when};
use crate::protocol::{Bypass, GateState, Status};
use truemute_core::observed::MutedApp;

/// Longest name of a device or app that is printed.
const NAME: usize = 100;

/// `status` as text.
pub fn status(status: &Status, page: &Page) -> String {
    let mut out = Shown::from(status.gate).headline(&words::meaning(status), page);
    let since = when::since(&status.since, page);
    let reason = words::reason(&status.reason);
    page.fact(&mut out, "", &format!("{reason}, since {since}"));
    if status.locked {
        page.fact(
            &mut out,
            "",
            "LOCKED: nothing unmutes until `truemute unlock`",
        );
    }
    bypasses(&mut out, status, page);
    out.push('\n');

    page.fact(&mut out, "Real mic", &real_mic(status));
    let virtual_mic = format!(
        "{}, {}",
        clean(&status.virtual_mic.name, NAME),
        words::format(&status.virtual_mic)
    );
    page.fact(&mut out, "Virtual mic", &virtual_mic);
    page.fact(&mut out, "Clients", &status.clients.to_string());
    for app in &status.muted_apps {
        page.fact(&mut out, "Muted app", &muted_app(app));
    }
    let connection = if status.connected {
        "connected"
    } else {
        "NOT CONNECTED"
    };
    let server = format!("{connection}, {}", clean(&status.backend, NAME));
    page.fact(&mut out, "Audio server", &server);
    let daemon = format!(
        "pid {}, version {}",
        status.daemon_pid,
        clean(&status.version, 40)
    );
    page.fact(&mut out, "Daemon", &daemon);
    for forced in &status.forced {
        let value = format!(
            "{} = {} by the administrator's policy",
            clean(&forced.key, NAME),
            clean(&forced.value, NAME)
        );
        page.fact(&mut out, "Forced", &value);
    }
    for warning in &status.warnings {
        page.fact(&mut out, "Warning", &clean(warning, 1000));
    }
    out
}

/// An app that is muted on its own, and what tells it from others of its name.
pub(super) fn muted_app(app: &MutedApp) -> String {
    let name = clean(&app.app, NAME);
    match &app.executable {
        Some(path) => format!("{name} ({})", clean(&path.to_string_lossy(), NAME)),
        None => name,
    }
}

/// What `status` says when no daemon answers. That nobody answers does not mean that anything is muted.
pub fn no_daemon(page: &Page) -> String {
    let shown = Shown::Unknown;
    shown.headline(&format!("no daemon answers: {}", shown.meaning()), page)
}

/// A muted person must not miss that an app hears the real mic.
fn bypasses(out: &mut String, status: &Status, page: &Page) {
    for bypass in &status.bypasses {
        let text = format!(
            "{} records from the real mic {}{}{}",
            app(bypass),
            clean(&bypass.real_mic, NAME),
            match bypass.through.last() {
                Some(node) => format!(", through {}", clean(node, NAME)),
                None => String::new(),
            },
            match status.gate {
                GateState::Muted => ": not muted",
                GateState::Live => " and not through TrueMute: mute will not reach it",
            }
        );
        page.fact(out, "BYPASS", &text);
    }
}

fn app(bypass: &Bypass) -> String {
    let name = clean(&bypass.who.app, NAME);
    match bypass.who.pid {
        Some(pid) => format!("\"{name}\" (pid {pid})"),
        None => format!("\"{name}\""),
    }
}

fn real_mic(status: &Status) -> String {
    let mic = &status.real_mic;
    let state = words::mic(mic.state);
    match (mic.description.as_str(), mic.name.as_str()) {
        ("", "") => state.into(),
        ("", name) | (name, "") => format!("{state}, {}", clean(name, NAME)),
        (description, name) => format!(
            "{state}, {} ({})",
            clean(description, NAME),
            clean(name, NAME)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{self, page, plain};
    use super::status;

    #[test]
    fn muted_wide() {
        insta::assert_snapshot!(plain(&status(&samples::muted(), &page(Some(120)))));
    }

    #[test]
    fn live_narrow() {
        insta::assert_snapshot!(plain(&status(&samples::live(), &page(Some(40)))));
    }

    #[test]
    fn live_piped() {
        insta::assert_snapshot!(plain(&status(&samples::live(), &page(None))));
    }

    #[test]
    fn everything_wrong() {
        insta::assert_snapshot!(plain(&status(&samples::trouble(), &page(Some(80)))));
    }

    #[test]
    fn hostile_names() {
        let text = status(&samples::hostile_status(), &page(Some(80)));
        assert!(
            plain(&text)
                .lines()
                .skip(1)
                .all(|line| !line.starts_with("LIVE"))
        );
        insta::assert_snapshot!(plain(&text));
    }

    #[test]
    fn without_a_daemon_the_state_is_unknown() {
        let text = plain(&super::no_daemon(&page(Some(80))));
        assert_eq!(
            text,
            "UNKNOWN  no daemon answers: do not rely on being muted\n"
        );
    }

    #[test]
    fn the_word_is_coloured() {
        let text = status(&samples::muted(), &page(Some(80)));
        insta::assert_snapshot!(
            text.lines()
                .next()
                .unwrap_or_default()
                .replace('\u{1b}', "ESC")
        );
    }

    #[test]
    fn an_open_gate_without_a_mic_or_server_does_not_claim_that_apps_hear() {
        let mut state = samples::live();
        state.real_mic.state = truemute_core::observed::MicState::Missing;
        assert!(!status(&state, &page(Some(80))).contains("hear the microphone"));
        state.connected = false;
        assert!(!status(&state, &page(Some(80))).contains("hear the microphone"));
    }
}
