//! The history of bypasses: what of each look is new, and their rows in the file. Unlike a client, a bypass is one row: its
//! figures are since it came, and not told apart by minutes.

use std::collections::BTreeMap;

use rusqlite::{Connection, Row, Transaction, params};
use truemute_core::observed::{Bypass, ClientState, Snapshot};

use super::row::{bits, read_word, signed, who, word};
use super::window::Window;

/// Rows that may wait for the disk. Beyond them the oldest are lost, and the log says so.
const MAX_ROWS: usize = 8192;

/// Instance and number.
pub(super) type Key = (u64, u64);

/// One bypass, as of some moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BypassRecord {
    /// The backend's instance that `bypass.id` belongs to.
    pub instance: u64,
    /// Who it is, and its figures.
    pub bypass: Bypass,
    /// When it was last looked at, nanoseconds since 1970.
    pub last_seen_ns: u64,
}

impl BypassRecord {
    pub(super) fn key(&self) -> Key {
        (self.instance, self.bypass.id)
    }

    /// It is not there any more, and nobody saw it go.
    pub(super) fn close(&mut self) {
        if self.bypass.state != ClientState::Gone {
            self.bypass.state = ClientState::Gone;
            self.bypass.until_ns = Some(self.last_seen_ns);
        }
    }
}

/// What waits to be written, the latest of each.
pub(super) type Waiting = BTreeMap<Key, BypassRecord>;

/// Those that the backend still reports.
#[derive(Debug, Default)]
pub(super) struct There(BTreeMap<Key, BypassRecord>);

impl There {
    /// Takes in a look; what is new is put to what waits. Says whether anything is.
    pub(super) fn look(&mut self, look: &Snapshot, waiting: &mut Waiting) -> bool {
        let mut news = self.lost(waiting, |key| {
            key.0 == look.instance && look.bypasses.iter().any(|it| it.id == key.1)
        });
        for bypass in &look.bypasses {
            let record = BypassRecord {
                instance: look.instance,
                bypass: bypass.clone(),
                last_seen_ns: look.at_ns,
            };
            let key = record.key();
            let known = self.0.insert(key, record.clone());
            if known.is_none_or(|known| known.bypass != record.bypass) {
                waiting.insert(key, record);
                news = true;
            }
        }
        bound(waiting);
        news
    }

    /// Those that are not `there` have gone without a last word. Says whether there were any.
    pub(super) fn lost(&mut self, waiting: &mut Waiting, there: impl Fn(&Key) -> bool) -> bool {
        let mut any = false;
        self.0.retain(|key, record| {
            let stays = there(key);
            if !stays && record.bypass.state != ClientState::Gone {
                record.close();
                waiting.insert(*key, record.clone());
                any = true;
            }
            stays
        });
        any
    }

    /// Who is there now.
    pub(super) fn now(&self) -> Vec<BypassRecord> {
        let there = |record: &&BypassRecord| record.bypass.state != ClientState::Gone;
        self.0.values().filter(there).cloned().collect()
    }

    fn knows(&self, key: &Key) -> bool {
        self.0.contains_key(key)
    }

    /// What was written and what waits, together: of each the latest.
    pub(super) fn complete(
        &self,
        written: Vec<BypassRecord>,
        waiting: &Waiting,
        window: &Window,
    ) -> Vec<BypassRecord> {
        let mut all: BTreeMap<Key, BypassRecord> =
            written.into_iter().map(|it| (it.key(), it)).collect();
        let later = waiting.values().chain(self.0.values());
        for record in later.filter(|record| is_in(record, window)) {
            all.insert(record.key(), record.clone());
        }
        let mut all: Vec<BypassRecord> = all.into_values().collect();
        for record in all.iter_mut().filter(|it| !self.knows(&it.key())) {
            record.close();
        }
        all
    }
}

fn is_in(record: &BypassRecord, window: &Window) -> bool {
    let instances = window.instances.as_ref();
    record.last_seen_ns >= window.since_ns
        && instances.is_none_or(|instances| instances.contains(&record.instance))
}

/// Takes back what could not be written; `waiting` is what came meanwhile.
pub(super) fn put_back(waiting: &mut Waiting, mut earlier: Waiting) {
    earlier.append(waiting);
    *waiting = earlier;
    bound(waiting);
}

