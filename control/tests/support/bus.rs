//! A system bus of a test's own, and programs that end with their owner.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::wait_for;

/// A child that ends with its owner.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts it with nothing to read and nobody to write to.
pub fn start(mut command: Command) -> Running {
    command.stdin(Stdio::null()).stdout(Stdio::null());
    Running(command.stderr(Stdio::null()).spawn().unwrap())
}

/// The bus's address, for DBUS_SYSTEM_BUS_ADDRESS.
pub fn address(dir: &Path) -> String {
    format!("unix:path={}/bus", dir.display())
}

/// A bus in `dir`, on which everybody may do everything.
pub fn system_bus(dir: &Path) -> Running {
    let config = format!(
        "<!DOCTYPE busconfig PUBLIC \"-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN\" \
         \"http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd\"><busconfig><type>system</type>\
         <listen>{}</listen><auth>EXTERNAL</auth><policy context=\"default\"><allow send_destination=\"*\"/>\
         <allow receive_sender=\"*\"/><allow own=\"*\"/><allow user=\"*\"/></policy></busconfig>",
        address(dir)
    );
    fs::write(dir.join("bus.conf"), config).unwrap();
    let mut command = Command::new("dbus-daemon");
    command.args(["--nofork", "--nopidfile"]);
    command.arg(format!("--config-file={}", dir.join("bus.conf").display()));
    let daemon = start(command);
    wait_for("the bus", || UnixStream::connect(dir.join("bus")).ok());
    daemon
}
