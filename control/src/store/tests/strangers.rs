//! What can stand where the history should: nothing, a link, damage, a stranger's database, that of a later version.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};

use rusqlite::Connection;

use super::super::{StoreError, file};
use super::*;
use crate::daemon::History;

#[test]
fn a_link_is_not_followed() {
    let (directory, path) = place();
    let elsewhere = directory.path().join("elsewhere.sqlite");
    history_of_100(&elsewhere);
    fs::set_permissions(&elsewhere, fs::Permissions::from_mode(0o644)).unwrap();
    let before = fs::read(&elsewhere).unwrap();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    symlink(&elsewhere, &path).unwrap();

    let recorder = start(&path);
    let warning = recorder.warnings().join("\n");
    assert!(warning.contains("symbolic link"), "{warning}");
    record(&recorder, 2, 9);
    assert_eq!(counted(&recorder), 9, "in memory");
    assert!(recorder.end().is_err());
    let error = Reader::open(&path).unwrap_err();
    assert!(matches!(error, StoreError::Unusable { .. }), "{error}");
    assert_eq!(fs::read(&elsewhere).unwrap(), before);
    let mode = fs::metadata(&elsewhere).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o644);

    // Put there while the history is open.
    fs::remove_file(&path).unwrap();
    let recorder = start(&path);
    record(&recorder, 3, 5);
    wait_until("the pulls in the file", || stored_pulls(&path) == (0, 5));
    let own = path.with_file_name("own.sqlite");
    fs::rename(&path, &own).unwrap();
    symlink(&own, &path).unwrap();
    record(&recorder, 3, 8);
    wait_until("the warning", || {
        recorder.warnings().join("\n").contains("symbolic link")
    });
}

#[test]
fn a_history_that_is_deleted_while_in_use_is_begun_anew() {
    let (_directory, path) = place();
    let recorder = start(&path);
    record(&recorder, 1, 100);
    wait_until("the pulls in the file", || stored_pulls(&path) == (0, 100));
    for suffix in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(file::with_suffix(&path, suffix));
    }
    record(&recorder, 1, 120);
    wait_until("the new pulls in a new file", || {
        path.exists() && counted(&recorder) == 20
    });
    assert!(
        recorder.warnings()[0].contains("moved or deleted"),
        "{:?}",
        recorder.warnings()
    );
    recorder.end().unwrap();
    assert_eq!(stored_pulls(&path), (0, 20));
}

/// The names of databases beside the history that were set aside, without their logs.
fn aside(path: &Path) -> Vec<String> {
    let names = fs::read_dir(path.parent().unwrap()).unwrap();
    let name = |entry: fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
    names
        .map(|entry| name(entry.unwrap()))
        .filter(|name| name.contains(".damaged-") && !name.ends_with("-wal"))
        .collect()
}

#[test]
fn a_file_of_garbage_is_set_aside() {
    let (_directory, path) = place();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    for garbage in [
        &[0xaa; 20_000][..],
        b"hello",
        b"SQLite format 3\0 and then nonsense",
    ] {
        fs::write(&path, garbage).unwrap();
        let error = Reader::open(&path).map(|_| ()).unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
        let recorder = start(&path);
        let warning = recorder.warnings().join("\n");
        assert!(warning.contains("set aside as"), "{warning}");
        record(&recorder, 1, 9);
        recorder.end().unwrap();
        assert_eq!(stored_pulls(&path), (0, 9));
        let kept = path.with_file_name(&aside(&path)[0]);
        assert_eq!(fs::read(&kept).unwrap(), garbage);
        fs::remove_file(kept).unwrap();
        fs::remove_file(&path).unwrap();
    }
}

#[test]
fn damage_is_met_with_a_new_file_wherever_it_lies() {
    for page in 0..12 {
        let (_directory, path) = place();
        history_of_100(&path);
        let damaged = OpenOptions::new().write(true).open(&path).unwrap();
        let length = damaged.metadata().unwrap().len();
        // Page 1 keeps its header, so that the damage is found late.
        let (start_at, width) = if page == 0 {
            (100, 3996)
        } else {
            (page * 4096, 4096)
        };
        if start_at >= length {
            break;
        }
        damaged.write_all_at(&vec![0xaa; width], start_at).unwrap();
        let recorder = start(&path);
        record(&recorder, 2, 9);
        wait_until("a sum", || recorder.sums(Some(0)).is_ok());
        // Recorded before the damage was met, or after it.
        record(&recorder, 2, 10);
        assert!(recorder.sums(None).is_ok());
        let _ = recorder.end();
        assert!(Connection::open(&path).is_ok());
    }
}

#[test]
fn a_newer_history_is_neither_read_nor_changed() {
    let (_directory, path) = place();
    history_of_100(&path);
    let newer = Connection::open(&path).unwrap();
    newer.pragma_update(None, "user_version", 99).unwrap();
    newer.close().unwrap();
    let before = fs::read(&path).unwrap();
    let recorder = start(&path);
    let warning = recorder.warnings().join("\n");
    assert!(
        warning.contains("format 99") && warning.contains("Update truemute"),
        "{warning}"
    );
    record(&recorder, 2, 5);
    assert_eq!(recorder.clients().clients[0].muted.pulls, 5);
    assert!(recorder.end().is_err());
    assert_eq!(fs::read(&path).unwrap(), before);
    assert!(matches!(
        Reader::open(&path).unwrap_err(),
        StoreError::Newer {
            found: 99,
            known: 2,
            ..
        }
    ));
    assert_eq!(aside(&path), Vec::<String>::new());
}

#[test]
fn a_strangers_database_is_left_alone() {
    let (_directory, path) = place();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let stranger = Connection::open(&path).unwrap();
    stranger
        .execute_batch("CREATE TABLE theirs (x); INSERT INTO theirs VALUES (1);")
        .unwrap();
    stranger.close().unwrap();
    let before = fs::read(&path).unwrap();
    let recorder = start(&path);
    record(&recorder, 1, 5);
    assert!(recorder.end().unwrap_err().contains("another program"));
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn there_may_be_no_history_to_read() {
    let (_directory, path) = place();
    assert!(matches!(
        Reader::open(&path).unwrap_err(),
        StoreError::Missing { .. }
    ));
    assert!(!path.exists());
}
