//! Writing: one batch of news as one transaction, and what retention deletes. Nothing here decides when.

use std::collections::BTreeMap;

use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use truemute_core::observed::Counts;

use super::accounts::{Key, MINUTE_NS, Minute, Pending, Reading, Resume};
use super::bypasses;
use super::row::{bits, signed, tally, word};

/// Adds a batch; all of it or, on an error, nothing.
pub(super) fn write(
    connection: &mut Connection,
    batch: &Pending,
    now_ns: u64,
) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    write_readings(&transaction, &batch.readings)?;
    write_minutes(&transaction, &batch.minutes)?;
    write_unattributed(&transaction, batch, now_ns)?;
    bypasses::write(&transaction, &batch.bypasses)?;
    let mut insert = transaction.prepare_cached(
        "INSERT INTO gate_changes (at_ns, gate, reason, clock, position) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    for change in &batch.gate_changes {
        let position = change.position.map(signed);
        insert.execute(params![
            signed(change.at_ns),
            word(&change.gate),
            change.reason,
            change.clock,
            position
        ])?;
    }
    drop(insert);
    transaction.commit()
}

fn write_readings(
    transaction: &Transaction<'_>,
    readings: &BTreeMap<Key, Reading>,
) -> rusqlite::Result<()> {
    let mut upsert = transaction.prepare_cached(
        "INSERT INTO clients (instance, client, app, stream, pid, executable, identity, puller_pid, puller_name, api,
             purpose, state, counted_by, first_seen_ns, last_pull_ns, last_seen_ns, live_pulls, live_frames, live_ns,
             muted_pulls, muted_frames, muted_ns, xruns, lost)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22,
             ?23, ?24)
         ON CONFLICT (instance, client) DO UPDATE SET
             app = excluded.app, stream = excluded.stream, pid = excluded.pid, executable = excluded.executable,
             identity = excluded.identity, puller_pid = excluded.puller_pid, puller_name = excluded.puller_name,
             api = excluded.api, purpose = excluded.purpose, state = excluded.state,
             counted_by = excluded.counted_by, last_pull_ns = excluded.last_pull_ns,
             last_seen_ns = excluded.last_seen_ns,
             live_pulls = max(live_pulls, excluded.live_pulls),
             live_frames = max(live_frames, excluded.live_frames), live_ns = max(live_ns, excluded.live_ns),
             muted_pulls = max(muted_pulls, excluded.muted_pulls),
             muted_frames = max(muted_frames, excluded.muted_frames), muted_ns = max(muted_ns, excluded.muted_ns),
             xruns = max(xruns, excluded.xruns), lost = max(lost, excluded.lost)",
    )?;
    for (key, reading) in readings {
        let client = &reading.client;
        let Counts {
            live,
            muted,
            xruns,
            lost,
            ..
        } = client.counts;
        let executable = client
            .who
            .executable
            .as_ref()
            .map(|path| path.to_string_lossy());
        upsert.execute(params![
            bits(key.instance),
            bits(key.client),
            client.who.app,
            client.who.stream,
            client.who.pid,
            executable,
            word(&client.who.identity),
            client.who.puller.as_ref().map(|puller| puller.pid),
            client.who.puller.as_ref().map(|puller| &puller.name),
            word(&client.who.api),
            word(&client.who.purpose),
            word(&client.state),
            word(&client.counted_by),
            signed(client.first_seen_ns),
            client.last_pull_ns.map(signed),
            signed(reading.at_ns),
            signed(live.pulls),
            signed(live.frames),
            signed(live.nanoseconds),
            signed(muted.pulls),
            signed(muted.frames),
            signed(muted.nanoseconds),
            signed(xruns),
            signed(lost),
        ])?;
    }
    Ok(())
}

fn write_minutes(
    transaction: &Transaction<'_>,
    minutes: &BTreeMap<(u64, Key), Minute>,
) -> rusqlite::Result<()> {
    // An interval summary of zeros says that there was no pull in this row: the former one stays.
    let mut upsert = transaction.prepare_cached(
        "INSERT INTO minutes (minute, client, live_pulls, live_frames, live_ns, muted_pulls, muted_frames, muted_ns,
             xruns, lost, connected_live_ns, connected_muted_ns, interval_p50_us, interval_p99_us, interval_max_us)
         VALUES (?1, (SELECT id FROM clients WHERE instance = ?2 AND client = ?3), ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11,
             ?12, ?13, ?14, ?15, ?16)
         ON CONFLICT (minute, client) DO UPDATE SET
             live_pulls = live_pulls + excluded.live_pulls, live_frames = live_frames + excluded.live_frames,
             live_ns = live_ns + excluded.live_ns, muted_pulls = muted_pulls + excluded.muted_pulls,
             muted_frames = muted_frames + excluded.muted_frames, muted_ns = muted_ns + excluded.muted_ns,
             xruns = xruns + excluded.xruns, lost = lost + excluded.lost,
             connected_live_ns = connected_live_ns + excluded.connected_live_ns,
             connected_muted_ns = connected_muted_ns + excluded.connected_muted_ns,
             interval_p50_us = iif(excluded.interval_max_us = 0, interval_p50_us, excluded.interval_p50_us),
             interval_p99_us = iif(excluded.interval_max_us = 0, interval_p99_us, excluded.interval_p99_us),
             interval_max_us = iif(excluded.interval_max_us = 0, interval_max_us, excluded.interval_max_us)",
    )?;
    for ((minute, key), row) in minutes {
        let Counts {
            live,
            muted,
            xruns,
            lost,
            intervals,
        } = row.counts;
        upsert.execute(params![
            signed(*minute),
            bits(key.instance),
            bits(key.client),
            signed(live.pulls),
            signed(live.frames),
            signed(live.nanoseconds),
            signed(muted.pulls),
            signed(muted.frames),
            signed(muted.nanoseconds),
            signed(xruns),
            signed(lost),
            signed(row.connected.live),
            signed(row.connected.muted),
            signed(intervals.p50_us),
            signed(intervals.p99_us),
            signed(intervals.max_us),
        ])?;
    }
    Ok(())
}

