//! What the disk does to the store: crashes, too little space, no permission, age and size. What else can stand in the
//! file's place is in [`super::strangers`].

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::{Command, Stdio};

use rusqlite::Connection;
use truemute_core::observed::ClientState;

use super::super::accounts::{Accounts, MINUTE_NS, Resume};
use super::super::file::{self, File};
use super::super::{StoreError, write};
use super::*;
use crate::daemon::History;
use crate::stats::tests::{SECOND, T0, client, tally};

#[test]
fn a_second_connection_reads_while_the_first_records() {
    let (_directory, path) = place();
    let recorder = start(&path);
    for pulls in 1..=20 {
        record(&recorder, 1, pulls);
        wait_until("the pulls in the file", || {
            stored_pulls(&path) == (0, pulls)
        });
    }
}

#[test]
fn the_history_is_its_users_alone() {
    let (directory, path) = place();
    let parent = path.parent().unwrap();
    fs::create_dir_all(parent).unwrap();
    fs::set_permissions(parent, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(&path, "").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let recorder = start(&path);
    record(&recorder, 1, 1);
    wait_until("the pull in the file", || stored_pulls(&path) == (0, 1));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(parent), 0o700);
    for suffix in ["", "-wal", "-shm"] {
        assert_eq!(mode(&file::with_suffix(&path, suffix)), 0o600, "{suffix}");
    }
    drop(recorder);
    drop(directory);
}

#[test]
fn a_huge_history_does_not_hold_a_reader_or_the_recorder() {
    let (_directory, path) = place();
    history_of_100(&path);
    let more = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
        INSERT INTO minutes SELECT minute + i, client, 0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0 FROM minutes, n";
    Connection::open(&path).unwrap().execute(more, []).unwrap();
    let impatient = Pace {
        answer: Duration::ZERO,
        ..FAST
    };
    let recorder = Recorder::start_at_pace(&path, OPTIONS, impatient).unwrap();
    let error = recorder.sums(Some(0)).unwrap_err();
    assert!(matches!(error, StoreError::TooLong { .. }), "{error}");
    // The recorder itself has all the time it needs.
    record(&recorder, 2, 7);
    recorder.end().unwrap();
    assert_eq!(stored_pulls(&path), (0, 100 + 20_000 + 7));
    assert_eq!(counted(&start(&path)), 100 + 20_000 + 7);
}

#[test]
fn nothing_is_written_while_nothing_happens() {
    let (_directory, path) = place();
    let recorder = start(&path);
    record(&recorder, 1, 5);
    wait_until("the pulls in the file", || stored_pulls(&path) == (0, 5));
    let of_file = |suffix| {
        let found = fs::metadata(file::with_suffix(&path, suffix)).unwrap();
        (found.mtime(), found.mtime_nsec(), found.len())
    };
    let before = (of_file(""), of_file("-wal"));
    for _ in 0..50 {
        record(&recorder, 1, 5);
        // The thread has seen it.
        assert_eq!(counted(&recorder), 5);
    }
    assert_eq!((of_file(""), of_file("-wal")), before);
}

/// Run by the next test in a process of its own.
#[test]
#[ignore = "the child of another test"]
fn child_that_records_until_killed() {
    let path = PathBuf::from(std::env::var_os("TRUEMUTE_TEST_HISTORY").unwrap());
    let recorder = Recorder::start(&path, OPTIONS).unwrap();
    let mut log = fs::File::create(path.with_extension("log")).unwrap();
    for step in 1.. {
        record(&recorder, 1, step * 10);
        writeln!(log, "{} {}", Stamp::now().monotonic_ns, step * 10).unwrap();
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_kill_loses_at_most_the_last_second() {
    let (_directory, path) = place();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--ignored",
            "--exact",
            "store::tests::disk::child_that_records_until_killed",
        ])
        .env("TRUEMUTE_TEST_HISTORY", &path)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let log = || {
        let text = fs::read_to_string(path.with_extension("log")).unwrap_or_default();
        let number = |text: &str| text.parse::<u64>().unwrap();
        let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
        let line = |line: &str| {
            line.split_once(' ')
                .map(|(at, pulls)| (number(at), number(pulls)))
        };
        whole.lines().filter_map(line).collect::<Vec<_>>()
    };
    wait_until("three seconds of records", || {
        log()
            .last()
            .is_some_and(|last| last.0 - log()[0].0 > 3 * SECOND)
    });
    child.kill().unwrap();
    child.wait().unwrap();
    let log = log();
    let (killed_at, last) = *log.last().unwrap();
    // What was recorded a second before the kill. The second second is for a busy machine, where the thread that
    // writes may have to wait for a processor.
    let due = log
        .iter()
        .rev()
        .find(|(at, _)| *at + 2 * SECOND <= killed_at)
        .unwrap()
        .1;
    let (_, stored) = stored_pulls(&path);
    assert!(
        (due..=last + 10).contains(&stored),
        "{due} <= {stored} <= {last}"
    );
    let check: String = Connection::open(&path)
        .unwrap()
        .pragma_query_value(None, "integrity_check", |row| row.get(0))
        .unwrap();
    assert_eq!(check, "ok");
    // And it goes on.
    let recorder = start(&path);
    record(&recorder, 2, 7);
    recorder.end().unwrap();
    assert_eq!(stored_pulls(&path), (0, stored + 7));
}

