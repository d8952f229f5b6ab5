//! Who may end `truemute lock`: whom the system's authority lets, which asks the user in person. What is locked, and that it
//! stays so, is the daemon's matter.

use std::time::Duration;

use crate::system;

/// A person who is asked may take this long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// What the authority says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The user was there, or an administrator's rule lets the process.
    Granted,
    /// Not so, or not before somebody is asked.
    Denied,
    /// There is no authority, or it does not know the action; why, as the end of a sentence.
    Nobody(String),
}

/// Asks about the process `pid` of the user `uid`. If the user is to be asked, this waits for the answer, at most two minutes;
/// otherwise ten seconds.
pub fn verdict(pid: u32, uid: u32, ask_the_user: bool) -> Verdict {
    system::verdict(pid, uid, ask_the_user)
}
