//! Memory, descriptors and disk run out, and are there again.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};
use truemute_tests::recorder::RecorderOptions;

use super::{AWAY, Fault, muted};
use crate::Result;
use crate::field::{Field, outage};

/// Clients that come while something is short.
const CROWD: usize = 60;

pub(super) fn add(faults: &mut Vec<Fault>, may_mount: bool) {
    faults.push(muted("daemon: no more memory", |field| {
        let process = field.daemon_id();
        let used = memory(process)?;
        short(field, process, Resource::As, used)
    }));
    faults.push(muted("daemon: no more file descriptors", |field| {
        let process = field.daemon_id();
        let used = descriptors(process)?;
        short(field, process, Resource::Nofile, used)
    }));
    faults.push(muted("PipeWire: no more file descriptors", |field| {
        let process = field.server.pipewire_id();
        let used = descriptors(process)?;
        short(field, process, Resource::Nofile, used)
    }));
    if may_mount {
        faults.push(muted("disk full", disk_full));
    }
}

/// Lets a process have no more than `used` of something while clients come and commands are given.
fn short(field: &mut Field, process: u32, resource: Resource, used: u64) -> Result<()> {
    let pid = Pid::from_raw(process.cast_signed());
    let limit = Rlimit {
        current: Some(used),
        maximum: rustix::process::getrlimit(resource).maximum,
    };
    let usual = prlimit(pid, resource, limit)?;
    let options = RecorderOptions {
        name: "crowd".to_owned(),
        cycles: 0,
        ..RecorderOptions::default()
    };
    // Some may be refused.
    let crowd: Vec<_> = (0..CROWD)
        .map(|_| field.recorders.add(options.clone()))
        .collect();
    for _ in 0..20 {
        // Whatever it answers, or does not.
        let _ = (field.daemon.stats(), field.daemon.mute());
    }
    outage(AWAY);
    drop(crowd);
    // Unless it has ended, and the supervisor has started another.
    let _ = prlimit(pid, resource, usual);
    field.mended();
    field.wait_for_daemon()
}

/// Address space of a process in bytes (proc(5), statm: pages).
fn memory(process: u32) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/statm"))?;
    let pages: u64 = text.split_whitespace().next().unwrap_or_default().parse()?;
    Ok(pages * rustix::param::page_size() as u64)
}

fn descriptors(process: u32) -> Result<u64> {
    Ok(fs::read_dir(format!("/proc/{process}/fd"))?.count() as u64)
}

/// State and history lie on a disk that is full when the gate is muted; the daemon ends and is started again on the full
/// disk. (The mount is seen by this process and its children only, see `main`.)
fn disk_full(field: &mut Field) -> Result<()> {
    let disk = field.server.directory().join("state");
    field.end_daemon(Signal::TERM)?;
    mount(
        "tmpfs",
        &disk,
        "tmpfs",
        MountFlags::empty(),
        Some(c"size=1m"),
    )?;
    let result = on_full_disk(field, &disk);
    // The daemon still has files open there: it goes when the last is closed.
    unmount(&disk, UnmountFlags::DETACH)?;
    result
}

fn on_full_disk(field: &mut Field, disk: &Path) -> Result<()> {
    field.start_daemon()?;
    field.daemon.mute()?;
    let filler = disk.join("filler");
    let mut file = fs::File::create(&filler)?;
    while file.write_all(&[1; 4096]).is_ok() {}
    outage(AWAY);
    field.daemon.mute()?;
    field.end_daemon(Signal::KILL)?;
    outage(AWAY);
    field.start_daemon()
}
