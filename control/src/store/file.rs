//! The database file: where it is made, with which permissions and settings, its format and the steps from older
//! formats, and what happens to a damaged one. What stands in the tables is [`super::write`]'s and [`super::read`]'s matter.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use super::StoreError;
use crate::system;

/// Written into the file's header (`PRAGMA application_id`), so that a stranger's database is never touched.
const APPLICATION_ID: i64 = 0x5472_754d;

/// Step N brings a file from format N to N + 1; format 0 is an empty file. Released steps never change.
pub(super) const STEPS: &[&str] = &[include_str!("format-1.sql"), include_str!("format-2.sql")];

/// How long a reader or writer waits for another one's lock. The recorder's transactions take milliseconds.
const BUSY: Duration = Duration::from_secs(2);

/// Steps of SQLite's virtual machine between two looks at the clock: well below a millisecond.
const STEPS_BETWEEN_LOOKS: i32 = 10_000;

/// An open history that can be written.
#[derive(Debug)]
pub(super) struct File {
    pub(super) connection: Connection,
    /// To notice that somebody moved or deleted the file.
    identity: (u64, u64),
}

impl File {
    /// Opens the history for writing; makes it where there is none, and brings an older format up to date.
    pub(super) fn open(path: &Path) -> Result<File, StoreError> {
        File::open_with(path, STEPS)
    }

    pub(super) fn open_with(path: &Path, steps: &[&str]) -> Result<File, StoreError> {
        let identity = make(path).map_err(|cause| unusable(path, cause))?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let sql = |cause| explain(path, cause);
        let mut connection = Connection::open_with_flags(path, flags).map_err(sql)?;
        connection.busy_timeout(BUSY).map_err(sql)?;
        let format = check(&connection, path, steps)?;
        configure(&connection, format).map_err(sql)?;
        migrate(&mut connection, steps).map_err(sql)?;
        Ok(File {
            connection,
            identity,
        })
    }

    /// Reads, and gives up at `deadline`: SQLite's error is then [`ErrorCode::OperationInterrupted`].
    pub(super) fn read_until<T>(
        &mut self,
        deadline: Instant,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let late = move || Instant::now() >= deadline;
        self.connection
            .progress_handler(STEPS_BETWEEN_LOOKS, Some(late))?;
        let done = read(&self.connection);
        self.connection.progress_handler(0, None::<fn() -> bool>)?;
        done
    }

    /// Whether `path` still leads to the open file.
    pub(super) fn is_at(&self, path: &Path) -> bool {
        fs::symlink_metadata(path).is_ok_and(|found| system::identity(&found) == self.identity)
    }
}

/// Opens the history for reading only. Works beside a recorder and without one.
pub(super) fn open_to_read(path: &Path) -> Result<Connection, StoreError> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_symlink() => return Err(unusable(path, a_link())),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
            return Err(StoreError::Missing {
                path: path.to_owned(),
            });
        }
        _ => {}
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let sql = |cause| explain(path, cause);
    let connection = Connection::open_with_flags(path, flags).map_err(sql)?;
    connection.busy_timeout(BUSY).map_err(sql)?;
    let format = check(&connection, path, STEPS)?;
    if format < latest(STEPS) {
        // A reader cannot migrate; the daemon does so at its next start.
        return Err(StoreError::Older {
            path: path.to_owned(),
        });
    }
    Ok(connection)
}

/// Makes the directory and the file where they are missing, closed to everybody else. Gives the file's identity. A link is not
/// followed: it could lead where others read, and taking permissions away would meet a file that is not ours to change.
fn make(path: &Path) -> io::Result<(u64, u64)> {
    if let Some(directory) = path.parent() {
        system::make_directory(directory)?;
        system::narrow(directory, 0o700)?;
    }
    // Made before SQLite opens it, which would make it readable for all; -wal and -shm copy its mode.
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    let options = system::no_link(system::with_mode(&mut options, 0o600));
    let file = options.open(path).map_err(|cause| match cause {
        link if system::is_link(&link) => a_link(),
        cause => cause,
    })?;
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    system::narrow(path, 0o600)?;
    Ok(system::identity(&found))
}

