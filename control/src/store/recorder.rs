//! The recorder: takes snapshots and gate changes in, and writes what is new from a thread of its own, about once a second
//! and only while there is something to write. Without a usable disk it keeps counting in memory and tries again.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use std::{io, mem, thread};

use jiff::Timestamp;
use rusqlite::Connection;
use truemute_core::observed::{Applied, Snapshot, Tally};

use super::accounts::{Accounts, ClientRecord, Key, MINUTE_NS, Pending, Resume, add_tally};
use super::bypasses::{self, BypassRecord};
use super::file::{self, File};
use super::read;
use super::window::Window;
use super::{GateRecord, StoreError, write};
use crate::clock::Stamp;
use crate::daemon::{GateChange, History};
use crate::protocol::{ErrorObject, Stats};
use crate::stats;

/// Notices kept for `status`; the log has them all.
const MAX_NOTICES: usize = 8;

/// Settings of the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Days after which minutes, clients and gate changes are deleted; at least 1.
    pub retention_days: u32,
}

/// The recorder's rhythm.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// From one transaction to the next. A little below a second, so that snapshots that come each second are each
    /// written when they come, and not after the following one.
    pub(super) commit: Duration,
    /// From a failed write to the next attempt.
    pub(super) retry: Duration,
    /// From one deletion of old minutes to the next.
    pub(super) prune: Duration,
    /// From a question to its answer at most, but for a write in between. Shorter than a client of the API waits.
    pub(super) answer: Duration,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace {
            commit: Duration::from_millis(900),
            retry: Duration::from_secs(5),
            prune: Duration::from_secs(3600),
            answer: Duration::from_secs(5),
        }
    }
}

/// Records the history. Its methods, those of [`History`], may be called from any thread but the audio thread; none but
/// `stats` and `close` waits for the disk. Until the first change of the gate it counts as muted.
#[derive(Debug)]
pub struct Recorder {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Debug)]
struct State {
    accounts: Accounts,
    questions: Vec<Question>,
    stop: bool,
    /// What keeps the history from being written now.
    failure: Option<String>,
    /// What happened to it and cannot be undone.
    notices: Vec<String>,
}

/// A reader that waits for the thread.
#[derive(Debug)]
struct Question {
    since_ns: Option<u64>,
    asked: Instant,
    answer: SyncSender<Result<Stats, StoreError>>,
}

impl Recorder {
    /// Opens the history and starts the thread. A history that cannot be opened is no error but a warning
    /// ([`History::warnings`]): counting goes on in memory. Waits for the file at most as long as another program's
    /// lock makes it (2 s).
    pub fn start(path: &Path, options: Options) -> io::Result<Recorder> {
        Recorder::start_at_pace(path, options, Pace::default())
    }