#[test]
fn a_day_of_ten_clients_takes_less_than_5_mb() {
    let (_directory, path) = place();
    let mut file = File::open(&path).unwrap();
    let started = Stamp {
        wall_ns: T0,
        monotonic_ns: 0,
    };
    let mut accounts = Accounts::new(started, Resume::default());
    let mut clients: Vec<Client> = (1..=10).map(|id| client(id, "conferencing-app")).collect();
    // Two transactions a minute: more do not make more rows, and the log is emptied each megabyte.
    for half_minute in 1..=2 * 24 * 60 {
        let since_start = half_minute * MINUTE_NS / 2;
        for client in &mut clients {
            client.counts.muted = tally(half_minute * 3000);
            client.counts.intervals.p50_us = 10_000;
            client.counts.intervals.p99_us = 10_000 + half_minute;
            client.counts.intervals.max_us = 20_000 + half_minute;
            client.last_pull_ns = Some(T0 + since_start);
        }
        accounts.snapshot(&snapshot(1, T0 + since_start, &clients), since_start);
        let batch = std::mem::take(&mut accounts.pending);
        write::write(&mut file.connection, &batch, T0 + since_start).unwrap();
    }
    let on_disk = || -> u64 {
        let sizes =
            ["", "-wal", "-shm"].map(|suffix| fs::metadata(file::with_suffix(&path, suffix)));
        sizes.iter().flatten().map(|found| found.len()).sum()
    };
    let while_open = on_disk();
    drop(file);
    let (records, _) = Reader::open(&path)
        .unwrap()
        .sums(&Window::default())
        .unwrap();
    assert_eq!(records.len(), 10);
    assert_eq!(records[0].client.counts.muted.pulls, 2 * 24 * 60 * 3000);
    assert_eq!(records[0].connected.muted, 24 * 60 * MINUTE_NS);
    assert!(while_open < 5_000_000, "{while_open} bytes with its log");
    assert!(on_disk() < 2_500_000, "{} bytes", on_disk());
}

#[test]
fn a_full_database_is_told_apart_and_loses_nothing() {
    let (_directory, path) = place();
    let mut file = File::open(&path).unwrap();
    let pages: i64 = file
        .connection
        .pragma_query_value(None, "page_count", |row| row.get(0))
        .unwrap();
    let limit = |file: &File, pages: i64| {
        file.connection
            .pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))
            .unwrap();
    };
    limit(&file, pages);
    let mut accounts = Accounts::new(
        Stamp {
            wall_ns: T0,
            monotonic_ns: 0,
        },
        Resume::default(),
    );
    let clients: Vec<Client> = (0..200).map(|id| client(id, "app")).collect();
    accounts.snapshot(&snapshot(1, T0, &clients), 1);
    let mut pulling = clients;
    for client in &mut pulling {
        client.counts.live = tally(3);
    }
    accounts.snapshot(&snapshot(1, T0, &pulling), 2);
    let batch = std::mem::take(&mut accounts.pending);
    let error = write::write(&mut file.connection, &batch, T0).unwrap_err();
    assert!(matches!(
        file::explain(&path, error),
        StoreError::Full { .. }
    ));
    assert_eq!(stored_pulls(&path), (0, 0));
    // More happens, and then there is space again.
    pulling[0].counts.live = tally(10);
    accounts.snapshot(&snapshot(1, T0 + SECOND, &pulling), SECOND);
    accounts.pending.put_back(batch);
    limit(&file, 100_000);
    write::write(&mut file.connection, &accounts.pending, T0).unwrap();
    assert_eq!(stored_pulls(&path), (199 * 3 + 10, 0));
}

/// Run by the next test, in a mount namespace with a small disk of its own.
#[test]
#[ignore = "the child of another test"]
fn child_that_fills_its_disk() {
    let disk = PathBuf::from(std::env::var_os("TRUEMUTE_TEST_DISK").unwrap());
    let path = disk.join("truemute/history.sqlite");
    let recorder = start(&path);
    record(&recorder, 1, 1);
    wait_until("the first pull in the file", || {
        stored_pulls(&path) == (0, 1)
    });
    let filler = disk.join("filler");
    let mut filling = fs::File::create(&filler).unwrap();
    while filling.write_all(&[7; 512]).is_ok() {}
    let mut pulls = 1;
    wait_until("the warning", || {
        pulls += 1;
        record(&recorder, 1, pulls);
        recorder
            .warnings()
            .iter()
            .any(|warning| warning.contains("full"))
    });
    pulls += 50;
    record(&recorder, 1, pulls);
    assert_eq!(counted(&recorder), pulls, "in memory and file together");
    assert!(stored_pulls(&path).1 < pulls);
    drop(filling);
    fs::remove_file(&filler).unwrap();
    wait_until("no warning", || recorder.warnings().is_empty());
    assert_eq!(stored_pulls(&path), (0, pulls));
    assert_eq!(counted(&recorder), pulls);
    println!("the disk was full and is not any more");
}

