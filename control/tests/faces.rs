//! What the real program prints for people: colour where it is wanted, and the state even where no daemon answers.

mod support;

use std::path::Path;
use std::process::{Command, Output};

use support::{Rig, stderr, truemute};

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_pipe_gets_no_styles_unless_asked() {
    let rig = Rig::start();
    let plain = stdout(&rig.truemute(&["status"]));
    assert!(plain.starts_with("MUTED  "), "{plain}");
    assert!(
        !plain.contains('\u{1b}') && !plain.contains('\t'),
        "{plain}"
    );
    let styled = stdout(&rig.truemute(&["status", "--color", "always"]));
    assert!(
        styled.starts_with('\u{1b}') && styled.contains("MUTED"),
        "{styled}"
    );
}

#[test]
fn no_color_does_not_win_over_what_was_asked_for() {
    let rig = Rig::start();
    let run = |color: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_truemute"));
        command
            .args(["status", "--color", color])
            .env("TRUEMUTE_SOCKET", &rig.socket)
            .env("NO_COLOR", "1");
        stdout(&command.output().expect("it runs"))
    };
    assert!(!run("auto").contains('\u{1b}'));
    assert!(run("always").contains('\u{1b}'));
}

#[test]
fn the_replies_to_commands_begin_with_the_state() {
    let rig = Rig::start();
    for (command, word) in [
        ("unmute", "LIVE  "),
        ("mute", "MUTED  "),
        ("toggle", "LIVE  "),
    ] {
        let text = stdout(&rig.truemute(&[command]));
        assert!(text.starts_with(word), "{command}: {text}");
    }
}

#[test]
fn without_a_daemon_status_says_that_the_state_is_unknown() {
    let output = truemute(Path::new("/nonexistent/api.sock"), &["status"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(
        stdout(&output).starts_with("UNKNOWN  "),
        "{}",
        stdout(&output)
    );
    assert!(stderr(&output).contains("No daemon answers"));
    let json = truemute(Path::new("/nonexistent/api.sock"), &["status", "--json"]);
    assert_eq!((json.status.code(), json.stdout.len()), (Some(3), 0));
}