fn write_unattributed(
    transaction: &Transaction<'_>,
    batch: &Pending,
    now_ns: u64,
) -> rusqlite::Result<()> {
    for ((minute, instance), tally) in &batch.unattributed {
        transaction
            .prepare_cached(
                "INSERT INTO unattributed (minute, instance, pulls, frames, ns) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (minute, instance) DO UPDATE SET pulls = pulls + excluded.pulls,
                     frames = frames + excluded.frames, ns = ns + excluded.ns",
            )?
            .execute(params![
                signed(*minute),
                bits(*instance),
                signed(tally.pulls),
                signed(tally.frames),
                signed(tally.nanoseconds),
            ])?;
    }
    for (instance, tally) in &batch.unattributed_readings {
        transaction
            .prepare_cached(
                "INSERT INTO instances (instance, unattributed_pulls, unattributed_frames, unattributed_ns, last_seen_ns)
                 VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (instance) DO UPDATE SET unattributed_pulls = excluded.unattributed_pulls,
                     unattributed_frames = excluded.unattributed_frames, unattributed_ns = excluded.unattributed_ns,
                     last_seen_ns = excluded.last_seen_ns",
            )?
            .execute(params![
                bits(*instance),
                signed(tally.pulls),
                signed(tally.frames),
                signed(tally.nanoseconds),
                signed(now_ns),
            ])?;
    }
    Ok(())
}

/// What earlier runs wrote of clients: a backend that outlives the daemon goes on counting them, and tells of those that left until
/// somebody confirms that he has them on record, which who died right after writing it down never did.
pub(super) fn resume(connection: &Connection) -> rusqlite::Result<Resume> {
    let mut resume = Resume::default();
    let mut clients = connection.prepare(
        "SELECT instance, client, live_pulls, live_frames, live_ns, muted_pulls, muted_frames, muted_ns, xruns, lost
         FROM clients ORDER BY state = 'gone', last_seen_ns DESC LIMIT 4096",
    )?;
    let mut rows = clients.query([])?;
    while let Some(row) = rows.next()? {
        let key = Key {
            instance: row.get::<_, i64>(0)?.cast_unsigned(),
            client: row.get::<_, i64>(1)?.cast_unsigned(),
        };
        let counts = Counts {
            live: tally(row, 2)?,
            muted: tally(row, 5)?,
            xruns: row.get(8)?,
            lost: row.get(9)?,
            ..Counts::default()
        };
        resume.counts.insert(key, counts);
    }
    let mut instances = connection.prepare(
        "SELECT instance, unattributed_pulls, unattributed_frames, unattributed_ns
         FROM instances ORDER BY last_seen_ns DESC LIMIT 64",
    )?;
    let mut rows = instances.query([])?;
    while let Some(row) = rows.next()? {
        resume
            .unattributed
            .insert(row.get::<_, i64>(0)?.cast_unsigned(), tally(row, 1)?);
    }
    Ok(resume)
}

/// Deletes what is older than `before_ns` and gives the space back to the disk.
pub(super) fn prune(connection: &mut Connection, before_ns: u64) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let (minute, time) = (signed(before_ns / MINUTE_NS), signed(before_ns));
    transaction.execute("DELETE FROM minutes WHERE minute < ?1", [minute])?;
    transaction.execute("DELETE FROM unattributed WHERE minute < ?1", [minute])?;
    transaction.execute("DELETE FROM bypasses WHERE last_seen_ns < ?1", [time])?;
    transaction.execute("DELETE FROM gate_changes WHERE at_ns < ?1", [time])?;
    transaction.execute("DELETE FROM instances WHERE last_seen_ns < ?1", [time])?;
    // A clock that was set back can leave minutes younger than their client's last reading.
    transaction.execute(
        "DELETE FROM clients WHERE last_seen_ns < ?1 AND id NOT IN (SELECT client FROM minutes)",
        [time],
    )?;
    transaction.commit()?;
    // Steps through one row for each page that it frees.
    let mut vacuum = connection.prepare("PRAGMA incremental_vacuum")?;
    let mut freed = vacuum.query([])?;
    while freed.next()?.is_some() {}
    Ok(())
}
