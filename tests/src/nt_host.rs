//! The host for Windows drivers, `nt-host` (tests/nt-host/, in C): a Windows kernel as far as an audio driver sees one. What a driver
//! may not do is judged there; here is only how it is started, and the driver that does wrong on purpose.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;
use tempfile::TempDir;

use crate::c_host::{Host, Session};

/// Where the driver lies, for tests and the benchmark. `cargo xtask test nt` builds it and says so.
pub const DRIVER: &str = "TRUEMUTE_WINDOWS_DRIVER";

/// MinGW's compiler, as Debian calls it.
const MINGW: &str = "x86_64-w64-mingw32-gcc";
/// Where Debian keeps the kernel's headers for it.
const KERNEL_HEADERS: &str = "/usr/x86_64-w64-mingw32/include/ddk";

/// TrueMute's driver, unchanged as it is shipped but for its signature.
///
/// # Panics
/// If nobody built it.
pub fn driver() -> PathBuf {
    let path = std::env::var_os(DRIVER);
    let missing = format!("{DRIVER} names no driver; `cargo xtask test nt` builds it");
    PathBuf::from(path.expect(&missing))
}

/// The compiled host.
///
/// # Panics
/// If the compiler fails or warns.
pub fn host() -> &'static Path {
    static HOST: OnceLock<Host> = OnceLock::new();
    HOST.get_or_init(|| Host::compile("nt-host")).program()
}

/// A conversation with a host (tests/nt-host/session.c lists the orders) in which this driver was loaded, and what its
/// `DriverEntry` returned. The performance counter has so many ticks a second, and the system lacks these functions.
///
/// # Panics
/// If the host does not load it.
pub fn session(driver: &Path, counter_hz: u64, lacks: &[&str]) -> (Session, Value) {
    let mut command = Command::new(host());
    command.arg(driver).arg(counter_hz.to_string()).args(lacks);
    Session::start(command)
}

/// MinGW's compiler, with the kernel's headers.
pub fn mingw() -> Command {
    let mut command = Command::new(MINGW);
    command.args(["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O1"]);
    command.arg(format!("-I{KERNEL_HEADERS}"));
    command.args(["-D_WIN32_WINNT=0x0A00", "-DNTDDI_VERSION=0x0A000000"]);
    command
}

/// The driver that does wrong on purpose (tests/nt-host/drivers/faulty.c), built with these definitions, in a folder.
///
/// # Panics
/// If it cannot be built.
pub fn faulty(definitions: &[&str]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let driver = folder.path().join("faulty.sys");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("nt-host/drivers/faulty.c");
    let mut command = mingw();
    command.args(definitions).args(["-shared", "-nostdlib"]);
    command.args(["-Wl,--subsystem,native", "-Wl,-e,DriverEntry"]);
    command.args(["-Wl,--dynamicbase", "-Wl,--nxcompat", "-o"]);
    command
        .arg(&driver)
        .arg(source)
        .args(["-lntoskrnl", "-lhal"]);
    let output = command.output().expect("MinGW's compiler starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    (folder, driver)
}
