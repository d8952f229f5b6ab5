//! `truemute demo` as people run it: it proves what it says, leaves nothing behind, and says what is missing.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use truemute_pipewire::rehearsal::Recording;
use truemute_tests::recorder::wait_until;
use truemute_tests::truemute::executable;

#[test]
fn it_proves_that_nothing_arrived_and_keeps_the_recordings() {
    let keep = tempfile::tempdir().unwrap();
    let output = demo().arg("--keep").arg(keep.path()).output().unwrap();
    let (out, err) = texts(&output);
    assert!(output.status.success(), "{out}\n{err}");
    assert!(out.contains("Not one bit arrived while muted"), "{out}");
    assert!(!out.contains('\x1b'), "styles in a pipe: {out}");
    let proven = out.matches("; 0 from while muted.").count();
    assert!(proven >= 3, "{out}");
    let kept: Vec<_> = keep.path().read_dir().unwrap().flatten().collect();
    assert_eq!(kept.len(), proven);
    for file in kept {
        // Counted again, without the demo's own eyes: sound, at least three seconds of zeros, sound.
        let recording = Recording::read_wav(&file.path()).unwrap();
        let stretches = recording.stretches();
        let silence = |stretch: &&_| -> bool {
            let stretch: &truemute_pipewire::rehearsal::Stretch = stretch;
            stretch.silent && stretch.start > 48_000 && stretch.frames > 3 * 48_000
        };
        assert_eq!(stretches.iter().filter(silence).count(), 1, "{stretches:?}");
    }
    assert_gone(&out);
}

#[test]
fn an_interrupt_ends_it_in_order() {
    for signal in [Signal::INT, Signal::TERM] {
        let mut child = demo()
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut out = String::new();
        while !out.contains("MUTED") {
            out.push_str(&lines.next().unwrap().unwrap());
            out.push('\n');
        }
        kill_process(Pid::from_child(&child), signal).unwrap();
        let output = child.wait_with_output().unwrap();
        let (_, err) = texts(&output);
        assert_eq!(output.status.code(), Some(1), "{err}");
        assert!(err.contains("Interrupted"), "{err}");
        assert_gone(&out);
    }
}

#[test]
fn a_killed_demo_leaves_no_process() {
    let mut child = demo().stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut out = String::new();
    while !out.contains("LIVE") {
        out.push_str(&lines.next().unwrap().unwrap());
        out.push('\n');
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_no_process(&out);
    // The directory is swept by whoever starts a private server next.
    let again = demo().output().unwrap();
    assert!(again.status.success(), "{}", texts(&again).1);
    assert_gone(&out);
}

#[test]
fn missing_programs_are_named_with_their_packages() {
    let empty = tempfile::tempdir().unwrap();
    let output = demo().env("PATH", empty.path()).output().unwrap();
    let (_, err) = texts(&output);
    assert_eq!(output.status.code(), Some(1), "{err}");
    assert!(err.contains("apt install"), "{err}");
    assert!(
        err.contains("pipewire-pulse") && err.contains("wireplumber"),
        "{err}"
    );
}

fn demo() -> Command {
    let mut command = Command::new(executable());
    command.arg("demo").stdin(Stdio::null());
    command
}

fn texts(output: &Output) -> (String, String) {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

/// Neither the private directory nor the daemon that the demo named is there any more.
fn assert_gone(out: &str) {
    let place = word_after(out, "pipewire-pulse in ");
    assert!(!Path::new(place).exists(), "{place}");
    assert_no_process(out);
}

fn assert_no_process(out: &str) {
    let pid: i32 = word_after(out, "truemute, process ").parse().unwrap();
    let pid = Pid::from_raw(pid).unwrap();
    let gone = || test_kill_process(pid).is_err();
    assert!(
        wait_until(Duration::from_secs(5), gone),
        "the daemon lives on"
    );
}

fn word_after<'a>(text: &'a str, lead: &str) -> &'a str {
    let start = text.find(lead).unwrap() + lead.len();
    text[start..].split_whitespace().next().unwrap()
}