    pub(super) fn start_at_pace(path: &Path, options: Options, pace: Pace) -> io::Result<Recorder> {
        let mut writer = Writer::new(path, &options, pace);
        let resume = writer.first_open();
        let state = State {
            accounts: Accounts::new(Stamp::now(), resume),
            questions: Vec::new(),
            stop: false,
            failure: writer.failure.take(),
            notices: mem::take(&mut writer.notices),
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            wake: Condvar::new(),
        });
        let of_thread = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("truemute-history".into())
            .spawn(move || run(&of_thread, writer))?;
        Ok(Recorder {
            shared,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Takes in a look at the backend. Gives back the ids of clients that have gone and whose counts are now kept here.
    pub(super) fn snapshot_at(&self, snapshot: &Snapshot, monotonic_ns: u64) -> Vec<u64> {
        let gone = self.shared.lock().accounts.snapshot(snapshot, monotonic_ns);
        self.shared.wake.notify_one();
        gone
    }

    /// Every client since a time (in nanoseconds since 1970; minutes are the grain), or since this recorder started.
    /// What has not been written yet is included.
    pub(super) fn sums(&self, since_ns: Option<u64>) -> Result<Stats, StoreError> {
        let (answer, wait) = sync_channel(1);
        self.shared.lock().questions.push(Question {
            since_ns,
            asked: Instant::now(),
            answer,
        });
        self.shared.wake.notify_one();
        wait.recv().map_err(|_| StoreError::Ended)?
    }

    /// Writes what is left and ends. The error says why something could not be written and is lost now.
    pub(super) fn end(&self) -> Result<(), String> {
        self.shared.lock().stop = true;
        self.shared.wake.notify_one();
        let Some(thread) = self.thread().take() else {
            return Ok(());
        };
        if thread.join().is_err() {
            return Err(StoreError::Ended.to_string());
        }
        match self.shared.lock().failure.take() {
            None => Ok(()),
            Some(failure) => Err(failure),
        }
    }

    fn thread(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        self.thread.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl History for Recorder {
    fn record(&self, look: &Arc<Snapshot>) {
        self.snapshot_at(look, Stamp::now().monotonic_ns);
    }

    fn server_lost(&self) {
        self.shared.lock().accounts.server_lost(Stamp::now());
        self.shared.wake.notify_one();
    }

    fn gate_changed(&self, change: &GateChange) {
        let (clock, position) = match &change.applied {
            Some(Applied::Cycle {
                clock, position, ..
            }) => (Some(clock.clone()), Some(*position)),
            Some(Applied::Idle { .. }) | None => (None, None),
        };
        let record = GateRecord {
            at_ns: change.wall_ns,
            gate: change.gate,
            reason: change.reason.clone(),
            clock,
            position,
        };
        self.shared
            .lock()
            .accounts
            .gate(record, change.monotonic_ns);
        self.shared.wake.notify_one();
    }

    fn stats(&self, since: Option<Timestamp>) -> Result<Stats, ErrorObject> {
        // What lies before 1970 means: everything. What lies after 2554, where 64 bits end, means: nothing.
        let nanoseconds =
            |since: Timestamp| u64::try_from(since.as_nanosecond().max(0)).unwrap_or(u64::MAX);
        Ok(self.sums(since.map(nanoseconds))?)
    }

    fn clients(&self) -> Stats {
        let state = self.shared.lock();
        let records = state.accounts.connected();
        let unattributed = state.accounts.unattributed();
        let bypasses = state.accounts.bypasses.now();
        drop(state);
        let now_ns = Stamp::now().wall_ns;
        let first = records
            .iter()
            .map(|record| record.client.first_seen_ns)
            .min();
        stats::of_records(
            records,
            unattributed,
            bypasses,
            first.unwrap_or(now_ns),
            now_ns,
        )
    }

    fn warnings(&self) -> Vec<String> {
        let state = self.shared.lock();
        let mut warnings: Vec<String> = state
            .failure
            .iter()
            .chain(&state.notices)
            .cloned()
            .collect();
        let ends = state.stop;
        drop(state);
        if !ends && self.thread().as_ref().is_none_or(JoinHandle::is_finished) {
            warnings.push(StoreError::Ended.to_string());
        }
        warnings
    }

    fn close(&self) {
        if let Err(error) = self.end() {
            tracing::error!("the last counts are not in the history. {error}");
        }
    }
}

impl State {
    fn keep_notices(&mut self, notices: &mut Vec<String>) {
        self.notices.append(notices);
        let excess = self.notices.len().saturating_sub(MAX_NOTICES);
        self.notices.drain(..excess);
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    /// A panic elsewhere leaves sums that are still sums: going on is better than losing them.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for something to do.
    fn wait(&self, next_write: Instant) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        while !state.stop && state.questions.is_empty() {
            if !state.accounts.pending.due() {
                state = self
                    .wake
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let left = next_write.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let waited = self.wake.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state
    }
}

/// The thread.
fn run(shared: &Shared, mut writer: Writer) {
    loop {
        let mut state = shared.wait(writer.next_write);
        let stop = state.stop;
        let questions = mem::take(&mut state.questions);
        let write = stop || (state.accounts.pending.due() && writer.next_write <= Instant::now());
        let batch = if write {
            mem::take(&mut state.accounts.pending)
        } else {
            Pending::default()
        };
        drop(state);

        if write && !batch.is_empty() {
            let written = writer.write(&batch);
            let mut state = shared.lock();
            if !written {
                state.accounts.pending.put_back(batch);
            }
            state.failure = writer.failure.clone();
            state.keep_notices(&mut writer.notices);
        }
        for question in questions {
            let deadline = question.asked + writer.pace.answer;
            let answer = answer(shared, &mut writer, question.since_ns, deadline);
            // Whoever asked may have gone.
            let _ = question.answer.send(answer);
        }
        if stop {
            return;
        }
    }
}

/// Sums up the file and what waits to be written. Only the thread moves rows from one to the other, so that each is
/// counted exactly once.
fn answer(
    shared: &Shared,
    writer: &mut Writer,
    since_ns: Option<u64>,
    deadline: Instant,
) -> Result<Stats, StoreError> {
    let state = shared.lock();
    let window = Window {
        since_ns: since_ns.unwrap_or(state.accounts.started.wall_ns),
        instances: since_ns.is_none().then(|| state.accounts.instances.clone()),
    };
    drop(state);
    let (mut records, mut unattributed) = writer.sums(&window, deadline)?;
    let written = writer.bypasses(&window, deadline)?;

    let state = shared.lock();
    add_pending(
        &mut records,
        &mut unattributed,
        &state.accounts.pending,
        &window,
    );
    let accounts = &state.accounts;
    let bypasses = accounts
        .bypasses
        .complete(written, &accounts.pending.bypasses, &window);
    for record in &mut records {
        let key = Key {
            instance: record.instance,
            client: record.client.id,
        };
        record.client.state = state.accounts.state_of(key);
        record.client.app_muted = state.accounts.is_app_muted(key);
        record.client.offers = state.accounts.offers(key);
    }
    drop(state);
    // The start of a minute, for that is what the figures cover; or this run's own start.
    let start_ns = match since_ns {
        Some(since_ns) => since_ns - since_ns % MINUTE_NS,
        None => window.since_ns,
    };
    Ok(stats::of_records(
        records,
        unattributed,
        bypasses,
        start_ns,
        Stamp::now().wall_ns,
    ))
}

fn add_pending(
    records: &mut Vec<ClientRecord>,
    unattributed: &mut Tally,
    pending: &Pending,
    window: &Window,
) {
    let wanted = |minute: u64, instance: u64| {
        minute >= window.since_ns / MINUTE_NS
            && window
                .instances
                .as_ref()
                .is_none_or(|instances| instances.contains(&instance))
    };
    for ((minute, key), row) in &pending.minutes {
        if !wanted(*minute, key.instance) {
            continue;
        }
        let Some(reading) = pending.readings.get(key) else {
            continue;
        };
        let found = records
            .iter_mut()
            .find(|record| record.instance == key.instance && record.client.id == key.client);
        match found {
            Some(record) => record.add(reading, row),
            None => records.push(ClientRecord::new(key.instance, reading, row)),
        }
    }
    for ((minute, instance), tally) in &pending.unattributed {
        if wanted(*minute, *instance) {
            add_tally(unattributed, tally);
        }
    }
}

/// The thread's side of the file.
#[derive(Debug)]
struct Writer {
    path: PathBuf,
    file: Option<File>,
    pace: Pace,
    retention: Duration,
    next_write: Instant,
    next_prune: Instant,
    failure: Option<String>,
    notices: Vec<String>,
}

impl Writer {
    fn new(path: &Path, options: &Options, pace: Pace) -> Writer {
        let now = Instant::now();
        Writer {
            path: path.to_owned(),
            file: None,
            pace,
            retention: Duration::from_secs(u64::from(options.retention_days.max(1)) * 24 * 3600),
            next_write: now,
            next_prune: now,
            failure: None,
            notices: Vec::new(),
        }
    }

    fn first_open(&mut self) -> Resume {
        let resume = self.with_file(|file, path| {
            write::resume(&file.connection).map_err(|cause| file::explain(path, cause))
        });
        match resume {
            Ok(resume) => resume,
            Err(error) => {
                self.failed(&error);
                Resume::default()
            }
        }
    }

    /// Writes a batch; false if it must be kept.
    fn write(&mut self, batch: &Pending) -> bool {
        let now_ns = Stamp::now().wall_ns;
        let prune = (Instant::now() >= self.next_prune).then(|| {
            now_ns.saturating_sub(u64::try_from(self.retention.as_nanos()).unwrap_or(u64::MAX))
        });
        let written = self.with_file(|file, path| {
            let sql = |cause| file::explain(path, cause);
            write::write(&mut file.connection, batch, now_ns).map_err(sql)
        });
        if let Err(error) = written {
            self.failed(&error);
            return false;
        }
        self.failure = None;
        self.next_write = Instant::now() + self.pace.commit;
        if let Some(before_ns) = prune {
            self.prune(before_ns);
        }
        true
    }

    fn prune(&mut self, before_ns: u64) {
        self.next_prune = Instant::now() + self.pace.prune;
        let pruned = self.with_file(|file, path| {
            write::prune(&mut file.connection, before_ns)
                .map_err(|cause| file::explain(path, cause))
        });
        if let Err(error) = pruned {
            self.failed(&error);
        }
    }

    fn sums(
        &mut self,
        window: &Window,
        deadline: Instant,
    ) -> Result<(Vec<ClientRecord>, Tally), StoreError> {
        self.read(deadline, |connection| read::sums(connection, window))
    }

    fn bypasses(
        &mut self,
        window: &Window,
        deadline: Instant,
    ) -> Result<Vec<BypassRecord>, StoreError> {
        self.read(deadline, |connection| bypasses::read(connection, window))
    }

    fn read<T: Default>(
        &mut self,
        deadline: Instant,
        read: impl Fn(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let found = self.with_file(|file, path| {
            file.read_until(deadline, &read)
                .map_err(|cause| file::explain(path, cause))
        });
        self.or_nothing(found)
    }

    fn or_nothing<T: Default>(&self, read: Result<T, StoreError>) -> Result<T, StoreError> {
        match read {
            Err(StoreError::Full { .. } | StoreError::Unusable { .. }) if self.file.is_none() => {
                // Nothing can be read; what this run counted is in memory.
                Ok(T::default())
            }
            read => read,
        }
    }

    /// Does something with the file, which is opened where it is not, made anew where it was taken away, and set aside
    /// once where it turns out damaged.
    fn with_file<T>(
        &mut self,
        mut work: impl FnMut(&mut File, &Path) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        match self.try_with_file(&mut work) {
            Err(StoreError::Damaged { cause, .. }) => {
                self.set_aside(&cause)?;
                self.try_with_file(&mut work)
            }
            result => result,
        }
    }

    fn try_with_file<T>(
        &mut self,
        work: &mut impl FnMut(&mut File, &Path) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if self
            .file
            .as_ref()
            .is_some_and(|file| !file.is_at(&self.path))
        {
            self.notice(format!(
                "the history {} was moved or deleted while in use; a new one has been started.",
                self.path.display()
            ));
            self.file = None;
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(File::open(&self.path)?),
        };
        work(file, &self.path)
    }

    fn set_aside(&mut self, cause: &rusqlite::Error) -> Result<(), StoreError> {
        self.file = None;
        let aside = file::set_aside(&self.path).map_err(|error| StoreError::Unusable {
            path: self.path.clone(),
            cause: format!("it is damaged and cannot be set aside: {error}"),
        })?;
        self.notice(format!(
            "the history was damaged ({cause}) and set aside as {}; a new one has been started.",
            aside.display()
        ));
        Ok(())
    }

    fn notice(&mut self, text: String) {
        tracing::warn!("{text}");
        self.notices.push(text);
    }

    fn failed(&mut self, error: &StoreError) {
        let text = format!("{error} Counting goes on in memory.");
        if self.failure.as_ref() != Some(&text) {
            tracing::warn!("{text}");
        }
        self.failure = Some(text);
        self.next_write = Instant::now() + self.pace.retry;
    }
}
