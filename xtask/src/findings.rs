//! What the checks of files made for other systems have in common: a finding, and the search for paths of the machine that made them.

use std::fs;
use std::path::{MAIN_SEPARATOR, Path, PathBuf};

use anyhow::{Result, bail};

use crate::tally::Tally;
use crate::workspace::Workspace;

/// What was looked at, and what is wrong with it.
pub(crate) type Finding = (&'static str, Result<()>);

/// Adds findings to the outcome of a step.
pub(crate) fn count(tally: &mut Tally, findings: Vec<Finding>) {
    for (what, verdict) in findings {
        tally.add(match verdict {
            Ok(()) => Tally::pass(),
            Err(why) => Tally::fail(format!("{what}: {why:#}")),
        });
    }
}

/// Says what is wrong; returns whether nothing is.
pub(crate) fn say(findings: &[Finding]) -> bool {
    for (what, verdict) in findings {
        if let Err(why) = verdict {
            eprintln!("{what}: {why:#}");
        }
    }
    findings.iter().all(|(_, verdict)| verdict.is_ok())
}

/// Fails if one of `files` names a folder of this machine.
pub(crate) fn no_paths(files: &[PathBuf], workspace: &Workspace) -> Result<()> {
    let mut places: Vec<PathBuf> = vec![workspace.root.clone(), workspace.target.clone()];
    places.extend(std::env::home_dir());
    places.extend(std::env::var_os("CARGO_HOME").map(PathBuf::from));
    places.extend(["/home/", "/usr/src/", "/usr/lib/rustlib", "/.cargo/"].map(PathBuf::from));
    for file in files {
        let bytes = fs::read(file)?;
        if let Some(found) = places.iter().find_map(|place| named(&bytes, place)) {
            bail!("{} names {found:?}", file.display());
        }
    }
    Ok(())
}

/// Where `bytes` name something in the folder `place`, with what follows.
fn named(bytes: &[u8], place: &Path) -> Option<String> {
    let place = place.to_string_lossy();
    // The root's home directory is so short that it stands by chance in many a text: with a slash it does not.
    let needle = format!("{}{MAIN_SEPARATOR}", place.trim_end_matches(MAIN_SEPARATOR)).into_bytes();
    let mut windows = bytes.windows(needle.len());
    let at = windows.position(|window| window == needle)?;
    let end = (at + 120).min(bytes.len());
    Some(String::from_utf8_lossy(&bytes[at..end]).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_this_machine_is_found() {
        let place = Path::new("/home/somebody/");
        assert_eq!(named(b"\0rust/core/src/fmt.rs\0/home/other", place), None);
        let found = named(b"\0/home/somebody/truemute/core/src/gate.rs", place);
        assert_eq!(
            found.as_deref(),
            Some("/home/somebody/truemute/core/src/gate.rs")
        );
    }
}
