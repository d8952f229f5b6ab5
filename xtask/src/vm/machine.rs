//! One run of the emulated machine: a PC with two cores, a screen nobody sees, and a sound card whose microphone hears a
//! ramp. What its checks say comes over a serial line, as lines of JSON.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::image::Image;
use super::outcome::Outcomes;
use super::waking::Waking;
use crate::process::Ended;
use crate::report::{Progress, Tail};
use crate::workspace::Workspace;

/// 10 minutes are promised for a run on a quiet machine.
const LIMIT: Duration = Duration::from_secs(20 * 60);
const RATE: u32 = 48_000;
/// The microphone's ramp: so many frames of each value from 1 on, 10 s in all. tests/vm/ramp.rs reads it.
const FRAMES_A_VALUE: u64 = 16;
const VALUES: u64 = 30_000;

/// Boots, lets the checks run, and returns when the machine has switched itself off.
pub(super) fn run(
    workspace: &Workspace,
    progress: &mut Progress,
    image: &Image,
    folder: &Path,
    payload: &Path,
    outcomes: &mut Outcomes,
) -> Result<Ended> {
    let log = workspace.new_log("vm")?;
    let programs = disk(workspace, progress, folder, payload)?;
    let microphone = microphone(folder)?;
    progress.begin(
        "machine",
        "boots Debian 13, twice (up to ten minutes, longer on a busy host)",
    );
    // KVM is not used even where it is there: nested, it was seen to hang, and a second way would have to be tried too.
    let mut command = Command::new("qemu-system-x86_64");
    command.args(["-accel", "tcg,thread=multi", "-cpu", "max"]);
    command.args(["-M", "q35", "-m", "2G", "-smp", "2"]);
    command.args(["-display", "none", "-vga", "std", "-nic", "none"]);
    for disk in [&image.disk, &programs] {
        let mut drive = std::ffi::OsString::from("if=virtio,format=raw,snapshot=on,file=");
        drive.push(disk);
        command.arg("-drive").arg(drive);
    }
    // Without a length of its own ALSA's null device has the longest buffer there is: filling it kept the machine from running
    // for up to 11 s at each opening, and the guest's driver gave up (QEMU 7.2).
    command.args([
        "-audiodev",
        &format!(
            "alsa,id=sound,\
             in.dev=microphone,in.frequency={RATE},in.channels=1,in.try-poll=off,in.buffer-length=40000,\
             out.dev=nowhere,out.try-poll=off,out.buffer-length=40000"
        ),
    ]);
    command.args(["-device", "ich9-intel-hda"]);
    command.args(["-device", "hda-micro,audiodev=sound"]);
    command.env("ALSA_CONFIG_PATH", microphone);
    command.arg("-kernel").arg(&image.kernel);
    command.arg("-initrd").arg(&image.initrd);
    // A kernel that panics starts again. The emulation makes that happen now and then while it boots: it can run code that the
    // kernel is just rewriting ("Oops: int3", seen with three emulated cores).
    command.args(["-append", "root=/dev/vda rw console=ttyS0 quiet panic=-1"]);
    // ttyS0 is the kernel's, ttyS1 what the checks say, ttyS2 the journal.
    for line in ["console.log", "", "journal.log"] {
        let mut to = std::ffi::OsString::from("file:");
        to.push(folder.join(line));
        command
            .arg("-serial")
            .arg(if line.is_empty() { "stdio".into() } else { to });
    }
    let waking = Waking::of(&mut command)?;
    let ended = progress.run(command, &log, LIMIT, |line| outcomes.take(line))?;
    drop(waking);
    progress.end();
    if !ended.ok() && outcomes.is_empty() {
        bail!("the machine did not start ({ended}):\n{}", Tail::of(&log));
    }
    Ok(ended)
}

/// A disk with the programs to check.
fn disk(
    workspace: &Workspace,
    progress: &mut Progress,
    folder: &Path,
    payload: &Path,
) -> Result<PathBuf> {
    let log = workspace.new_log("vm-disk")?;
    let disk = folder.join("programs");
    let mut command = Command::new(
        crate::workspace::program("mkfs.ext4")
            .context("mkfs.ext4 is missing. Install e2fsprogs")?,
    );
    command
        .arg("-q")
        .arg("-d")
        .arg(payload)
        .arg(&disk)
        .arg("512M");
    progress.begin("disk", "the programs to check");
    let ended = progress.run(command, &log, Duration::from_secs(60), |_| {})?;
    progress.end();
    if !ended.ok() {
        bail!("cannot make a disk ({ended}):\n{}", Tail::of(&log));
    }
    Ok(disk)
}

/// Settings of ALSA, which QEMU records from: a device that reads a file instead of hardware. Each opening starts the file
/// anew, so it is as long as a run may be. No sample of it is zero: silence that comes out was made on the way.
fn microphone(folder: &Path) -> Result<PathBuf> {
    let sound = folder.join("microphone.raw");
    let mut file = std::io::BufWriter::new(fs::File::create(&sound)?);
    for frame in 0..u64::from(RATE) * LIMIT.as_secs() {
        let sample = i16::try_from(1 + frame / FRAMES_A_VALUE % VALUES)?;
        file.write_all(&sample.to_le_bytes())?;
    }
    file.flush()?;
    let settings = folder.join("asound.conf");
    let text = format!(
        "pcm.nowhere {{ type null }}\n\
         pcm.microphone {{\n  type file\n  format raw\n  slave.pcm nowhere\n  file /dev/null\n  infile \"{}\"\n}}\n",
        sound.display()
    );
    fs::write(&settings, text)?;
    Ok(settings)
}
