//! What goes in comes out: deltas, minutes, connected time, windows.

use std::sync::Arc;

use proptest::prelude::*;
use truemute_core::observed::{Applied, ClientState};

use super::super::accounts::{Accounts, MINUTE_NS, Resume};
use super::*;
use crate::clock::Stamp;
use crate::daemon::{GateChange, History};
use crate::protocol::Behaviour;
use crate::stats::tests::{SECOND, T0, client, tally};

/// What happens to the backend or the recorder.
#[derive(Clone, Debug)]
enum Step {
    /// A client pulls: which, how often live, how often muted, how many xruns and lost.
    Pull(u64, u64, u64, u64, u64),
    /// Pulls of nobody.
    Nobody(u64),
    /// The recorder sees a snapshot after so many seconds.
    Look(u64),
    /// A client leaves.
    Leave(u64),
    /// The backend starts anew: all clients and counts begin again.
    NewInstance,
    /// The recorder ends and starts on the same file while the backend goes on.
    NewRecorder,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0_u64..4, 0_u64..50, 0_u64..50, 0_u64..2, 0_u64..2).prop_map(|(a, b, c, d, e)| Step::Pull(a, b, c, d, e)),
        1 => (1_u64..9).prop_map(Step::Nobody),
        6 => (0_u64..200).prop_map(Step::Look),
        1 => (0_u64..4).prop_map(Step::Leave),
        1 => Just(Step::NewInstance),
        1 => Just(Step::NewRecorder),
    ]
}

/// A backend that counts, and remembers the truth over its restarts.
#[derive(Default)]
struct Backend {
    instance: u64,
    now_ns: u64,
    clients: Vec<Client>,
    next_id: u64,
    nobody: u64,
    /// Live, muted, xruns, lost, unattributed, as far as a recorder saw them.
    seen: [u64; 5],
    /// What happened since the last look.
    unseen: [u64; 5],
}

impl Backend {
    fn pull(&mut self, slot: u64, live: u64, muted: u64, xruns: u64, lost: u64) {
        let app = format!("app-{slot}");
        let here = |client: &Client| client.who.app == app && client.state != ClientState::Gone;
        let index = self.clients.iter().position(here).unwrap_or_else(|| {
            self.next_id += 1;
            let mut newcomer = client(self.next_id, &app);
            newcomer.first_seen_ns = self.now_ns;
            self.clients.push(newcomer);
            self.clients.len() - 1
        });
        let client = &mut self.clients[index];
        client.counts.live = tally(client.counts.live.pulls + live);
        client.counts.muted = tally(client.counts.muted.pulls + muted);
        client.counts.xruns += xruns;
        client.counts.lost += lost;
        client.last_pull_ns = Some(self.now_ns);
        for (sum, new) in self.unseen.iter_mut().zip([live, muted, xruns, lost, 0]) {
            *sum += new;
        }
    }

    fn look(&mut self, recorder: &Recorder, seconds: u64) {
        self.now_ns += seconds * SECOND;
        let mut snapshot = snapshot(self.instance, self.now_ns, &self.clients);
        snapshot.unattributed = tally(self.nobody);
        let gone = recorder.snapshot_at(&snapshot, self.now_ns);
        self.clients.retain(|client| !gone.contains(&client.id));
        for (sum, new) in self.seen.iter_mut().zip(self.unseen) {
            *sum += new;
        }
        self.unseen = [0; 5];
    }
}

