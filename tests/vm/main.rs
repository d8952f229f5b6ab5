//! Runs inside the virtual machine of `cargo xtask vm`, as root, after each boot: does with TrueMute what a person does, and
//! says what came of it, one JSON object a line on the second serial port. Before the first reboot and after it are two
//! lists of checks, both here; how each is done lies in `checks`.

mod before_and_after;
mod card;
mod checks;
mod keyboard;
mod person;
mod ramp;
mod recorder;
mod report;
mod wait;

use std::path::Path;
use std::process::{Command, ExitCode};

use checks::unstarved;
use checks::{daemon_faults, device, guard, hotkey, installing, loopback, reboot, sleep};
use report::Report;

/// Exists from the first reboot on. What is written to the disk lives as long as the run.
const REBOOTED: &str = "/var/lib/truemute-vm-rebooted";

fn main() -> ExitCode {
    let mut report = match Report::open() {
        Ok(report) => report,
        Err(error) => {
            eprintln!("cannot report: {error}");
            return ExitCode::FAILURE;
        }
    };
    let rebooted = Path::new(REBOOTED).exists();
    let again = if rebooted {
        after_the_reboot(&mut report);
        false
    } else {
        report.system();
        first_boot(&mut report)
    };
    let then = if again { "reboot" } else { "poweroff" };
    if !again {
        report.complete();
    } else if let Err(error) = std::fs::write(REBOOTED, "") {
        eprintln!("cannot note that the next boot is not the first: {error}");
    }
    report.journal();
    match Command::new("systemctl").arg(then).status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// Returns whether there is anything to look at after a reboot.
fn first_boot(report: &mut Report) -> bool {
    if !report.check("login", installing::login) || !report.check("install", installing::install) {
        return false;
    }
    report.check("after the installation", installing::works);
    report.check("names from inside the unit", installing::identity);
    report.check("record from the card", device::record);
    report.check("mute closes the card", device::mute_closes);
    report.check("unmute opens it again", device::unmute_opens);
    report.check("hotkey on X11", hotkey::toggles);
    report.check("unplugged while live, plugged in again", || {
        unstarved(device::unplug_live)
    });
    report.check(
        "unplugged while muted, plugged in again",
        device::unplug_muted,
    );
    report.check("suspend to RAM while muted", sleep::muted_over);
    report.check("suspend to RAM while live", sleep::live_over);
    report.check("kill -9 while muted", daemon_faults::killed_muted);
    report.check("kill -9 while live", daemon_faults::killed_live);
    report.check("hang while muted", daemon_faults::hung_muted);
    report.check("hang while live", daemon_faults::hung_live);
    report.check(
        "card opened behind the server's back",
        guard::behind_the_server,
    );
    report.check("real mic recorded past TrueMute", guard::past_truemute);
    report.check("the same with guard = \"enforce\"", guard::enforced);
    report.check("hold_device = true", guard::held);
    report.check("mute_hardware = true", guard::in_hardware);
    report.check("snd-aloop as the real mic", loopback::from_end_to_end);
    report.check("mute, then reboot", reboot::prepare);
    true
}

fn after_the_reboot(report: &mut Report) {
    report.check("after the reboot", reboot::comes_up_muted);
    report.check("uninstall", installing::uninstall);
    report.check("the card without TrueMute", device::without_truemute);
}
