//! The formats of the file: what was released never changes, older files are brought up to date, and a step that fails
//! changes nothing.

use rusqlite::Connection;

use super::super::StoreError;
use super::super::file::{File, STEPS};
use super::*;
use crate::stats::tests::{client, tally};

/// A history as format 1 wrote it, with rows in every table.
fn format_1(path: &Path) {
    drop(File::open_with(path, &STEPS[..1]).unwrap());
    let old = Connection::open(path).unwrap();
    old.execute_batch(include_str!("history-1.sql")).unwrap();
    old.close().unwrap();
}

fn format_of(path: &Path) -> i64 {
    let file = Connection::open(path).unwrap();
    file.pragma_query_value(None, "user_version", |row| row.get(0))
        .unwrap()
}

#[test]
fn a_history_of_format_1_is_read_and_continued() {
    let (_directory, path) = place();
    format_1(&path);
    // A reader cannot bring it up to date.
    assert!(matches!(
        Reader::open(&path).unwrap_err(),
        StoreError::Older { .. }
    ));
    drop(File::open(&path).unwrap());
    let (records, unattributed) = Reader::open(&path)
        .unwrap()
        .sums(&Window::default())
        .unwrap();
    assert_eq!((records.len(), unattributed.pulls), (2, 4));
    assert_eq!(stored_pulls(&path), (150, 6000));
    // Its first client was still there: the backend counted on while no daemon recorded.
    let recorder = start(&path);
    let mut app = client(1, "zoom");
    app.counts.live = tally(100);
    app.counts.muted = tally(6100);
    recorder.snapshot_at(
        &snapshot(7, Stamp::now().wall_ns, &[app]),
        Stamp::now().monotonic_ns,
    );
    recorder.end().unwrap();
    assert_eq!(stored_pulls(&path), (150, 6100));
}

#[test]
fn a_step_to_the_next_format_keeps_every_row() {
    let (_directory, path) = place();
    format_1(&path);
    let next = "ALTER TABLE clients ADD COLUMN note TEXT; UPDATE clients SET note = app || '!';";
    let steps = [STEPS, &[next]].concat();
    let file = File::open_with(&path, &steps).unwrap();
    let query = "SELECT group_concat(note, ' '), count(*) FROM clients";
    let row = file
        .connection
        .query_row(query, [], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap();
    assert_eq!(row, ("zoom! firefox!".to_owned(), 2));
    drop(file);
    assert_eq!(format_of(&path), 3);
    // The program before that step refuses what it does not know.
    assert!(matches!(
        File::open(&path).unwrap_err(),
        StoreError::Newer {
            found: 3,
            known: 2,
            ..
        }
    ));
}

#[test]
fn a_step_that_fails_changes_nothing() {
    let (_directory, path) = place();
    format_1(&path);
    let broken = "DELETE FROM minutes; ALTER TABLE nowhere ADD COLUMN x;";
    let steps = [STEPS, &[broken]].concat();
    assert!(matches!(
        File::open_with(&path, &steps).unwrap_err(),
        StoreError::Database { .. }
    ));
    // The steps before it are whole.
    assert_eq!(format_of(&path), 2);
    assert_eq!(stored_pulls(&path), (150, 6000));
}

#[test]
fn released_formats_never_change() {
    let (_directory, path) = place();
    let file = File::open_with(&path, &STEPS[..2]).unwrap();
    let mut query = file
        .connection
        .prepare("SELECT sql FROM sqlite_schema WHERE sql NOT NULL ORDER BY name")
        .unwrap();
    let tables: Vec<String> = query
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    insta::assert_snapshot!(tables.join(";\n"));
}