fn totals(stats: &crate::protocol::Stats) -> [u64; 5] {
    let mut sums = [0, 0, 0, 0, stats.unattributed.pulls];
    for client in &stats.clients {
        for (sum, new) in sums.iter_mut().zip([
            client.live.pulls,
            client.muted.pulls,
            client.xruns,
            client.lost,
        ]) {
            *sum += new;
        }
    }
    sums
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Sums in the store equal the sums of the counters that it was shown, whatever restarts between.
    #[test]
    fn sums_are_those_of_the_counters(steps in prop::collection::vec(step(), 1..40)) {
        let (_directory, path) = place();
        let mut recorder = start(&path);
        let mut backend = Backend { instance: u64::MAX - 7, now_ns: T0, ..Backend::default() };
        for step in steps {
            match step {
                Step::Pull(slot, live, muted, xruns, lost) => backend.pull(slot, live, muted, xruns, lost),
                Step::Nobody(pulls) => {
                    backend.nobody += pulls;
                    backend.unseen[4] += pulls;
                }
                Step::Look(seconds) => backend.look(&recorder, seconds),
                Step::Leave(slot) => {
                    let app = format!("app-{slot}");
                    for client in backend.clients.iter_mut().filter(|client| client.who.app == app) {
                        client.state = ClientState::Gone;
                    }
                }
                Step::NewInstance => {
                    backend.instance = backend.instance.wrapping_add(1);
                    backend.clients.clear();
                    backend.next_id = 0;
                    backend.nobody = 0;
                    // What nobody looked at died with the instance.
                    backend.unseen = [0; 5];
                }
                Step::NewRecorder => {
                    recorder.end().unwrap();
                    recorder = start(&path);
                }
            }
        }
        // Before everything is written, from memory and file together; and after, from the file alone.
        prop_assert_eq!(totals(&recorder.sums(Some(0)).unwrap()), backend.seen);
        recorder.end().unwrap();
        if path.exists() {
            let (records, unattributed) = Reader::open(&path).unwrap().sums(&Window::default()).unwrap();
            let stats = crate::stats::of_records(records, unattributed, Vec::new(), 0, 0);
            prop_assert_eq!(totals(&stats), backend.seen);
            for client in &stats.clients {
                prop_assert_eq!(client.live.frames, client.live.pulls * 480);
                prop_assert_eq!(client.muted.frames, client.muted.pulls * 480);
            }
        }
    }
}

fn accounts() -> Accounts {
    Accounts::new(
        Stamp {
            wall_ns: T0,
            monotonic_ns: 0,
        },
        Resume::default(),
    )
}

fn connected(accounts: &Accounts, id: u64) -> (u64, u64) {
    let records = accounts.connected();
    let record = records
        .iter()
        .find(|record| record.client.id == id)
        .unwrap();
    (
        record.connected.live / SECOND,
        record.connected.muted / SECOND,
    )
}

#[test]
fn connected_time_follows_the_gate_and_a_clients_coming() {
    let mut accounts = accounts();
    let at = |seconds: u64| Stamp {
        wall_ns: T0 + seconds * SECOND,
        monotonic_ns: seconds * SECOND,
    };
    let early = client(1, "early");
    accounts.snapshot(&snapshot(1, T0, std::slice::from_ref(&early)), 0);
    accounts.gate(change(GateState::Live, at(10).wall_ns), at(10).monotonic_ns);
    let mut late = client(2, "late");
    late.first_seen_ns = T0 + 15 * SECOND;
    accounts.gate(
        change(GateState::Muted, at(20).wall_ns),
        at(20).monotonic_ns,
    );
    accounts.snapshot(
        &snapshot(1, at(50).wall_ns, &[early, late]),
        at(50).monotonic_ns,
    );
    assert_eq!(connected(&accounts, 1), (10, 40));
    assert_eq!(connected(&accounts, 2), (5, 30));
}

#[test]
fn sleep_and_a_clock_that_is_set_do_not_count_as_connected() {
    let mut accounts = accounts();
    let app = [client(1, "app")];
    accounts.snapshot(&snapshot(1, T0, &app), 0);
    // Eight hours later by the wall, ten seconds by the monotonic clock.
    accounts.snapshot(&snapshot(1, T0 + 8 * 3600 * SECOND, &app), 10 * SECOND);
    // And back.
    accounts.snapshot(&snapshot(1, T0 + 100 * SECOND, &app), 15 * SECOND);
    assert_eq!(connected(&accounts, 1), (0, 15));
}

#[test]
fn a_reading_that_falls_adds_nothing() {
    let mut accounts = accounts();
    let mut app = client(1, "app");
    for (second, pulls) in [(1, 100), (2, 40), (3, 110)] {
        app.counts.muted = tally(pulls);
        let now = snapshot(1, T0 + second * SECOND, std::slice::from_ref(&app));
        accounts.snapshot(&now, second * SECOND);
    }
    let sum: u64 = accounts
        .pending
        .minutes
        .values()
        .map(|row| row.counts.muted.pulls)
        .sum();
    assert_eq!(sum, 110);
}

