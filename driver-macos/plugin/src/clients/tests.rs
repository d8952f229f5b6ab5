//! Who is there, who left, and whose reads are whose, without an IO thread.

use super::*;
use crate::departed::{MOST_GONE, MOST_UNDECIDED};
use crate::seats::MOST;
use truemute_core::ledger::Pull;

impl Clients {
    fn record(&self, id: u32, pull: Pull) {
        self.begin(id).end(pull, None);
    }
}

fn pull(frames: u32, live: bool) -> Pull {
    Pull {
        finish_ns: 1,
        frames,
        nanoseconds: 2,
        live,
        flagged: false,
    }
}

fn pulls(clients: &Clients, id: u32) -> Vec<(u64, u64)> {
    let everybody = clients.everybody(None).clients;
    let its = everybody.iter().filter(|it| it.client.id == id);
    its.filter_map(|it| it.counts.as_ref())
        .map(|counts| (counts.live.pulls, counts.muted.frames))
        .collect()
}

#[test]
fn each_client_has_its_own_counts_and_strangers_have_none() {
    let clients = Clients::new();
    clients.add(5, 100, Some("org.example.five".into()));
    clients.add(5 + MOST as u32, 101, None); // the same favourite seat
    clients.record(5, pull(10, true));
    clients.record(5 + MOST as u32, pull(20, false));
    clients.record(9, pull(30, false));
    assert_eq!(pulls(&clients, 5), [(1, 0)]);
    assert_eq!(pulls(&clients, 5 + MOST as u32), [(0, 20)]);
    let everybody = clients.everybody(None);
    assert_eq!(everybody.unattributed.frames, 30);
    assert_eq!(
        everybody.clients[0].client.bundle.as_deref(),
        Some("org.example.five")
    );
}

#[test]
fn an_id_that_comes_again_is_another_client() {
    let clients = Clients::new();
    clients.add(5, 100, None);
    clients.record(5, pull(10, false));
    clients.remove(5);
    clients.record(5, pull(1, false));
    clients.add(5, 200, None);
    clients.record(5, pull(20, false));
    clients.add(5, 300, None);
    let everybody = clients.everybody(Some(&Recorded::default()));
    let seen: Vec<_> = everybody
        .clients
        .iter()
        .map(|it| (it.client.arrival, it.client.pid, it.running))
        .collect();
    assert_eq!(
        seen,
        [(3, 300, Some(false)), (1, 100, None), (2, 200, None)]
    );
    assert_eq!(everybody.unattributed.frames, 1);
    let again = clients.everybody(Some(&Recorded::default()));
    assert_eq!(again.clients.len(), 3, "the first look may have got lost");
    let recorded = Recorded {
        look: again.look,
        gone: vec![1],
    };
    let rest = clients.everybody(Some(&recorded)).clients;
    let rest: Vec<_> = rest.iter().map(|it| it.client.arrival).collect();
    assert_eq!(rest, [3, 2]);
}

#[test]
fn starting_twice_and_stopping_unmatched_change_nothing() {
    let clients = Clients::new();
    let mut firsts = 0;
    clients.stop(1);
    assert_eq!(clients.running(), 0);
    clients.start(1, || firsts += 1);
    clients.start(1, || firsts += 1);
    clients.start(2, || firsts += 1);
    assert_eq!(clients.running(), 2);
    clients.stop(1);
    clients.stop(1);
    assert_eq!(clients.running(), 1);
    clients.add(2, 7, None);
    assert_eq!(clients.running(), 1, "coming does not stop");
    clients.remove(2);
    assert_eq!((clients.running(), firsts), (0, 1), "leaving stops");
    clients.start(1, || firsts += 1);
    assert_eq!(firsts, 2);
}

#[test]
fn one_client_too_many_is_unattributed_and_gets_no_others_seat() {
    let clients = Clients::new();
    for id in 0..=MOST as u32 {
        clients.add(id, 1, None);
        clients.record(id, pull(1, false));
    }
    let everybody = clients.everybody(None);
    assert_eq!(everybody.unattributed.frames, 1);
    assert_eq!(
        everybody
            .clients
            .iter()
            .filter(|it| it.counts.is_none())
            .count(),
        1
    );
    clients.remove(0);
    clients.add(1000, 1, None);
    clients.record(1000, pull(1, false));
    assert_eq!(clients.everybody(None).unattributed.frames, 1);
}

#[test]
fn whoever_left_too_long_ago_is_summed_up() {
    let clients = Clients::new();
    for id in 0..MOST_GONE as u32 + 3 {
        clients.add(id, 1, None);
        clients.record(id, pull(1, id % 2 == 0));
        clients.remove(id);
    }
    let everybody = clients.everybody(None);
    assert_eq!(
        (everybody.clients.len(), everybody.forgotten),
        (MOST_GONE, 3)
    );
    assert_eq!(everybody.unattributed.pulls, 3);
}