fn a_link() -> io::Error {
    io::Error::other("it is a symbolic link")
}

fn latest(steps: &[&str]) -> i64 {
    i64::try_from(steps.len()).unwrap_or(i64::MAX)
}

/// Refuses what is not ours or too new, before anything is changed. Gives the file's format.
fn check(connection: &Connection, path: &Path, steps: &[&str]) -> Result<i64, StoreError> {
    let sql = |cause| explain(path, cause);
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let tables = "SELECT count(*) FROM sqlite_schema";
    let tables: i64 = connection
        .query_row(tables, [], |row| row.get(0))
        .map_err(sql)?;
    let format = pragma("user_version").map_err(sql)?;
    if tables > 0 && pragma("application_id").map_err(sql)? != APPLICATION_ID {
        return Err(StoreError::Foreign {
            path: path.to_owned(),
        });
    }
    if !(0..=latest(steps)).contains(&format) {
        return Err(StoreError::Newer {
            path: path.to_owned(),
            found: format,
            known: latest(steps),
        });
    }
    Ok(format)
}

fn configure(connection: &Connection, format: i64) -> rusqlite::Result<()> {
    if format == 0 {
        // Only takes effect before the first table, and before WAL writes the header.
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    }
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    // In WAL mode NORMAL loses nothing when the process dies, and cannot damage the file when power fails
    // (sqlite.org/pragma.html#pragma_synchronous).
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    // 1 MB of log instead of 4, so that a day of ten clients stays below 5 MB on disk, log included.
    connection.pragma_update_and_check(None, "wal_autocheckpoint", 256, |_| Ok(()))?;
    connection.pragma_update_and_check(None, "journal_size_limit", 1 << 20, |_| Ok(()))?;
    // 512 KiB: the recorder only touches the last pages.
    connection.pragma_update(None, "cache_size", -512)?;
    // A check of `minutes.client` would read the whole table for each client that retention deletes.
    connection.pragma_update(None, "foreign_keys", false)
}

/// Each step is one transaction with its own version mark: a crash in between resumes where it was.
fn migrate(connection: &mut Connection, steps: &[&str]) -> rusqlite::Result<()> {
    loop {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let format: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
        let step = usize::try_from(format)
            .ok()
            .and_then(|format| steps.get(format));
        let Some(step) = step else { return Ok(()) };
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", format + 1)?;
        transaction.commit()?;
    }
}

/// Moves a damaged file and its log out of the way, under a name that says when and why.
pub(super) fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let time = Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
    let aside = |number: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".damaged-{time}"));
        if number > 1 {
            name.push(format!("-{number}"));
        }
        PathBuf::from(name)
    };
    let free = (1..100).map(aside).find(|name| !name.exists());
    let target =
        free.ok_or_else(|| io::Error::other("too many damaged files already stand there"))?;
    fs::rename(path, &target)?;
    // The log may hold what the damaged file does not; the index of it (-shm) is rebuilt from it.
    let _ = fs::rename(with_suffix(path, "-wal"), with_suffix(&target, "-wal"));
    let _ = fs::remove_file(with_suffix(path, "-shm"));
    Ok(target)
}

pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn unusable(path: &Path, cause: io::Error) -> StoreError {
    match cause.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full {
            path: path.to_owned(),
        },
        _ => StoreError::Unusable {
            path: path.to_owned(),
            cause: cause.to_string(),
        },
    }
}

/// Sorts SQLite's errors by what a person can do about them.
pub(super) fn explain(path: &Path, cause: rusqlite::Error) -> StoreError {
    let path = path.to_owned();
    match cause.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            StoreError::Damaged { path, cause }
        }
        Some(ErrorCode::DiskFull) => StoreError::Full { path },
        Some(ErrorCode::OperationInterrupted) => StoreError::TooLong { path },
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            StoreError::Unusable {
                path,
                cause: cause.to_string(),
            }
        }
        _ => StoreError::Database { path, cause },
    }
}
