//! Property tests: the gate against a plain model of the promises P1, P2 and P3, the ledger against plain sums (P5).
#![cfg(not(loom))]

use proptest::prelude::*;
use std::collections::BTreeMap;
use truemute_core::gate::{
    Decision, Delivery, Epoch, Gate, LONGEST_LEASE_NS, SilentReason, Source,
};
use truemute_core::ledger::{Ledger, NoSnapshot, Pull, SlotSnapshot, SlotWriter, Tally};

/// Instants near each other, so that all orders occur, and the ends of the range.
fn instant() -> impl Strategy<Value = u64> {
    prop_oneof![8 => 0..40_u64, 1 => Just(u64::MAX), 1 => any::<u64>()]
}

fn source() -> impl Strategy<Value = Source> {
    prop_oneof![
        1 => Just(Source::Missing),
        1 => Just(Source::Unhealthy),
        8 => instant().prop_map(|began_ns| Source::Block { began_ns }),
    ]
}

#[derive(Clone, Copy, Debug)]
enum Command {
    Mute,
    Unmute(u64),
    Renew(u64),
    Revoke,
}

fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        2 => Just(Command::Mute),
        4 => (0..20_u64).prop_map(Command::Unmute),
        1 => instant().prop_map(Command::Unmute),
        6 => (0..80_u64).prop_map(Command::Renew),
        1 => instant().prop_map(Command::Renew),
        1 => Just(Command::Revoke),
    ]
}

#[derive(Clone, Debug)]
enum Step {
    Command(Command),
    /// A delivery that begins and stays in flight.
    Begin(u64, Source),
    /// The end of the nth delivery in flight, with commands that come during its copy.
    End(usize, Vec<Command>),
    /// A delivery given up without being filled.
    Drop(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => command().prop_map(Step::Command),
        3 => (instant(), source()).prop_map(|(now_ns, source)| Step::Begin(now_ns, source)),
        3 => (any::<usize>(), prop::collection::vec(command(), 0..3)).prop_map(|(n, during)| Step::End(n, during)),
        1 => any::<usize>().prop_map(Step::Drop),
    ]
}

/// The gate as the promises describe it.
#[derive(Default)]
struct Model {
    commands: u64,
    open: bool,
    opened_at_ns: u64,
    lease_until_ns: u64,
}

impl Model {
    /// Does the same to the model and to the gate.
    fn apply(&mut self, gate: &Gate, command: Command) {
        match command {
            Command::Mute => {
                self.commands += 1;
                self.open = false;
                assert_eq!(gate.mute().get(), self.commands);
            }
            Command::Unmute(now_ns) => {
                self.commands += 1;
                self.open = true;
                self.opened_at_ns = self.opened_at_ns.max(now_ns);
                assert_eq!(gate.unmute(now_ns).get(), self.commands);
            }
            Command::Renew(until_ns) => {
                self.lease_until_ns = self.lease_until_ns.max(until_ns);
                gate.renew_lease(until_ns);
            }
            Command::Revoke => {
                self.lease_until_ns = 0;
                gate.revoke_lease();
            }
        }
        let (epoch, open) = gate.state();
        assert_eq!((epoch.get(), open), (self.commands, self.open));
    }

    fn leased(&self, now_ns: u64) -> bool {
        now_ns < self.lease_until_ns && self.lease_until_ns - now_ns <= LONGEST_LEASE_NS
    }

    fn silent(&self, now_ns: u64, source: Source) -> Option<SilentReason> {
        match source {
            _ if !self.open => Some(SilentReason::Muted),
            _ if !self.leased(now_ns) => Some(SilentReason::LeaseExpired),
            Source::Missing => Some(SilentReason::SourceMissing),
            Source::Unhealthy => Some(SilentReason::SourceUnhealthy),
            Source::Block { began_ns } if began_ns > now_ns => Some(SilentReason::SourceUnhealthy),
            Source::Block { began_ns } if began_ns < self.opened_at_ns => {
                Some(SilentReason::BeforeUnmute)
            }
            Source::Block { .. } => None,
        }
    }
}

struct InFlight<'g> {
    delivery: Delivery<'g>,
    now_ns: u64,
    source: Source,
    began_at: u64,
}