fn bound(waiting: &mut Waiting) {
    let excess = waiting.len().saturating_sub(MAX_ROWS);
    if excess > 0 {
        tracing::error!("{excess} records of bypasses are lost: the history cannot be written");
    }
    for _ in 0..excess {
        waiting.pop_first();
    }
}

pub(super) fn write(transaction: &Transaction<'_>, waiting: &Waiting) -> rusqlite::Result<()> {
    if waiting.is_empty() {
        return Ok(());
    }
    let mut insert = transaction.prepare_cached(
        "INSERT INTO bypasses (instance, bypass, app, stream, pid, executable, identity, puller_pid, puller_name, api,
             purpose, state, real_mic, through, since_ns, until_ns, last_seen_ns, duration_ns, frames, frames_exact, done,
             cuts)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22)
         ON CONFLICT (instance, bypass) DO UPDATE SET
             app = excluded.app, stream = excluded.stream, pid = excluded.pid, executable = excluded.executable,
             identity = excluded.identity, puller_pid = excluded.puller_pid, puller_name = excluded.puller_name,
             api = excluded.api, purpose = excluded.purpose, state = excluded.state, real_mic = excluded.real_mic,
             through = excluded.through, until_ns = excluded.until_ns, last_seen_ns = excluded.last_seen_ns,
             duration_ns = excluded.duration_ns, frames = excluded.frames, frames_exact = excluded.frames_exact,
             done = excluded.done, cuts = excluded.cuts",
    )?;
    for record in waiting.values() {
        let it = &record.bypass;
        let executable = it
            .who
            .executable
            .as_ref()
            .map(|path| path.to_string_lossy());
        insert.execute(params![
            bits(record.instance),
            bits(it.id),
            it.who.app,
            it.who.stream,
            it.who.pid,
            executable,
            word(&it.who.identity),
            it.who.puller.as_ref().map(|puller| puller.pid),
            it.who.puller.as_ref().map(|puller| &puller.name),
            word(&it.who.api),
            word(&it.who.purpose),
            word(&it.state),
            it.real_mic,
            serde_json::Value::from(it.through.clone()).to_string(),
            signed(it.since_ns),
            it.until_ns.map(signed),
            signed(record.last_seen_ns),
            signed(it.duration_ns),
            signed(it.frames),
            it.frames_exact,
            word(&it.done),
            signed(it.cuts),
        ])?;
    }
    Ok(())
}

/// Those that were seen in the window, as they were last written.
pub(super) fn read(
    connection: &Connection,
    window: &Window,
) -> rusqlite::Result<Vec<BypassRecord>> {
    let mut query = connection.prepare_cached(
        "SELECT instance, bypass, app, stream, pid, executable, identity, puller_pid, puller_name, api, purpose, state,
             real_mic, through, since_ns, until_ns, last_seen_ns, duration_ns, frames, frames_exact, done, cuts
         FROM bypasses
         WHERE last_seen_ns >= ?1 AND (?2 IS NULL OR instance IN (SELECT value FROM json_each(?2)))",
    )?;
    let since = signed(window.since_ns);
    let instances = window.instances();
    query
        .query_map(params![since, instances], record)?
        .collect()
}

