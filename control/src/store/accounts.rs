//! What is new: turns cumulative snapshots into what to add, per client and minute, and measures how long each client
//! was connected. Pure: no disk, no thread, and time comes in.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use truemute_core::observed::{
    Client, ClientState, CountedBy, Counts, Intervals, Offers, Snapshot, Tally,
};

use super::{GateRecord, bypasses};
use crate::clock::Stamp;
use crate::protocol::GateState;

pub(super) const MINUTE_NS: u64 = 60_000_000_000;

/// Rows that may wait for the disk, about 200 bytes each. Beyond them the grain coarsens, see [`Pending::thin`].
const MAX_ROWS: usize = 8192;
/// Minutes of mere presence (connected, no pulls) that may wait before they are worth a write.
const MAX_IDLE_MINUTES: u64 = 60;
/// Gate changes between two snapshots that a client which came meanwhile is measured against.
const MAX_SEGMENTS: usize = 64;
/// Characters kept of a name that an app chose.
const MAX_NAME: usize = 256;
/// Characters kept of a path (PATH_MAX of Linux).
const MAX_PATH: usize = 4096;

/// One client over restarts of the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) instance: u64,
    pub(super) client: u64,
}

/// How long a client was connected, corked or not, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectedNs {
    /// While the gate was live.
    pub live: u64,
    /// While it was muted.
    pub muted: u64,
}

/// One client with its counts in some window of time (in `client.counts`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientRecord {
    /// The backend's instance that `client.id` belongs to.
    pub instance: u64,
    /// Who it is, and the counts.
    pub client: Client,
    /// How long it was connected in that window.
    pub connected: ConnectedNs,
}

impl ClientRecord {
    /// From one row that waits to be written.
    pub(super) fn new(instance: u64, reading: &Reading, row: &Minute) -> ClientRecord {
        let client = Client {
            counts: row.counts,
            ..reading.client.clone()
        };
        ClientRecord {
            instance,
            client,
            connected: row.connected,
        }
    }

    /// Adds one such row to what is known so far.
    pub(super) fn add(&mut self, reading: &Reading, row: &Minute) {
        let mut counts = self.client.counts;
        add_counts(&mut counts, &row.counts);
        self.client = Client {
            counts,
            ..reading.client.clone()
        };
        self.connected.live += row.connected.live;
        self.connected.muted += row.connected.muted;
    }
}

/// What one client did in one minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Minute {
    /// New counts; `intervals` is the summary since the client came, as of the end of this row.
    pub(super) counts: Counts,
    pub(super) connected: ConnectedNs,
}

impl Minute {
    pub(super) fn add(&mut self, later: &Minute) {
        add_counts(&mut self.counts, &later.counts);
        self.connected.live += later.connected.live;
        self.connected.muted += later.connected.muted;
    }
}

/// Adds what came later. Sums saturate: they would need 500 years of pulls.
pub(super) fn add_counts(sum: &mut Counts, later: &Counts) {
    add_tally(&mut sum.live, &later.live);
    add_tally(&mut sum.muted, &later.muted);
    sum.xruns = sum.xruns.saturating_add(later.xruns);
    sum.lost = sum.lost.saturating_add(later.lost);
    if later.intervals != Intervals::default() {
        sum.intervals = later.intervals;
    }
}

pub(super) fn add_tally(sum: &mut Tally, later: &Tally) {
    sum.pulls = sum.pulls.saturating_add(later.pulls);
    sum.frames = sum.frames.saturating_add(later.frames);
    sum.nanoseconds = sum.nanoseconds.saturating_add(later.nanoseconds);
}

/// A client's last reading, to be written into the clients table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reading {
    /// With its cumulative counts.
    pub(super) client: Client,
    /// Wall time of the reading.
    pub(super) at_ns: u64,
}

