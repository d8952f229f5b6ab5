//! A notice on the desktop (Desktop Notifications Specification 1.2, on the session's bus), by busctl(1), which comes with systemd.
//! Without it, or without a desktop, there is none: status and log have the same sentence.

use std::process::Command;
use std::time::Duration;

use crate::tool;

/// A desktop that takes longer shows it late, or not.
const LIMIT: Duration = Duration::from_secs(10);

const SUMMARY: &str = "A program gets your microphone past TrueMute";

/// Shows `text`, in its own time: returns at once.
pub(crate) fn show_notice(text: String) {
    let shown = std::thread::Builder::new()
        .name("notice".into())
        .spawn(move || {
            let said = tool::ask(command(&text), LIMIT);
            let why = match said {
                Ok(said) if said.is_good() => return,
                Ok(said) => said.errors,
                Err(error) => format!("busctl: {error}"),
            };
            tracing::debug!("no notice on the desktop: {why}");
        });
    if let Err(error) = shown {
        tracing::debug!("no notice on the desktop: {error}");
    }
}

fn command(text: &str) -> Command {
    const NAME: &str = "org.freedesktop.Notifications";
    let mut command = Command::new("busctl");
    // Nothing after the dashes is an option, whatever it begins with.
    command.args([
        "--user",
        "--",
        "call",
        NAME,
        "/org/freedesktop/Notifications",
    ]);
    command.args([NAME, "Notify", "susssasa{sv}i"]);
    // Replaces none.
    command.args(["TrueMute", "0", "audio-input-microphone", SUMMARY]);
    command.arg(without_markup(text));
    // No actions; critical (2), so that it stays until it was seen, for as long as the desktop likes (-1).
    command.args(["0", "1", "urgency", "y", "2", "-1"]);
    command
}

/// A body may have markup (specification, "Markup"); in a program's name it would be the program's.
fn without_markup(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_programs_name_cannot_bring_markup() {
        let words = command("\"<a href='x'>&\" gets the sound");
        let words: Vec<_> = words.get_args().map(|it| it.to_string_lossy()).collect();
        let body = "\"&lt;a href='x'&gt;&amp;\" gets the sound";
        assert!(words.iter().any(|word| word == body), "{words:?}");
    }
}