fn record(row: &Row<'_>) -> rusqlite::Result<BypassRecord> {
    let through: String = row.get(13)?;
    let through = serde_json::from_str(&through).map_err(|cause| {
        rusqlite::Error::FromSqlConversionFailure(13, rusqlite::types::Type::Text, Box::new(cause))
    })?;
    Ok(BypassRecord {
        instance: row.get::<_, i64>(0)?.cast_unsigned(),
        bypass: Bypass {
            id: row.get::<_, i64>(1)?.cast_unsigned(),
            who: who(row)?,
            state: read_word(row, 11)?,
            real_mic: row.get(12)?,
            through,
            since_ns: row.get(14)?,
            until_ns: row.get(15)?,
            duration_ns: row.get(17)?,
            frames: row.get(18)?,
            frames_exact: row.get(19)?,
            done: read_word(row, 20)?,
            cuts: row.get(21)?,
        },
        last_seen_ns: row.get(16)?,
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use truemute_core::observed::{Api, Countermeasure, Identity, Puller, Purpose, Who};

    use super::super::tests::{OPTIONS, place, snapshot};
    use super::super::{Reader, Recorder};
    use super::*;
    use crate::stats::tests::{SECOND, T0};

    /// One that has just come.
    pub(crate) fn bypass(id: u64) -> Bypass {
        Bypass {
            id,
            who: Who {
                app: "spy".into(),
                stream: "spy's stream".into(),
                pid: Some(7),
                executable: Some("/usr/bin/spy".into()),
                identity: Identity::Verified,
                puller: Some(Puller {
                    pid: 8,
                    name: "pipewire-pulse".into(),
                }),
                api: Api::Pulse,
                purpose: Purpose::Recording,
            },
            state: ClientState::Running,
            real_mic: "mic".into(),
            through: vec!["loop \"in\"".into(), "loop out".into()],
            since_ns: T0,
            until_ns: None,
            duration_ns: 0,
            frames: 0,
            frames_exact: false,
            done: Countermeasure::Cut,
            cuts: 3,
        }
    }

    fn look(instance: u64, at_ns: u64, bypasses: &[Bypass]) -> Snapshot {
        Snapshot {
            bypasses: bypasses.to_vec(),
            ..snapshot(instance, at_ns, &[])
        }
    }

    #[test]
    fn every_field_survives_the_file_and_a_crash_ends_it_where_it_was_seen() {
        let (_directory, path) = place();
        let recorder = Recorder::start(&path, OPTIONS).unwrap();
        let mut one = bypass(1);
        recorder.snapshot_at(&look(5, T0, std::slice::from_ref(&one)), 0);
        (one.duration_ns, one.frames) = (2 * SECOND, 96_000);
        recorder.snapshot_at(&look(5, T0 + 2 * SECOND, std::slice::from_ref(&one)), 2);
        let now = recorder.sums(Some(0)).unwrap().bypasses;
        assert_eq!((now[0].frames, &now[0].until), (96_000, &None));
        drop(recorder);

        let stats = Reader::open(&path).unwrap().stats(T0).unwrap();
        let ended = Bypass {
            state: ClientState::Gone,
            until_ns: Some(T0 + 2 * SECOND),
            ..one
        };
        assert_eq!(stats.bypasses, [crate::stats::of_bypass(5, &ended)]);
        let later = Reader::open(&path).unwrap().stats(T0 + 3 * SECOND).unwrap();
        assert_eq!(later.bypasses, []);
    }

    #[test]
    fn those_that_end_are_kept_and_a_lost_server_ends_them() {
        let (_directory, path) = place();
        let recorder = Recorder::start(&path, OPTIONS).unwrap();
        let ended = Bypass {
            state: ClientState::Gone,
            until_ns: Some(T0 + SECOND),
            ..bypass(1)
        };
        recorder.snapshot_at(&look(5, T0 + SECOND, &[ended, bypass(2)]), 0);
        recorder.snapshot_at(&look(5, T0 + 2 * SECOND, &[bypass(2)]), 1);
        // Another instance begins: what was there is not any more.
        recorder.snapshot_at(&look(6, T0 + 3 * SECOND, &[bypass(1)]), 2);
        let found = recorder.sums(Some(0)).unwrap().bypasses;
        let states: Vec<_> = found
            .iter()
            .map(|it| (it.instance, it.id, it.state))
            .collect();
        assert_eq!(
            states,
            [
                (5, 1, ClientState::Gone),
                (5, 2, ClientState::Gone),
                (6, 1, ClientState::Running)
            ]
        );
    }

    #[test]
    fn what_cannot_be_written_waits_and_is_bounded() {
        let mut there = There::default();
        let mut waiting = Waiting::new();
        let many: Vec<Bypass> = (0..10_000).map(bypass).collect();
        assert!(there.look(&look(1, T0, &many), &mut waiting));
        assert_eq!(waiting.len(), MAX_ROWS);
        assert!(!there.look(&look(1, T0 + 1, &many), &mut Waiting::new()));
        let mut later = Waiting::new();
        there.lost(&mut later, |_| false);
        put_back(&mut later, waiting);
        let last = later.last_key_value().unwrap().1;
        assert_eq!(last.bypass.state, ClientState::Gone);
    }
}