/// What waits to be written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Pending {
    pub(super) minutes: BTreeMap<(u64, Key), Minute>,
    pub(super) readings: BTreeMap<Key, Reading>,
    /// By minute and instance.
    pub(super) unattributed: BTreeMap<(u64, u64), Tally>,
    /// Cumulative unattributed tally per instance.
    pub(super) unattributed_readings: BTreeMap<u64, Tally>,
    pub(super) gate_changes: Vec<GateRecord>,
    pub(super) bypasses: bypasses::Waiting,
    /// Something happened that is worth a write.
    urgent: bool,
}

impl Pending {
    /// Whether it should be written soon. Mere presence of clients is not worth one until an hour of it has come together,
    /// so that an idle machine's disk can sleep.
    pub(super) fn due(&self) -> bool {
        let idle = match (
            self.minutes.first_key_value(),
            self.minutes.last_key_value(),
        ) {
            (Some((first, _)), Some((last, _))) => last.0 - first.0,
            _ => 0,
        };
        self.urgent || idle >= MAX_IDLE_MINUTES
    }

    pub(super) fn is_empty(&self) -> bool {
        self.minutes.is_empty()
            && self.readings.is_empty()
            && self.unattributed.is_empty()
            && self.gate_changes.is_empty()
            && self.bypasses.is_empty()
    }

    /// Takes back what could not be written; `self` is what came meanwhile.
    pub(super) fn put_back(&mut self, mut earlier: Pending) {
        for (at, later) in &self.minutes {
            earlier.minutes.entry(*at).or_default().add(later);
        }
        for (at, later) in &self.unattributed {
            add_tally(earlier.unattributed.entry(*at).or_default(), later);
        }
        earlier.readings.append(&mut self.readings);
        earlier
            .unattributed_readings
            .append(&mut self.unattributed_readings);
        earlier.gate_changes.append(&mut self.gate_changes);
        bypasses::put_back(&mut self.bypasses, std::mem::take(&mut earlier.bypasses));
        earlier.bypasses = std::mem::take(&mut self.bypasses);
        earlier.urgent = true;
        *self = earlier;
        self.thin();
    }

    /// Bounds the memory while the disk cannot be written: rows coarsen to hours, then to days; beyond that the oldest
    /// rows lose their client and become unattributed. No pull is dropped.
    fn thin(&mut self) {
        let excess = self.gate_changes.len().saturating_sub(MAX_ROWS);
        self.gate_changes.drain(..excess);
        if self.minutes.len() <= MAX_ROWS {
            return;
        }
        for grain in [60, 24 * 60] {
            if self.minutes.len() <= MAX_ROWS {
                break;
            }
            let fine = std::mem::take(&mut self.minutes);
            for ((minute, key), row) in fine {
                self.minutes
                    .entry((minute - minute % grain, key))
                    .or_default()
                    .add(&row);
            }
        }
        while self.minutes.len() > MAX_ROWS
            && let Some(((minute, key), row)) = self.minutes.pop_first()
        {
            let nobody = self.unattributed.entry((minute, key.instance)).or_default();
            add_tally(nobody, &row.counts.live);
            add_tally(nobody, &row.counts.muted);
            self.readings.remove(&key);
        }
        // Rows need their client; the loop above may have removed one that has younger rows.
        let readings = &self.readings;
        let orphans: Vec<_> = self
            .minutes
            .keys()
            .filter(|at| !readings.contains_key(&at.1))
            .copied()
            .collect();
        for at in orphans {
            if let Some(row) = self.minutes.remove(&at) {
                let nobody = self.unattributed.entry((at.0, at.1.instance)).or_default();
                add_tally(nobody, &row.counts.live);
                add_tally(nobody, &row.counts.muted);
            }
        }
    }
}

/// A stretch of time in one state of the gate, by the wall clock.
#[derive(Clone, Copy, Debug)]
struct Segment {
    start_ns: u64,
    end_ns: u64,
    gate: GateState,
}

/// A client that the backend still reports.
#[derive(Debug)]
struct Known {
    client: Client,
    /// The highest reading so far.
    counted: Counts,
    /// Since it came.
    connected: ConnectedNs,
}