#[test]
fn an_estimate_stays_an_estimate() {
    use truemute_core::observed::CountedBy;
    let mut accounts = accounts();
    let mut app = client(1, "app");
    app.counted_by = CountedBy::Profiler;
    accounts.snapshot(&snapshot(1, T0, std::slice::from_ref(&app)), 0);
    app.counted_by = CountedBy::ActivationRecord;
    accounts.snapshot(&snapshot(1, T0, &[app]), 0);
    assert_eq!(
        accounts.connected()[0].client.counted_by,
        CountedBy::Profiler
    );
}

#[test]
fn names_are_bounded() {
    let mut accounts = accounts();
    let mut app = client(1, "app");
    app.who.app = "ä".repeat(100_000);
    app.who.stream = "s".repeat(100_000);
    app.who.executable = Some("x".repeat(100_000).into());
    accounts.snapshot(&snapshot(1, T0, &[app]), 0);
    let known = &accounts.connected()[0].client;
    assert_eq!(
        (known.who.app.chars().count(), known.who.stream.len()),
        (256, 256)
    );
    assert_eq!(
        known.who.executable.as_ref().unwrap().as_os_str().len(),
        4096
    );
}

#[test]
fn mere_presence_is_written_once_an_hour() {
    let mut accounts = accounts();
    let app = [client(1, "app")];
    accounts.snapshot(&snapshot(1, T0, &app), 0);
    assert!(accounts.pending.due(), "a client came");
    accounts.pending = Default::default();
    for minute in 1..=59 {
        accounts.snapshot(
            &snapshot(1, T0 + minute * MINUTE_NS, &app),
            minute * MINUTE_NS,
        );
        assert!(!accounts.pending.due(), "minute {minute}");
    }
    accounts.snapshot(&snapshot(1, T0 + 62 * MINUTE_NS, &app), 62 * MINUTE_NS);
    assert!(accounts.pending.due());
}

#[test]
fn a_window_starts_at_its_minute_and_this_run_at_its_own_start() {
    let (_directory, path) = place();
    let minute = |number: u64| T0 + number * MINUTE_NS;
    let mut app = client(1, "app");
    let recorder = start(&path);
    for number in 0..10 {
        app.counts.live = tally((number + 1) * 10);
        recorder.snapshot_at(
            &snapshot(1, minute(number), std::slice::from_ref(&app)),
            minute(number),
        );
    }
    recorder.end().unwrap();
    let recorder = start(&path);
    let pulls = |stats: crate::protocol::Stats| -> u64 {
        stats.clients.iter().map(|client| client.live.pulls).sum()
    };
    assert_eq!(pulls(recorder.sums(Some(0)).unwrap()), 100);
    assert_eq!(
        pulls(recorder.sums(Some(minute(7) + 30 * SECOND)).unwrap()),
        30
    );
    assert_eq!(pulls(recorder.sums(None).unwrap()), 0);
    let now = Stamp::now();
    let mut newer = client(1, "newer");
    newer.first_seen_ns = now.wall_ns;
    newer.counts.live = tally(5);
    recorder.record(&Arc::new(snapshot(2, now.wall_ns, &[newer])));
    let stats = recorder.sums(None).unwrap();
    assert_eq!(stats.clients.len(), 1);
    assert_eq!(
        (stats.clients[0].who.app.as_str(), pulls(stats.clone())),
        ("newer", 5)
    );
    // The client of the former instance is not there any more.
    let all = recorder.sums(Some(0)).unwrap();
    let states: Vec<_> = all
        .clients
        .iter()
        .map(|client| (client.who.app.as_str(), client.state))
        .collect();
    assert_eq!(
        states,
        [("app", ClientState::Gone), ("newer", ClientState::Running)]
    );
}