#[test]
fn who_is_muted_on_his_own_is_silent_and_who_comes_is_until_he_is_judged() {
    let clients = Clients::new();
    let is_silent = |id| clients.begin(id).is_silent();
    clients.add(1, 10, None);
    clients.add(2, 20, None);
    assert!(!is_silent(1) && !is_silent(9));
    let aside = |list: &[u64], judged| {
        let clients = list.to_vec();
        Aside { clients, judged }
    };
    let reading = clients.begin(1);
    clients.set_aside(&aside(&[1], 2));
    assert!(!clients.is_aside_settled() && !reading.is_silent());
    drop(reading);
    assert!(clients.is_aside_settled());
    assert!(is_silent(1) && !is_silent(2));
    assert!(is_silent(9), "nobody knows who that is");
    // The first one comes again, under another id.
    clients.remove(1);
    clients.add(3, 10, None);
    assert!(is_silent(3), "it was not judged yet");
    clients.set_aside(&aside(&[3], 3));
    assert!(is_silent(3) && !is_silent(2));
    // A client that was let in while another's read still is on its way.
    let late = clients.begin(3);
    clients.remove(3);
    assert!(late.is_silent());
    drop(late);
    let stale = clients.begin(2);
    clients.remove(2);
    clients.add(2, 40, None);
    assert!(stale.is_silent(), "its client left");
    drop(stale);
    clients.set_aside(&Aside::default());
    assert!(!is_silent(2) && !is_silent(9));
    clients.add(5, 10, None);
    assert!(!is_silent(5));
}

#[test]
fn single_reads_are_kept_while_somebody_traces() {
    let clients = Clients::new();
    clients.add(1, 10, None);
    clients.trace(true);
    clients.begin(1).end(pull(10, true), Some(512));
    clients.begin(8).end(pull(20, false), Some(512));
    let expected = Pulled {
        arrival: 1,
        at_ns: 1,
        position: 512,
        frames: 10,
        live: true,
        flagged: false,
    };
    let pulls = clients.pulls(9);
    assert_eq!((pulls.pulls, pulls.lost), (vec![expected], 1));
    clients.trace(false);
    clients.begin(1).end(pull(10, true), None);
    assert_eq!(clients.pulls(9), Pulls::default());
}

/// What a crowd does to those who left before it.
fn crowd(clients: &Clients) {
    for id in 0..MOST_GONE as u32 + 1 {
        clients.add(id, 1, None);
        clients.remove(id);
    }
}

/// A client of three reads, of which a look for the record had two.
fn seen_and_gone(clients: &Clients) -> u64 {
    clients.add(1, 1, None);
    clients.record(1, pull(1, false));
    clients.record(1, pull(1, true));
    let look = clients.everybody(Some(&Recorded::default())).look;
    clients.record(1, pull(1, false));
    clients.remove(1);
    look
}

fn reads_of_the_first(everybody: &Everybody) -> Option<u64> {
    let mut all = everybody.clients.iter();
    let first = all.find(|it| it.client.arrival == 1)?;
    first
        .counts
        .as_ref()
        .map(|counts| counts.live.pulls + counts.muted.pulls)
}

/// Whether the agent that got the look wrote it down before it died, nobody knows: only what the client is called by can say
/// later which of its reads are on record.
#[test]
fn who_may_be_on_record_is_not_forgotten_for_others() {
    let clients = Clients::new();
    seen_and_gone(&clients);
    crowd(&clients);
    // The next agent has had no look yet.
    let first = clients.everybody(Some(&Recorded::default()));
    assert_eq!(reads_of_the_first(&first), Some(3));
    crowd(&clients);
    let second = clients.everybody(Some(&Recorded::default()));
    assert_eq!(reads_of_the_first(&second), Some(3));
    assert_eq!(second.unattributed, Tally::default());
    let gone = vec![1];
    let look = second.look;
    let third = clients.everybody(Some(&Recorded { look, gone }));
    assert_eq!(reads_of_the_first(&third), None);
    assert_eq!(third.unattributed, Tally::default());
}

#[test]
fn what_is_on_record_of_a_forgotten_client_is_not_counted_again() {
    let clients = Clients::new();
    let look = seen_and_gone(&clients);
    let gone = Vec::new();
    let second = clients.everybody(Some(&Recorded { look, gone }));
    let look = second.look;
    let gone = Vec::new();
    clients.everybody(Some(&Recorded { look, gone }));
    // All three are on record now, but not that it left: the two looks had them.
    crowd(&clients);
    let everybody = clients.everybody(None);
    assert_eq!(reads_of_the_first(&everybody), None);
    assert_eq!(everybody.unattributed, Tally::default());
}