/// What is on record, by earlier runs or before the backend was lost, of clients and instances that may be told of again.
#[derive(Clone, Debug, Default)]
pub(super) struct Resume {
    pub(super) counts: HashMap<Key, Counts>,
    pub(super) unattributed: HashMap<u64, Tally>,
}

/// The state from which all figures come.
#[derive(Debug)]
pub(super) struct Accounts {
    gate: GateState,
    last: Stamp,
    segments: VecDeque<Segment>,
    known: HashMap<Key, Known>,
    unattributed: HashMap<u64, Tally>,
    pub(super) bypasses: bypasses::There,
    resume: Resume,
    /// Instances seen by this run.
    pub(super) instances: Vec<u64>,
    pub(super) started: Stamp,
    pub(super) pending: Pending,
}

impl Accounts {
    /// Starts with the gate muted, as the gate itself does (P2).
    pub(super) fn new(now: Stamp, resume: Resume) -> Accounts {
        Accounts {
            gate: GateState::Muted,
            last: now,
            segments: VecDeque::new(),
            known: HashMap::new(),
            unattributed: HashMap::new(),
            bypasses: bypasses::There::default(),
            resume,
            instances: Vec::new(),
            started: now,
            pending: Pending::default(),
        }
    }

    /// Takes in a look at the backend. Gives back the clients that have gone and whose counts are now in our hands.
    pub(super) fn snapshot(&mut self, snapshot: &Snapshot, monotonic_ns: u64) -> Vec<u64> {
        let now = Stamp {
            wall_ns: snapshot.at_ns,
            monotonic_ns,
        };
        if !self.instances.contains(&snapshot.instance) {
            self.instances.push(snapshot.instance);
            // No other instance comes back any more.
            self.resume
                .counts
                .retain(|key, _| key.instance == snapshot.instance);
            self.resume.counts.shrink_to_fit();
        }
        self.pass_time(now);
        let mut gone = Vec::new();
        for client in &snapshot.clients {
            self.client(snapshot.instance, client, now);
            if client.state == ClientState::Gone {
                gone.push(client.id);
            }
        }
        self.nobodys(snapshot, now);
        self.pending.urgent |= self.bypasses.look(snapshot, &mut self.pending.bypasses);
        let there: HashSet<u64> = snapshot.clients.iter().map(|client| client.id).collect();
        self.forget(now.wall_ns, |key| {
            key.instance == snapshot.instance && there.contains(&key.client)
        });
        self.segments.clear();
        gone
    }

    /// The gate changed, at a time that `change` has by the wall clock.
    pub(super) fn gate(&mut self, change: GateRecord, monotonic_ns: u64) {
        self.pass_time(Stamp {
            wall_ns: change.at_ns,
            monotonic_ns,
        });
        self.gate = change.gate;
        self.pending.gate_changes.push(change);
        self.pending.urgent = true;
        self.pending.thin();
    }

    /// The backend is gone, and its clients with it.
    pub(super) fn server_lost(&mut self, now: Stamp) {
        self.pass_time(now);
        // An instance that outlives the connection tells of the same clients again.
        let counted = self.known.iter().map(|(key, known)| (*key, known.counted));
        self.resume.counts.extend(counted);
        self.forget(now.wall_ns, |_| false);
        self.pending.urgent |= self.bypasses.lost(&mut self.pending.bypasses, |_| false);
        self.segments.clear();
    }

    /// All clients that are connected now, with their counts since they came.
    pub(super) fn connected(&self) -> Vec<ClientRecord> {
        let records = self
            .known
            .iter()
            .filter(|(_, known)| known.client.state != ClientState::Gone);
        records
            .map(|(key, known)| ClientRecord {
                instance: key.instance,
                client: known.client.clone(),
                connected: known.connected,
            })
            .collect()
    }

    /// Whether the backend still reports this client, and how it is.
    pub(super) fn state_of(&self, key: Key) -> ClientState {
        self.known
            .get(&key)
            .map_or(ClientState::Gone, |known| known.client.state)
    }

