//! The host's own checks: a driver that does wrong is found out, each time with the words that say what it did.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use truemute_tests::nt_host;

/// What the driver is told to do, and what the host must say. Nothing: all is well.
const FAULTS: [(&str, Option<&str>); 26] = [
    ("nothing", None),
    ("leak", Some("leak: 100 bytes with tag Fult")),
    ("overrun", Some("memory before or behind 100 bytes")),
    ("far-overrun", Some("an access beyond 100 bytes")),
    ("underrun", Some("memory before or behind 100 bytes")),
    ("wrong-tag", Some("is freed with another")),
    ("use-after-free", Some("use after free of 100 bytes")),
    ("double-free", Some("double free of 100 bytes")),
    ("foreign-free", Some("was never allocated")),
    (
        "passive-call-at-dispatch",
        Some("IoCreateSymbolicLink at interrupt level 2"),
    ),
    (
        "paged-at-dispatch",
        Some("a page fault at DISPATCH_LEVEL in 100 bytes"),
    ),
    ("lock-kept", Some("returns with 1 spin locks held")),
    ("lock-twice", Some("deadlock: a spin lock is taken")),
    ("level-kept", Some("interrupt level 0 and returns at 2")),
    ("timer-left", Some("a timer is left that will fire")),
    (
        "timer-deleted-without-wait",
        Some("ExDeleteTimer does not wait"),
    ),
    ("null", Some("an access to 0x")),
    ("executes-data", Some("signal 11: an access to")),
    ("completes-twice", Some("a request is completed twice")),
    ("reads-completed-request", Some("returns 0xcdcdcdcd")),
    ("never-completes", Some("whoever sent it waits for ever")),
    ("other-status", Some("and is completed with 0")),
    ("says-too-much", Some("says that it gave 65 bytes of 64")),
    (
        "gives-what-it-never-wrote",
        Some("gives bytes that it never wrote"),
    ),
    ("stops-the-system", Some("the driver stops the system")),
    ("keeps-a-name", Some("the driver leaves the name")),
];

/// Lets the driver do it, and gives whether the host was content and what it said.
fn talk(driver: &Path, orders: &str) -> (bool, String) {
    let mut command = Command::new(nt_host::host());
    command
        .arg(driver)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = command.spawn().expect("the host starts");
    let mut pipe = child.stdin.take().expect("a pipe");
    // It may have ended before it read everything.
    let _ = pipe.write_all(orders.as_bytes());
    drop(pipe);
    let output = child.wait_with_output().expect("the host ends");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.success(), said)
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn every_fault_is_found_and_named() {
    let (_folder, driver) = nt_host::faulty(&[]);
    for (fault, expected) in FAULTS {
        let orders = format!(
            "open Faulty console rw\nioctl 0 0x80006000 64 {}\nadvance 1000000\nclose 0\nunload\nquit\n",
            hex(fault)
        );
        let (content, said) = talk(&driver, &orders);
        assert_eq!(content, expected.is_none(), "{fault}:\n{said}");
        let expected = expected.unwrap_or("0 failed");
        assert!(said.contains(expected), "{fault}:\n{said}");
    }
}

#[test]
fn what_the_host_does_not_know_cannot_be_imported() {
    let (_folder, driver) = nt_host::faulty(&["-DUNKNOWN_IMPORT"]);
    let (content, said) = talk(&driver, "quit\n");
    assert!(!content);
    let expected =
        "imports IoReportDetectedDevice from ntoskrnl.exe, which this host does not know";
    assert!(said.contains(expected), "{said}");
}

#[test]
fn what_the_host_does_not_know_cannot_be_asked_for_by_name() {
    let (_folder, driver) = nt_host::faulty(&["-DUNKNOWN_NAME"]);
    let (content, said) = talk(&driver, "unload\nquit\n");
    assert!(!content);
    let expected = "asks for IoReportDetectedDevice at run time, which this host does not know";
    assert!(said.contains(expected), "{said}");
}

#[test]
fn who_may_open_a_device_is_decided_by_its_access_list() {
    let (_folder, driver) = nt_host::faulty(&[]);
    // What IoCreateDevice gives lets everybody in; a handle for reading cannot send what needs a right to write.
    let orders =
        "open Faulty guest r\nioctl 0 0x8000a000 64\nopen Nobody guest r\nclose 0\nunload\nquit\n";
    let (content, said) = talk(&driver, orders);
    assert!(content, "{said}");
    let answers: Vec<_> = said.lines().skip(1).collect();
    assert_eq!(answers[0], r#"{"status":0,"handle":0}"#);
    assert!(answers[1].contains(&0xC000_0022u32.to_string()), "{said}");
    assert!(answers[2].contains(&0xC000_0034u32.to_string()), "{said}");
}