#[test]
fn agents_that_die_again_and_again_do_not_fill_the_memory() {
    let clients = Clients::new();
    for round in 0..5 {
        for id in 0..MOST as u32 {
            clients.add(id, round, None);
            clients.record(id, pull(1, false));
        }
        clients.everybody(Some(&Recorded::default()));
        (0..MOST as u32).for_each(|id| clients.remove(id));
    }
    let everybody = clients.everybody(None);
    assert_eq!(everybody.clients.len(), MOST_UNDECIDED);
    assert_eq!(everybody.forgotten as usize, 5 * MOST - MOST_UNDECIDED);
    assert_eq!(
        everybody.unattributed.pulls, 0,
        "nothing is counted twice: those looks had all of it"
    );
}

#[test]
fn everybody_at_their_longest_fits_one_message() {
    use truemute_bridge::message::{
        Client, FromPlugin, LARGEST_FROM_PLUGIN, Reply, Snapshot, encode,
    };
    use truemute_core::observed::{Counts, Intervals};
    let clients = Clients::new();
    let longest = "\u{e4}".repeat(10_000);
    let (many, gone) = (MOST + MOST_STANDING, MOST_UNDECIDED + MOST_GONE);
    for id in 0..(many + gone + 9) as u32 {
        clients.add(id, 1, Some(longest.clone()));
    }
    let come_again = |ids: std::ops::Range<u32>| {
        for id in ids {
            clients.remove(id);
            clients.add(id, 1, Some(longest.clone()));
        }
    };
    for _ in 0..=MOST_UNDECIDED / MOST {
        (0..MOST as u32).for_each(|id| clients.record(id, pull(1, false)));
        clients.everybody(Some(&Recorded::default()));
        come_again(0..MOST as u32);
    }
    come_again(0..MOST_GONE as u32 + 9);
    let everybody = clients.everybody(None);
    assert_eq!(everybody.clients.len(), many + gone);
    let tally = Tally {
        pulls: u64::MAX,
        frames: u64::MAX,
        nanoseconds: u64::MAX,
    };
    let intervals = Intervals {
        p50_us: u64::MAX,
        p99_us: u64::MAX,
        max_us: u64::MAX,
    };
    let worst = |it: Counted| Client {
        arrival: u64::MAX,
        id: u32::MAX,
        pid: i32::MIN,
        bundle: it.client.bundle,
        running: Some(true),
        counts: Some(Counts {
            live: tally,
            muted: tally,
            xruns: u64::MAX,
            lost: u64::MAX,
            intervals,
        }),
        last_read_ns: Some(u64::MAX),
    };
    let snapshot = Snapshot {
        instance: u64::MAX,
        look: u64::MAX,
        at_ns: u64::MAX,
        clients: everybody.clients.into_iter().map(worst).collect(),
        unattributed: tally,
        forgotten: u64::MAX,
    };
    let reply = FromPlugin::Reply {
        id: u32::MAX,
        reply: Reply::Snapshot(snapshot),
    };
    assert!(encode(&reply, LARGEST_FROM_PLUGIN).is_ok());
}

#[test]
fn nothing_is_lost_while_clients_come_and_go() {
    const READS: u64 = 20_000;
    let clients = Clients::new();
    std::thread::scope(|scope| {
        for id in [3, 3 + MOST as u32, 9] {
            let clients = &clients;
            scope.spawn(move || (0..READS).for_each(|_| clients.record(id, pull(1, false))));
        }
        for round in 0..20 {
            clients.add(3, round, None);
            clients.add(3 + MOST as u32, round, None);
            clients.everybody(None);
            clients.remove(3);
            clients.remove(3 + MOST as u32);
        }
    });
    let everybody = clients.everybody(None);
    let counted: u64 = everybody
        .clients
        .iter()
        .filter_map(|it| it.counts.as_ref())
        .map(|counts| counts.muted.pulls)
        .sum();
    assert_eq!(counted + everybody.unattributed.pulls, 3 * READS);
}

#[test]
fn a_read_that_does_not_follow_on_the_last_one_is_flagged() {
    let clients = Clients::new();
    clients.add(1, 10, None);
    clients.start(1, || {});
    let flagged = || {
        let counts = clients.everybody(None).clients.remove(0).counts;
        counts.expect("it has a seat").xruns
    };
    let read = |position: Option<u64>| clients.begin(1).end(pull(10, false), position);
    [500, 510, 520]
        .into_iter()
        .for_each(|position| read(Some(position)));
    assert_eq!(flagged(), 0, "the first one may begin anywhere");
    read(Some(540));
    assert_eq!(flagged(), 1, "it missed a block");
    read(Some(540));
    assert_eq!(flagged(), 2, "it got a block again");
    read(None);
    assert_eq!(flagged(), 3, "nobody knows where that was");
    read(Some(9000));
    clients.stop(1);
    clients.start(1, || {});
    read(Some(99_000));
    assert_eq!(flagged(), 3, "it started anew");
    clients.begin(8).end(pull(10, false), Some(99_010));
    read(Some(99_010));
    assert_eq!(flagged(), 3, "what others read is no matter");
    clients.trace(true);
    read(Some(0));
    read(Some(10));
    let pulls = clients.pulls(9).pulls;
    assert_eq!([pulls[0].flagged, pulls[1].flagged], [true, false]);
}
