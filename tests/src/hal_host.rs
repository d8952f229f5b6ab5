//! The host for the macOS plug-in, `hal-host` (tests/hal-host/, in C), run as one of its checks or as a conversation. What a
//! plug-in has to do is judged there; here is only how it is started.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::c_host::{Host, Session};

/// What the plug-in's Info.plist names as its factory.
pub const FACTORY: &str = "TrueMute_Create";

/// The plug-in as a shared object, which lies beside the tests that depend on it.
///
/// # Panics
/// If it is not there.
pub fn plugin() -> PathBuf {
    let own = std::env::current_exe().expect("a program has an executable");
    let beside = own.with_file_name("libtruemute_hal.so");
    // Cargo leaves it there when it builds no more than a program that depends on it.
    let below = own.with_file_name("deps").join("libtruemute_hal.so");
    let found = [&beside, &below].into_iter().find(|file| file.exists());
    let missing = format!("{} is missing; build the workspace", beside.display());
    found.expect(&missing).clone()
}

/// The compiled host.
///
/// # Panics
/// If the compiler fails or warns.
pub fn host() -> &'static Path {
    static HOST: OnceLock<Host> = OnceLock::new();
    HOST.get_or_init(|| Host::compile("hal-host")).program()
}

/// The host with the plug-in, told to do `what`. The plug-in keeps its socket in `folder`.
pub fn command(folder: &Path, what: &[&str]) -> Command {
    let mut command = Command::new(host());
    command.arg(plugin()).arg(FACTORY).args(what);
    command.env("TMPDIR", folder);
    command
}

/// A conversation with a host (tests/hal-host/session.c lists the orders), whose plug-in keeps its socket in `folder`.
///
/// # Panics
/// If it does not come up.
pub fn session(folder: &Path) -> Session {
    Session::start(command(folder, &["session"])).0
}
