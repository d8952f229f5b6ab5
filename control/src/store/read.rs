//! Reading: sums per client over a window of time, by the recorder's own connection or by a second, read-only one.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, Row, params};
use truemute_core::observed::{Client, ClientState, Counts, Intervals, Tally};

use super::accounts::{ClientRecord, ConnectedNs, MINUTE_NS};
use super::bypasses::{self, BypassRecord};
use super::row::{read_word, tally, who};
use super::window::Window;
use super::{GateRecord, StoreError, file};
use crate::clock::Stamp;
use crate::protocol::Stats;
use crate::stats;

/// Reads the history beside a recorder, or without a daemon.
#[derive(Debug)]
pub struct Reader {
    connection: Connection,
    path: PathBuf,
}

impl Reader {
    /// Opens the history for reading only.
    pub fn open(path: &Path) -> Result<Reader, StoreError> {
        let connection = file::open_to_read(path)?;
        Ok(Reader {
            connection,
            path: path.to_owned(),
        })
    }

    /// Every client in the window, with what it did there, and what could not be given to any. `Client::state` is what
    /// it was when last recorded.
    pub fn sums(&self, window: &Window) -> Result<(Vec<ClientRecord>, Tally), StoreError> {
        sums(&self.connection, window).map_err(|cause| file::explain(&self.path, cause))
    }

    /// Figures of every client since a time (nanoseconds since 1970; minutes are the grain), for when no daemon runs: all
    /// clients have gone.
    pub fn stats(&self, since_ns: u64) -> Result<Stats, StoreError> {
        let window = Window {
            since_ns,
            instances: None,
        };
        let (mut records, unattributed) = self.sums(&window)?;
        for record in &mut records {
            record.client.state = ClientState::Gone;
        }
        let mut past = bypasses::read(&self.connection, &window)
            .map_err(|cause| file::explain(&self.path, cause))?;
        past.iter_mut().for_each(BypassRecord::close);
        let start_ns = since_ns - since_ns % MINUTE_NS;
        Ok(stats::of_records(
            records,
            unattributed,
            past,
            start_ns,
            Stamp::now().wall_ns,
        ))
    }

    /// The gate's changes since a time (nanoseconds since 1970), in order.
    pub fn gate_changes(&self, since_ns: u64) -> Result<Vec<GateRecord>, StoreError> {
        gate_changes(&self.connection, since_ns).map_err(|cause| file::explain(&self.path, cause))
    }
}

/// One consistent look: both queries see the same state.
pub(super) fn sums(
    connection: &Connection,
    window: &Window,
) -> rusqlite::Result<(Vec<ClientRecord>, Tally)> {
    let transaction = connection.unchecked_transaction()?;
    let found = (
        clients(&transaction, window)?,
        unattributed(&transaction, window)?,
    );
    transaction.finish()?;
    Ok(found)
}

fn clients(connection: &Connection, window: &Window) -> rusqlite::Result<Vec<ClientRecord>> {
    // With max() as the only aggregate of its kind, SQLite takes the bare interval columns from the row that has the
    // maximum (sqlite.org/lang_select.html#bareagg): the latest one with a pull.
    let mut query = connection.prepare_cached(
        "SELECT c.instance, c.client, c.app, c.stream, c.pid, c.executable, c.identity, c.puller_pid, c.puller_name, c.api,
             c.purpose, c.state, c.counted_by, c.first_seen_ns, c.last_pull_ns,
             sum(m.live_pulls), sum(m.live_frames), sum(m.live_ns), sum(m.muted_pulls), sum(m.muted_frames),
             sum(m.muted_ns), sum(m.xruns), sum(m.lost), sum(m.connected_live_ns), sum(m.connected_muted_ns),
             m.interval_p50_us, m.interval_p99_us, m.interval_max_us,
             max(iif(m.interval_max_us > 0, m.minute, -1))
         FROM minutes m JOIN clients c ON c.id = m.client
         WHERE m.minute >= ?1 AND (?2 IS NULL OR c.instance IN (SELECT value FROM json_each(?2)))
         GROUP BY m.client",
    )?;
    query.query_map(selection(window), record)?.collect()
}

fn unattributed(connection: &Connection, window: &Window) -> rusqlite::Result<Tally> {
    let mut query = connection.prepare_cached(
        "SELECT coalesce(sum(pulls), 0), coalesce(sum(frames), 0), coalesce(sum(ns), 0) FROM unattributed
         WHERE minute >= ?1 AND (?2 IS NULL OR instance IN (SELECT value FROM json_each(?2)))",
    )?;
    query.query_row(selection(window), |row| tally(row, 0))
}

fn gate_changes(connection: &Connection, since_ns: u64) -> rusqlite::Result<Vec<GateRecord>> {
    let mut query = connection.prepare(
        "SELECT at_ns, gate, reason, clock, position FROM gate_changes WHERE at_ns >= ?1 ORDER BY at_ns, id",
    )?;
    let since = i64::try_from(since_ns).unwrap_or(i64::MAX);
    query
        .query_map(params![since], |row| {
            Ok(GateRecord {
                at_ns: row.get(0)?,
                gate: read_word(row, 1)?,
                reason: row.get(2)?,
                clock: row.get(3)?,
                position: row.get(4)?,
            })
        })?
        .collect()
}

fn selection(window: &Window) -> (i64, Option<String>) {
    let minute = i64::try_from(window.since_ns / MINUTE_NS).unwrap_or(i64::MAX);
    (minute, window.instances())
}

fn record(row: &Row<'_>) -> rusqlite::Result<ClientRecord> {
    let client = Client {
        id: row.get::<_, i64>(1)?.cast_unsigned(),
        who: who(row)?,
        state: read_word(row, 11)?,
        app_muted: false,
        counted_by: read_word(row, 12)?,
        counts: Counts {
            live: tally(row, 15)?,
            muted: tally(row, 18)?,
            xruns: row.get(21)?,
            lost: row.get(22)?,
            intervals: Intervals {
                p50_us: row.get(25)?,
                p99_us: row.get(26)?,
                max_us: row.get(27)?,
            },
        },
        // The history has what was pulled.
        offers: None,
        first_seen_ns: row.get(13)?,
        last_pull_ns: row.get(14)?,
    };
    Ok(ClientRecord {
        instance: row.get::<_, i64>(0)?.cast_unsigned(),
        client,
        connected: ConnectedNs {
            live: row.get(23)?,
            muted: row.get(24)?,
        },
    })
}