/// Ends a delivery with commands during its copy, and checks every byte of what it wrote.
fn end(gate: &Gate, model: &mut Model, ending: InFlight<'_>, during: &[Command]) {
    let InFlight {
        delivery,
        now_ns,
        source,
        began_at,
    } = ending;
    let promised = delivery.decision();
    // Not silence of any kind yet: a NaN, -0.0 and leftovers of another sound.
    let mut buffer = [f32::NAN.to_ne_bytes(), (-0.0_f32).to_ne_bytes(), [0xa5; 4]].concat();
    let mut copied = false;
    let decision = delivery.fill(&mut buffer, |buffer| {
        copied = true;
        buffer.fill(0x55);
        for &command in during {
            model.apply(gate, command);
        }
    });
    match promised {
        Decision::Silent(_) => assert_eq!((decision, copied), (promised, false)),
        Decision::Live(epoch) => {
            assert!(copied && epoch.get() == began_at);
            let unchanged = model.commands == began_at && model.silent(now_ns, source).is_none();
            let expected = if unchanged {
                promised
            } else {
                Decision::Silent(SilentReason::Changed)
            };
            assert_eq!(decision, expected);
        }
    }
    let byte = if matches!(decision, Decision::Live(_)) {
        0x55
    } else {
        0
    };
    assert_eq!(buffer, [byte; 12]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_gate_follows_the_promises(steps in prop::collection::vec(step(), 1..60)) {
        let gate = Gate::new();
        let mut model = Model::default();
        let mut in_flight: Vec<InFlight<'_>> = Vec::new();
        let mut epochs: Vec<Epoch> = vec![gate.state().0];
        for step in steps {
            match step {
                Step::Command(command) => model.apply(&gate, command),
                Step::Begin(now_ns, source) => {
                    let expected = match model.silent(now_ns, source) {
                        Some(reason) => Decision::Silent(reason),
                        None => Decision::Live(gate.state().0),
                    };
                    prop_assert_eq!(gate.decide(now_ns, source), expected);
                    let delivery = gate.begin(now_ns, source);
                    prop_assert_eq!(delivery.decision(), expected);
                    prop_assert_eq!(delivery.epoch().get(), model.commands);
                    in_flight.push(InFlight { delivery, now_ns, source, began_at: model.commands });
                }
                Step::End(_, during) if in_flight.is_empty() => {
                    during.into_iter().for_each(|command| model.apply(&gate, command));
                }
                Step::End(n, during) => {
                    let ending = in_flight.swap_remove(n % in_flight.len());
                    end(&gate, &mut model, ending, &during);
                }
                Step::Drop(_) if in_flight.is_empty() => {}
                Step::Drop(n) => drop(in_flight.swap_remove(n % in_flight.len())),
            }
            epochs.push(gate.state().0);
            for &epoch in &epochs {
                let older = in_flight.iter().any(|other| other.began_at < epoch.get());
                prop_assert_eq!(gate.settled(epoch), !older);
            }
        }
    }
}

/// A live gate for the tests by example, with all that live needs.
fn live_gate() -> Gate {
    let gate = Gate::new();
    gate.renew_lease(1000);
    gate.unmute(10);
    gate
}

const LIVE_BLOCK: Source = Source::Block { began_ns: 20 };

#[test]
fn newer_deliveries_that_overlap_for_ever_do_not_delay_a_mute() {
    let gate = live_gate();
    let oldest = gate.begin(100, LIVE_BLOCK);
    let muted = gate.mute();
    // There is always one in flight, through several epochs.
    let mut newer = gate.begin(100, LIVE_BLOCK);
    for _ in 0..200 {
        gate.unmute(30);
        newer = gate.begin(100, LIVE_BLOCK);
        assert!(!gate.settled(muted));
    }
    drop(oldest);
    assert!(gate.settled(muted));
    assert!(!gate.settled(gate.mute()));
    drop(newer);
}

#[test]
fn more_deliveries_than_are_tracked_one_by_one_are_waited_for() {
    let gate = live_gate();
    let mut crowd: Vec<_> = (0..200).map(|_| gate.begin(100, LIVE_BLOCK)).collect();
    let muted = gate.mute();
    while let Some(delivery) = crowd.pop() {
        assert!(!gate.settled(muted));
        let mut buffer = [0xff; 4];
        assert_eq!(
            delivery.fill(&mut buffer, |b| b.fill(1)),
            Decision::Silent(SilentReason::Changed)
        );
        assert_eq!(buffer, [0; 4]);
    }
    assert!(gate.settled(muted));
}

#[test]
fn a_copy_that_panics_leaves_zeros_and_nothing_in_flight() {
    let gate = live_gate();
    let mut buffer = [0xff; 8];
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        gate.begin(100, LIVE_BLOCK).fill(&mut buffer, |buffer| {
            buffer[..4].fill(0x55);
            panic!("half way");
        })
    }));
    assert!(outcome.is_err());
    assert_eq!(buffer, [0; 8]);
    assert!(gate.settled(gate.mute()));
}