    /// What was offered to this client since it came, while the backend still reports it.
    pub(super) fn offers(&self, key: Key) -> Option<Offers> {
        self.known.get(&key)?.client.offers
    }

    /// Unattributed pulls since the backend's latest instance started.
    pub(super) fn unattributed(&self) -> Tally {
        let latest = self.instances.last();
        latest
            .and_then(|instance| self.unattributed.get(instance))
            .copied()
            .unwrap_or_default()
    }

    /// Whether the app of a client that is connected is muted on its own.
    pub(super) fn is_app_muted(&self, key: Key) -> bool {
        self.known
            .get(&key)
            .is_some_and(|known| known.client.app_muted && known.client.state != ClientState::Gone)
    }

    /// Time goes on until `now` in the present state of the gate.
    fn pass_time(&mut self, now: Stamp) {
        // By the monotonic clock, which neither counts sleep nor jumps when somebody sets the time.
        let elapsed = now.monotonic_ns.saturating_sub(self.last.monotonic_ns);
        self.last = now;
        let segment = Segment {
            start_ns: now.wall_ns.saturating_sub(elapsed),
            end_ns: now.wall_ns,
            gate: self.gate,
        };
        if elapsed == 0 {
            return;
        }
        for (key, known) in &mut self.known {
            if known.client.state != ClientState::Gone {
                let segment = match known.client.app_muted {
                    true => Segment {
                        gate: GateState::Muted,
                        ..segment
                    },
                    false => segment,
                };
                present(&mut self.pending, *key, known, segment, now);
            }
        }
        if self.segments.len() == MAX_SEGMENTS {
            self.segments.pop_front();
        }
        self.segments.push_back(segment);
    }

    fn client(&mut self, instance: u64, client: &Client, now: Stamp) {
        let key = Key {
            instance,
            client: client.id,
        };
        let mut client = bounded(client);
        let mut added = false;
        let known = self.known.entry(key).or_insert_with(|| {
            added = true;
            Known {
                client: client.clone(),
                counted: self.resume.counts.remove(&key).unwrap_or_default(),
                connected: ConnectedNs::default(),
            }
        });
        if let estimated @ (CountedBy::Profiler | CountedBy::Session | CountedBy::Written) =
            known.client.counted_by
        {
            // Once estimated, the sum stays an estimate.
            client.counted_by = estimated;
        }
        if added {
            // One that came and left between two snapshots was there until its last pull, as far as anybody knows.
            let end_ns = match (client.state, client.last_pull_ns) {
                (ClientState::Gone, Some(last_pull)) => last_pull.min(now.wall_ns),
                _ => now.wall_ns,
            };
            for segment in &self.segments {
                let part = Segment {
                    start_ns: segment.start_ns.max(client.first_seen_ns),
                    end_ns: segment.end_ns.min(end_ns),
                    gate: segment.gate,
                };
                present(&mut self.pending, key, known, part, now);
            }
        }
        let new = news(&mut known.counted, &client.counts);
        let pulled = new.live.pulls + new.muted.pulls + new.xruns + new.lost > 0;
        if pulled {
            let row = Minute {
                counts: new,
                connected: ConnectedNs::default(),
            };
            self.pending
                .minutes
                .entry((now.wall_ns / MINUTE_NS, key))
                .or_default()
                .add(&row);
        }
        if pulled || added || !same_but_counts(&known.client, &client) {
            self.pending.urgent = true;
            let reading = Reading {
                client: client.clone(),
                at_ns: now.wall_ns,
            };
            self.pending.readings.insert(key, reading);
        }
        known.client = client;
        self.pending.thin();
    }