#[test]
fn a_full_disk_is_a_warning_until_there_is_space() {
    let directory = tempfile::tempdir().unwrap();
    let run = |script: &str| {
        Command::new("unshare")
            .args(["--map-root-user", "--mount", "sh", "-ec", script])
            .arg(std::env::current_exe().unwrap())
            .env("TRUEMUTE_TEST_DISK", directory.path())
            .output()
    };
    let mount = "mount -t tmpfs -o size=512k tmpfs \"$TRUEMUTE_TEST_DISK\"";
    if !run(mount).is_ok_and(|done| done.status.success()) {
        eprintln!("skipped: no mount namespaces here");
        return;
    }
    let child =
        "exec \"$0\" --ignored --exact --nocapture store::tests::disk::child_that_fills_its_disk";
    let done = run(&format!("{mount}; {child}")).unwrap();
    let told = String::from_utf8_lossy(&done.stdout);
    assert!(
        done.status.success(),
        "{told}{}",
        String::from_utf8_lossy(&done.stderr)
    );
    assert!(
        told.contains("the disk was full and is not any more"),
        "{told}"
    );
}

#[test]
fn without_a_directory_it_counts_in_memory_and_catches_up_later() {
    let directory = tempfile::tempdir().unwrap();
    let blocked = directory.path().join("truemute");
    // Where a file stands there can be no directory; not even for root, whom permissions do not stop.
    fs::write(&blocked, "").unwrap();
    let path = blocked.join("history.sqlite");
    let recorder = start(&path);
    assert_eq!(recorder.warnings().len(), 1);
    record(&recorder, 1, 30);
    assert_eq!(counted(&recorder), 30);
    assert_eq!(recorder.sums(None).unwrap().clients[0].muted.pulls, 30);
    fs::remove_file(&blocked).unwrap();
    wait_until("the pulls in the file", || {
        path.exists() && counted(&recorder) == 30 && recorder.warnings().is_empty()
    });
    assert_eq!(stored_pulls(&path), (0, 30));
}

#[test]
fn a_history_that_cannot_be_written_at_the_end_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let blocked = directory.path().join("truemute");
    fs::write(&blocked, "").unwrap();
    let recorder = start(&blocked.join("history.sqlite"));
    record(&recorder, 1, 30);
    assert!(recorder.end().is_err());
}

#[test]
fn what_is_too_old_is_deleted_and_its_space_given_back() {
    let (_directory, path) = place();
    let day = 24 * 60 * MINUTE_NS;
    let now = Stamp::now();
    let mut file = File::open(&path).unwrap();
    let mut accounts = Accounts::new(
        Stamp {
            wall_ns: 0,
            monotonic_ns: 0,
        },
        Resume::default(),
    );
    let mut old: Vec<Client> = (1..=500).map(|id| client(id, "old")).collect();
    for client in &mut old {
        client.counts.muted = tally(1);
        client.state = ClientState::Gone;
    }
    let mut lost = snapshot(1, now.wall_ns - 40 * day, &old);
    lost.unattributed = tally(5);
    accounts.snapshot(&lost, 1);
    let mut young = client(1, "young");
    young.counts.muted = tally(7);
    accounts.snapshot(&snapshot(2, now.wall_ns - 20 * day, &[young]), 2);
    write::write(
        &mut file.connection,
        &accounts.pending,
        now.wall_ns - 40 * day,
    )
    .unwrap();
    drop(file);
    let before = fs::metadata(&path).unwrap().len();
    assert_eq!(stored_pulls(&path), (0, 507));

    let recorder = start(&path);
    record(&recorder, 3, 1);
    recorder.end().unwrap();
    let (records, unattributed) = Reader::open(&path)
        .unwrap()
        .sums(&Window::default())
        .unwrap();
    let mut apps: Vec<&str> = records
        .iter()
        .map(|record| record.client.who.app.as_str())
        .collect();
    apps.sort_unstable();
    assert_eq!(
        (apps, unattributed),
        (vec!["app", "young"], Tally::default())
    );
    let clients: i64 = Connection::open(&path)
        .unwrap()
        .query_row("SELECT count(*) FROM clients", [], |row| row.get(0))
        .unwrap();
    assert_eq!(clients, 2);
    assert!(fs::metadata(&path).unwrap().len() < before / 2);
}