#[test]
fn a_mute_between_two_planes_leaves_zeros_in_all() {
    let gate = live_gate();
    let (mut left, mut right) = ([0xff; 4], [0xff; 4]);
    let deliver = |planes: &mut [&mut [u8]], mute_at: usize| {
        gate.begin(100, LIVE_BLOCK)
            .fill_planes(planes, |index, plane| {
                plane.fill(1 + index as u8);
                if index == mute_at {
                    gate.mute();
                }
            })
    };
    let live = deliver(&mut [&mut left, &mut right], 2);
    assert!(matches!(live, Decision::Live(_)));
    assert_eq!((left, right), ([1; 4], [2; 4]));
    let changed = deliver(&mut [&mut left, &mut right], 0);
    assert_eq!(changed, Decision::Silent(SilentReason::Changed));
    assert_eq!((left, right), ([0; 4], [0; 4]));
}

#[test]
fn a_reason_survives_as_a_number() {
    let reasons: Vec<_> = (0..=u8::MAX).filter_map(SilentReason::from_code).collect();
    assert_eq!(reasons.len(), 6);
    assert!(
        reasons
            .iter()
            .all(|&reason| SilentReason::from_code(reason.code()) == Some(reason))
    );
    assert_eq!(SilentReason::from_code(0), None, "0 stands for live");
}

#[derive(Clone, Debug)]
enum Entry {
    Claim(u64),
    Release(usize),
    Pull(usize, Pull),
    Lost(usize, u64),
    Flagged(usize),
    Unattributed(Pull),
}

fn pull() -> impl Strategy<Value = Pull> {
    let finish_ns = prop_oneof![6 => 0..100_000_000_000_u64, 1 => 0..2000_u64, 1 => any::<u64>()];
    (
        finish_ns,
        0..100_000_u32,
        0..2_000_000_000_u64,
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(|(finish_ns, frames, nanoseconds, live, flagged)| Pull {
            finish_ns,
            frames,
            nanoseconds,
            live,
            flagged,
        })
}

fn entry() -> impl Strategy<Value = Entry> {
    prop_oneof![
        2 => any::<u64>().prop_map(Entry::Claim),
        1 => any::<usize>().prop_map(Entry::Release),
        12 => (any::<usize>(), pull()).prop_map(|(n, pull)| Entry::Pull(n, pull)),
        1 => (any::<usize>(), 0..1000_u64).prop_map(|(n, pulls)| Entry::Lost(n, pulls)),
        1 => any::<usize>().prop_map(Entry::Flagged),
        1 => pull().prop_map(Entry::Unattributed),
    ]
}

/// What was recorded for one client.
#[derive(Default)]
struct Recorded {
    client: u64,
    pulls: Vec<Pull>,
    lost: u64,
    flagged_without_pull: u64,
}

fn sum<'p>(pulls: impl Iterator<Item = &'p Pull>) -> Tally {
    pulls.fold(Tally::default(), |sum, pull| Tally {
        pulls: sum.pulls + 1,
        frames: sum.frames + u64::from(pull.frames),
        nanoseconds: sum.nanoseconds + pull.nanoseconds,
    })
}

fn assert_holds(seen: &SlotSnapshot, recorded: &Recorded) {
    let pulls = &recorded.pulls;
    assert_eq!(seen.client, recorded.client);
    assert_eq!(seen.live, sum(pulls.iter().filter(|pull| pull.live)));
    assert_eq!(seen.muted, sum(pulls.iter().filter(|pull| !pull.live)));
    let flagged = pulls.iter().filter(|pull| pull.flagged).count() as u64;
    assert_eq!(seen.xruns, flagged + recorded.flagged_without_pull);
    assert_eq!(seen.lost, recorded.lost);
    assert_eq!(seen.last_pull_ns, pulls.last().map(|pull| pull.finish_ns));

    let interval = |pair: &[Pull]| pair[1].finish_ns.saturating_sub(pair[0].finish_ns);
    let mut intervals: Vec<u64> = pulls.windows(2).map(interval).collect();
    intervals.sort_unstable();
    let longest = intervals.last().copied().unwrap_or(0);
    assert_eq!(seen.intervals.total(), intervals.len() as u64);
    assert_eq!(seen.intervals.max_ns(), longest);
    for per_mille in [500_u16, 990] {
        let rank = (intervals.len() * usize::from(per_mille))
            .div_ceil(1000)
            .max(1);
        let exact = intervals.get(rank - 1).copied().unwrap_or(0);
        let told = seen.intervals.percentile_ns(per_mille);
        match exact {
            0..1024 => assert!(told <= 1024),
            1024..60_000_000_000 => assert!(
                told.abs_diff(exact) * 1000 <= exact * 63,
                "{told} for {exact}"
            ),
            _ => assert!(told >= exact / 2 && told <= longest),
        }
    }
    #[cfg(feature = "std")]
    assert_converts(seen);
}

