//! Polkit's authority, which asks the user in person (control/packaging/polkit). It is asked through pkcheck(1), polkit's own
//! program.

use std::fs;
use std::process::Command;
use std::time::Duration;

use crate::lock::{PATIENCE, Verdict};
use crate::tool;

/// Why there is no lock here, and what to do.
pub(crate) const NO_AUTHORITY: [&str; 2] = [
    "There is no lock without polkit, which would ask whoever unlocks",
    "Install it (Debian: polkitd), and org.truemute.policy into /usr/share/polkit-1/actions.",
];

/// The action as polkit knows it.
const ACTION: &str = "org.truemute.unlock";

/// An authority that asks nobody answers within milliseconds, and within a second or two if the bus has to start it.
const WITHOUT_ASKING: Duration = Duration::from_secs(10);

/// See [`crate::lock::verdict`].
pub(crate) fn verdict(pid: u32, uid: u32, ask_the_user: bool) -> Verdict {
    // With its start, another process of the same number is not taken for it.
    let Some(start) = started(pid) else {
        return Verdict::Denied;
    };
    let mut command = Command::new("pkcheck");
    command
        .args(["--action-id", ACTION, "--process"])
        .arg(format!("{pid},{start},{uid}"))
        .args(ask_the_user.then_some("--allow-user-interaction"));
    let patience = if ask_the_user {
        PATIENCE
    } else {
        WITHOUT_ASKING
    };
    let said = match tool::ask(command, patience) {
        Ok(said) => said,
        Err(error) => return Verdict::Nobody(format!("pkcheck: {error}")),
    };
    let Some(status) = said.status else {
        return match ask_the_user {
            true => Verdict::Denied,
            false => Verdict::Nobody("it does not answer".to_owned()),
        };
    };
    // pkcheck(1): 1 not authorized, 2 not without a challenge, 3 dismissed; more is an error.
    match status.code() {
        Some(0) => Verdict::Granted,
        Some(1..=3) => Verdict::Denied,
        _ => Verdict::Nobody(said.errors),
    }
}

/// When the process started, in clock ticks since boot: field 22 of proc_pid_stat(5). The name in field 2 may hold anything.
fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields = stat.rsplit_once(')')?.1;
    fields.split_whitespace().nth(19)?.parse().ok()
}
