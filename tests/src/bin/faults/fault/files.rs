//! State, history and configuration are damaged while the daemon is away.

use std::fs;
use std::path::PathBuf;

use rustix::process::Signal;

use super::{AWAY, Fault, muted};
use crate::Result;
use crate::field::{Field, outage};

/// What a file can become: nothing, garbage, the beginning of what it was.
const DAMAGES: [fn(Vec<u8>) -> Vec<u8>; 3] = [
    |_| Vec::new(),
    |old| {
        old.iter()
            .map(|byte| byte.wrapping_mul(151).wrapping_add(91))
            .collect()
    },
    |mut old| {
        old.truncate(old.len() / 2);
        old
    },
];

pub(super) fn add(faults: &mut Vec<Fault>) {
    faults.push(muted("state: lost, damaged, cut off", |field| {
        damage(field, |name| name.ends_with(".json"))
    }));
    faults.push(muted("history: lost, damaged, cut off", |field| {
        damage(field, |name| {
            name.contains(".db") || name.contains(".sqlite")
        })
    }));
    faults.push(muted("configuration: damaged", |field| {
        field.end_daemon(Signal::KILL)?;
        if !field.start_refused_daemon("start = \"live\"\nwhile_mu")? {
            return Err("the daemon runs with a damaged configuration".into());
        }
        // The twin is there meanwhile.
        outage(AWAY);
        field.start_daemon()
    }));
}

/// Damages the files of the daemon's state that `is_it` chooses, in each way, each time while it is away.
fn damage(field: &mut Field, is_it: fn(&str) -> bool) -> Result<()> {
    for damaged in DAMAGES {
        outage(AWAY / 2);
        field.end_daemon(Signal::KILL)?;
        let files = files(field, is_it)?;
        if files.is_empty() {
            return Err("there is no such file to damage".into());
        }
        for file in files {
            fs::write(&file, damaged(fs::read(&file)?))?;
        }
        field.start_daemon()?;
    }
    Ok(())
}

fn files(field: &Field, is_it: fn(&str) -> bool) -> Result<Vec<PathBuf>> {
    let folder = field.server.directory().join("state/truemute");
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if is_it(&entry.file_name().to_string_lossy()) {
            files.push(entry.path());
        }
    }
    Ok(files)
}