/// The backend's record says the same.
#[cfg(feature = "std")]
fn assert_converts(seen: &SlotSnapshot) {
    let counts = truemute_core::observed::Counts::from(seen);
    assert_eq!(
        (counts.live, counts.muted, counts.xruns, counts.lost),
        (seen.live, seen.muted, seen.xruns, seen.lost)
    );
    assert!(
        counts.intervals.p50_us <= counts.intervals.p99_us
            && counts.intervals.p99_us <= counts.intervals.max_us
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn the_ledger_holds_what_was_recorded(entries in prop::collection::vec(entry(), 1..150)) {
        const SLOTS: usize = 3;
        let ledger = Ledger::<SLOTS>::new(1);
        let mut writers: Vec<SlotWriter> = Vec::new();
        let mut recorded: BTreeMap<usize, Recorded> = BTreeMap::new();
        let mut unattributed = Vec::new();
        for entry in entries {
            let taken = writers.len();
            match entry {
                Entry::Claim(client) => match ledger.claim(client) {
                    Some(writer) => {
                        let before = recorded.insert(writer.slot(), Recorded { client, ..Recorded::default() });
                        prop_assert!(before.is_none(), "the slot had a writer");
                        writers.push(writer);
                    }
                    None => prop_assert_eq!(taken, SLOTS),
                },
                Entry::Release(n) if taken > 0 => {
                    let writer = writers.swap_remove(n % taken);
                    let slot = writer.slot();
                    let last = ledger.release(writer).expect("its own writer");
                    assert_holds(&last, &recorded.remove(&slot).expect("it was claimed"));
                    prop_assert_eq!(ledger.snapshot(slot), Err(NoSnapshot::Free));
                }
                Entry::Pull(n, pull) if taken > 0 => {
                    let writer = &mut writers[n % taken];
                    ledger.record(writer, pull);
                    recorded.get_mut(&writer.slot()).expect("it was claimed").pulls.push(pull);
                }
                Entry::Lost(n, pulls) if taken > 0 => {
                    let writer = &mut writers[n % taken];
                    ledger.record_lost(writer, pulls);
                    recorded.get_mut(&writer.slot()).expect("it was claimed").lost += pulls;
                }
                Entry::Flagged(n) if taken > 0 => {
                    let writer = &mut writers[n % taken];
                    ledger.record_flagged(writer);
                    recorded.get_mut(&writer.slot()).expect("it was claimed").flagged_without_pull += 1;
                }
                Entry::Release(_) | Entry::Lost(..) | Entry::Flagged(_) => {}
                Entry::Pull(_, pull) | Entry::Unattributed(pull) => {
                    ledger.record_unattributed(pull);
                    unattributed.push(pull);
                }
            }
            for slot in 0..SLOTS {
                match recorded.get(&slot) {
                    Some(recorded) => assert_holds(&ledger.snapshot(slot).expect("nobody writes"), recorded),
                    None => prop_assert_eq!(ledger.snapshot(slot), Err(NoSnapshot::Free)),
                }
            }
            prop_assert_eq!(ledger.unattributed(), sum(unattributed.iter()));
        }
        prop_assert_eq!(ledger.snapshot(SLOTS), Err(NoSnapshot::Free));
    }
}

#[test]
fn another_ledgers_writer_counts_as_unattributed() {
    let (ours, theirs) = (Ledger::<1>::new(1), Ledger::<1>::new(2));
    let mut own = ours.claim(7).expect("a slot is free");
    let mut foreign = theirs.claim(8).expect("a slot is free");
    let pull = Pull {
        finish_ns: 5,
        frames: 64,
        nanoseconds: 1_333_333,
        live: true,
        flagged: false,
    };
    ours.record(&mut own, pull);
    ours.record(&mut foreign, pull);
    ours.record_lost(&mut foreign, 3);
    assert_eq!(ours.release(foreign), None);
    assert_eq!(ours.snapshot(own.slot()).map(|seen| seen.live.pulls), Ok(1));
    assert_eq!(
        ours.unattributed(),
        Tally {
            pulls: 4,
            frames: 64,
            nanoseconds: 1_333_333
        }
    );
}

#[test]
fn what_a_client_pulled_that_nobody_will_know_is_unattributed() {
    let ledger = Ledger::<1>::new(1);
    let mut writer = ledger.claim(7).expect("a slot is free");
    for live in [true, false] {
        ledger.record(
            &mut writer,
            Pull {
                finish_ns: 5,
                frames: 64,
                nanoseconds: 1_333_333,
                live,
                flagged: false,
            },
        );
    }
    ledger.record_lost(&mut writer, 3);
    ledger.disown(writer);
    assert_eq!(ledger.snapshot(0), Err(NoSnapshot::Free));
    assert_eq!(
        ledger.unattributed(),
        Tally {
            pulls: 5,
            frames: 128,
            nanoseconds: 2_666_666
        }
    );
}