#[test]
fn live_figures_know_behaviour_and_connected_time() {
    let (_directory, path) = place();
    let recorder = start(&path);
    let now = Stamp::now();
    let mut app = client(1, "app");
    app.first_seen_ns = now.wall_ns;
    recorder.snapshot_at(
        &snapshot(1, now.wall_ns, std::slice::from_ref(&app)),
        now.monotonic_ns,
    );
    app.counts.muted = tally(1000);
    let later = snapshot(1, now.wall_ns + 10 * SECOND, &[app]);
    recorder.snapshot_at(&later, now.monotonic_ns + 10 * SECOND);
    let clients = recorder.clients().clients;
    assert_eq!(clients[0].behaviour_while_muted, Behaviour::Continuous);
    assert_eq!(clients[0].connected.muted_seconds, 10.0);
    let stored = recorder.sums(None).unwrap().clients;
    assert_eq!(stored[0].connected.muted_seconds, 10.0);
    assert_eq!(stored[0].behaviour_while_muted, Behaviour::Continuous);
}

#[test]
fn gate_changes_are_kept_in_order() {
    let (_directory, path) = place();
    let recorder = start(&path);
    let now = Stamp::now();
    let mut live = GateChange {
        gate: GateState::Live,
        reason: "cli".into(),
        monotonic_ns: now.monotonic_ns,
        wall_ns: now.wall_ns,
        applied: Some(Applied::Cycle {
            clock: "clock".into(),
            position: 4800,
            took_us: 5,
        }),
    };
    recorder.gate_changed(&live);
    live.gate = GateState::Muted;
    live.applied = None;
    recorder.gate_changed(&live);
    recorder.end().unwrap();
    let in_a_cycle = GateRecord {
        clock: Some("clock".into()),
        position: Some(4800),
        ..change(GateState::Live, now.wall_ns)
    };
    let changes = Reader::open(&path).unwrap().gate_changes(0).unwrap();
    assert_eq!(changes, [in_a_cycle, change(GateState::Muted, now.wall_ns)]);
}

#[test]
fn a_lost_server_ends_its_clients() {
    let (_directory, path) = place();
    let recorder = start(&path);
    let mut app = client(1, "app");
    app.counts.live = tally(5);
    recorder.record(&Arc::new(snapshot(1, Stamp::now().wall_ns, &[app])));
    assert_eq!(recorder.clients().clients.len(), 1);
    recorder.server_lost();
    assert_eq!(recorder.clients().clients.len(), 0);
    recorder.close();
    let (records, _) = Reader::open(&path)
        .unwrap()
        .sums(&Window::default())
        .unwrap();
    assert_eq!(records[0].client.state, ClientState::Gone);
}

#[test]
fn a_window_before_everything_holds_it_and_one_after_it_does_not() {
    let (_directory, path) = place();
    let recorder = start(&path);
    recorder.snapshot_at(&snapshot(1, T0, &[client(1, "app")]), 0);
    let clients = |since: &str| {
        let since = since.parse().unwrap();
        recorder.stats(Some(since)).unwrap().clients.len()
    };
    recorder.snapshot_at(&snapshot(1, T0 + SECOND, &[client(1, "app")]), SECOND);
    assert_eq!(clients("-009998-01-01T00:00:00Z"), 1);
    assert_eq!(clients("9998-01-01T00:00:00Z"), 0);
}

/// A client of a driver that outlives both the daemon and the connection to it.
fn told_again(pulls: u64, state: ClientState) -> Arc<Snapshot> {
    let mut app = client(1, "app");
    (app.counts.live, app.state) = (tally(pulls), state);
    Arc::new(snapshot(1, Stamp::now().wall_ns, &[app]))
}

#[test]
fn what_a_driver_tells_again_of_a_client_that_left_is_counted_once() {
    let (_directory, path) = place();
    let recorder = start(&path);
    recorder.record(&told_again(5, ClientState::Gone));
    recorder.close();
    // The daemon died before the driver heard that all of it is on record.
    let recorder = start(&path);
    recorder.record(&told_again(5, ClientState::Gone));
    recorder.close();
    assert_eq!(stored_pulls(&path), (5, 0));
}

#[test]
fn what_a_driver_tells_again_after_its_connection_was_lost_is_counted_once() {
    let (_directory, path) = place();
    let recorder = start(&path);
    recorder.record(&told_again(5, ClientState::Running));
    recorder.server_lost();
    recorder.record(&told_again(7, ClientState::Running));
    recorder.record(&told_again(8, ClientState::Gone));
    recorder.server_lost();
    recorder.record(&told_again(8, ClientState::Gone));
    recorder.close();
    assert_eq!(stored_pulls(&path), (8, 0));
}