    fn nobodys(&mut self, snapshot: &Snapshot, now: Stamp) {
        let resume = &mut self.resume.unattributed;
        let counted = self
            .unattributed
            .entry(snapshot.instance)
            .or_insert_with(|| resume.remove(&snapshot.instance).unwrap_or_default());
        let new = new_tally(counted, &snapshot.unattributed);
        if new != Tally::default() {
            let minute = now.wall_ns / MINUTE_NS;
            add_tally(
                self.pending
                    .unattributed
                    .entry((minute, snapshot.instance))
                    .or_default(),
                &new,
            );
            self.pending
                .unattributed_readings
                .insert(snapshot.instance, *counted);
            self.pending.urgent = true;
        }
    }

    /// Drops clients that the backend no longer reports. One that vanished without a last word is written as gone.
    fn forget(&mut self, now_ns: u64, is_there: impl Fn(&Key) -> bool) {
        let pending = &mut self.pending;
        self.known.retain(|key, known| {
            let there = is_there(key);
            if !there && known.client.state != ClientState::Gone {
                known.client.state = ClientState::Gone;
                let reading = Reading {
                    client: known.client.clone(),
                    at_ns: now_ns,
                };
                pending.readings.insert(*key, reading);
                pending.urgent = true;
            }
            there
        });
    }
}

/// Adds a stretch of being connected, minute by minute.
fn present(pending: &mut Pending, key: Key, known: &mut Known, segment: Segment, now: Stamp) {
    let mut start_ns = segment.start_ns;
    while start_ns < segment.end_ns {
        let minute = start_ns / MINUTE_NS;
        let end_ns = segment.end_ns.min((minute + 1).saturating_mul(MINUTE_NS));
        let row = pending.minutes.entry((minute, key)).or_default();
        for connected in [&mut row.connected, &mut known.connected] {
            match segment.gate {
                GateState::Live => connected.live += end_ns - start_ns,
                GateState::Muted => connected.muted += end_ns - start_ns,
            }
        }
        start_ns = end_ns;
    }
    pending.readings.entry(key).or_insert_with(|| Reading {
        client: known.client.clone(),
        at_ns: now.wall_ns,
    });
}

/// What `reading` has more than `counted`, which becomes the higher of both. A reading that falls (the contract forbids
/// it) adds nothing rather than something negative, and nothing twice when it rises again.
fn news(counted: &mut Counts, reading: &Counts) -> Counts {
    Counts {
        live: new_tally(&mut counted.live, &reading.live),
        muted: new_tally(&mut counted.muted, &reading.muted),
        xruns: more(&mut counted.xruns, reading.xruns),
        lost: more(&mut counted.lost, reading.lost),
        intervals: reading.intervals,
    }
}

fn new_tally(counted: &mut Tally, reading: &Tally) -> Tally {
    Tally {
        pulls: more(&mut counted.pulls, reading.pulls),
        frames: more(&mut counted.frames, reading.frames),
        nanoseconds: more(&mut counted.nanoseconds, reading.nanoseconds),
    }
}

fn more(counted: &mut u64, reading: u64) -> u64 {
    let new = reading.saturating_sub(*counted);
    *counted += new;
    new
}

fn same_but_counts(one: &Client, other: &Client) -> bool {
    let blank = |client: &Client| Client {
        counts: Counts::default(),
        offers: None,
        last_pull_ns: None,
        ..client.clone()
    };
    blank(one) == blank(other)
}

/// Apps choose their names: a long one must not fill the disk.
fn bounded(client: &Client) -> Client {
    let mut client = client.clone();
    shorten(&mut client.who.app, MAX_NAME);
    shorten(&mut client.who.stream, MAX_NAME);
    if let Some(puller) = &mut client.who.puller {
        shorten(&mut puller.name, MAX_NAME);
    }
    client.who.executable = client.who.executable.map(|path| {
        // JSON and SQL text are UTF-8; a path need not be, and one bad name must not spoil the whole report.
        let mut text = path.to_string_lossy().into_owned();
        shorten(&mut text, MAX_PATH);
        text.into()
    });
    client
}

fn shorten(text: &mut String, characters: usize) {
    if let Some((end, _)) = text.char_indices().nth(characters) {
        text.truncate(end);
    }
}
