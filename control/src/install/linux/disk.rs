//! Our files on the disk: which are there, whose they are, and how they get there and away without harm to others'.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::parts::File;
use crate::own_file;

/// Says in the first line of each file whose it is. Whoever takes the line out keeps the file.
const MARK: &str = "Written by truemute install, removed by truemute uninstall.";

/// What lies where a file of ours belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing.
    Nothing,
    /// Exactly our file.
    Same,
    /// Ours, of another version or edited.
    Other,
    /// Not ours.
    Foreign,
}

/// The text of `file` as it is written.
pub(super) fn marked(file: &File) -> String {
    let comment = if file.path.ends_with(".lua") {
        "--"
    } else {
        "#"
    };
    format!("{comment} {MARK}\n{}", file.text)
}

/// What lies at `path`, where `text` belongs.
///
/// # Errors
/// It cannot be read.
pub(super) fn look(path: &Path, text: &str) -> io::Result<Found> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return Err(error),
        // Whoever made a link there manages the file by other means.
        Ok(metadata) if !metadata.is_file() => return Ok(Found::Foreign),
        Ok(_) => {}
    }
    let there = fs::read(path)?;
    Ok(if there == text.as_bytes() {
        Found::Same
    } else if is_ours(&there) {
        Found::Other
    } else {
        Found::Foreign
    })
}

/// Whether a file of this content is ours.
fn is_ours(content: &[u8]) -> bool {
    let first = content.split(|byte| *byte == b'\n').next();
    first.is_some_and(|line| line.ends_with(MARK.as_bytes()))
}

/// Writes the file whole or not at all. Gives the directories that had to be made, outermost first.
///
/// # Errors
/// A directory or the file cannot be made.
pub(super) fn write(path: &Path, text: &str) -> io::Result<Vec<PathBuf>> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    let mut made: Vec<PathBuf> = directory
        .ancestors()
        .take_while(|it| !it.exists())
        .map(Path::to_owned)
        .collect();
    made.reverse();
    fs::create_dir_all(directory)?;
    own_file::replace(path, text.as_bytes(), 0o644)?;
    Ok(made)
}

/// Removes the file if it is ours; says whether it was.
///
/// # Errors
/// It cannot be read or removed.
pub(super) fn remove(path: &Path) -> io::Result<bool> {
    match look(path, "")? {
        Found::Nothing | Found::Foreign => Ok(false),
        Found::Same | Found::Other => fs::remove_file(path).map(|()| true),
    }
}

/// Removes the directories that are empty, innermost first.
pub(super) fn remove_empty(directories: &[PathBuf]) {
    let mut innermost_first = directories.to_vec();
    innermost_first.sort_by_key(|path| std::cmp::Reverse(path.components().count()));
    for directory in innermost_first {
        // One that is not empty stays: somebody else uses it by now.
        let _ = fs::remove_dir(directory);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::install::parts::{self, Wireplumber};

    #[test]
    fn a_file_is_ours_until_its_first_line_goes() {
        let place = tempfile::tempdir().unwrap();
        for file in parts::of_server(Some(Wireplumber::V0_4)) {
            let path = place.path().join(file.path);
            let text = marked(&file);
            assert_eq!(look(&path, &text).unwrap(), Found::Nothing);
            let made = write(&path, &text).unwrap();
            assert_eq!(look(&path, &text).unwrap(), Found::Same);
            fs::write(&path, format!("{text}# more\n")).unwrap();
            assert_eq!(look(&path, &text).unwrap(), Found::Other);
            fs::write(&path, &file.text).unwrap();
            assert_eq!(look(&path, &text).unwrap(), Found::Foreign);
            assert!(!remove(&path).unwrap());
            fs::write(&path, &text).unwrap();
            assert!(remove(&path).unwrap());
            remove_empty(&made);
        }
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_is_no_plain_file_is_not_ours() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("link");
        let target = place.path().join("target");
        fs::write(&target, format!("# {MARK}\n")).unwrap();
        std::os::unix::fs::symlink(&target, &path).unwrap();
        assert_eq!(look(&path, "").unwrap(), Found::Foreign);
        assert!(!remove(&path).unwrap());
        assert!(target.exists());
    }
}
