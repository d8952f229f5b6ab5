//! 200 toggles while 32 clients record: at and after the acknowledged position no client gets a sample in the wrong state,
//! and no client loses a cycle (P1, P7).

use std::collections::BTreeMap;

use truemute::protocol::{AppliedHow, ClientStats, GateState};
use truemute_pipewire::rehearsal::{Format, Signal};
use truemute_tests::evidence::Reading;
use truemute_tests::meddler::Meddler;
use truemute_tests::recorder::{Recorder, RecorderOptions};
use truemute_tests::servers::Version;
use truemute_tests::stage::{Scene, Stage, Switch, WhileMuted};

const TOGGLES: usize = 200;
const CLIENTS: usize = 32;
/// Buffers that pass between two toggles. The short ones are for the races, the long ones prove something in release too,
/// where positions are unsure beside each change of the driver.
const STRETCHES: [u64; 5] = [0, 1, 2, 10, 20];

#[test]
fn held_on_debian_12() {
    toggle(Version::Installed, WhileMuted::Hold);
}

#[test]
fn released_on_debian_12() {
    toggle(Version::Installed, WhileMuted::Release);
}

#[test]
fn held_on_debian_13() {
    toggle(Version::Debian13, WhileMuted::Hold);
}

#[test]
fn released_on_debian_13() {
    toggle(Version::Debian13, WhileMuted::Release);
}

fn toggle(version: Version, while_muted: WhileMuted) {
    let scene = Scene {
        version,
        while_muted,
        signals: vec![Signal::Noise { seed: 5 }],
        ..Scene::default()
    };
    let Some(stage) = Stage::set(&scene) else {
        return;
    };
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            stage.add(RecorderOptions {
                name: format!("client-{number}"),
                target: Some(truemute_pipewire::VIRTUAL_MIC.to_owned()),
                format: Format::F32,
                ..RecorderOptions::default()
            })
        })
        .collect();
    // While the mic is held, who records from it has each cycle that the graph runs, whatever the gate does.
    let held = while_muted == WhileMuted::Hold;
    let witness = held.then(|| stage.record(stage.mic.name(), 1, Format::F32));
    stage.pulls(20, clients.iter().chain(&witness));
    let start = counts(&stage, &clients);

    let meddler = Meddler::connect(&stage.server);
    let mut switches = Vec::new();
    for number in 0..TOGGLES {
        let stretch = STRETCHES[number / 2 % STRETCHES.len()];
        if number % 2 == 0 {
            switches.push(stage.unmute());
        } else {
            switches.push(stage.mute());
            // The desktop's mute flag silences too, and would hide what the gate lets through. Not in the short stretches,
            // where the time that this takes would spoil the race.
            if stretch >= 10 {
                meddler.see_through_mute_flag(1);
            }
        }
        stage.pulls(stretch, &clients[..1]);
    }
    stage.pulls(5, &clients);

    for (number, switch) in switches.iter().enumerate() {
        let gate = [GateState::Live, GateState::Muted][number % 2];
        let reply = &switch.reply;
        assert_eq!(reply.gate, gate, "{reply:?}");
        assert!(reply.changed || gate == GateState::Muted, "{reply:?}");
        assert_eq!(reply.applied, AppliedHow::Cycle, "{reply:?}");
        assert!(switch.place().is_some(), "{reply:?}");
    }
    // A mute that changes nothing comes after one that the daemon made because its lease ran out.
    let muted_before = switches.iter().filter(|it| !it.reply.changed).count();
    let ran_out = stage.leases_that_ran_out();
    assert!(muted_before <= ran_out, "{muted_before} of {ran_out}");
    println!("{ran_out} leases ran out");
    let readings: Vec<_> = clients.iter().map(Reading::of).collect();
    let (mut silent, mut live) = (0, 0);
    for reading in &readings {
        let (more_silent, more_live) = check(reading, &readings, &switches);
        silent += more_silent;
        live += more_live;
    }
    let cycles: usize = readings.iter().map(|it| it.cycles.len()).sum();
    println!("{version:?} {while_muted:?}: {silent} silent and {live} live of {cycles} cycles");
    assert!(
        silent > CLIENTS * TOGGLES / 4,
        "{silent} silent of {cycles}"
    );
    assert!(live > CLIENTS * TOGGLES / 4, "{live} live of {cycles}");
    let witness = witness.as_ref().map(Reading::of);
    no_cycle_lost(&stage, &clients, &readings, witness.as_ref(), &start);
}

/// How many cycles of this client were in the right state, in muted and in live stretches.
fn check(reading: &Reading, all: &[Reading], switches: &[Switch]) -> (usize, usize) {
    let (mut silent, mut live) = (0, 0);
    let start = reading.silent(None, switches.first());
    for cycle in start {
        assert!(cycle.is_zero(), "before the first unmute: {cycle:?}");
    }
    for (number, switch) in switches.iter().enumerate() {
        let next = switches.get(number + 1);
        if number % 2 == 1 {
            for cycle in reading.silent(Some(switch), next) {
                assert!(cycle.is_zero(), "after {switch:?}: {cycle:?}");
                silent += 1;
            }
            continue;
        }
        let lease_held = next.is_none_or(|mute| mute.reply.changed);
        for cycle in reading.live(switch, next) {
            // An xrun anywhere can cost the daemon a block of the mic.
            let steady = || lease_held && all.iter().all(|it| it.is_steady(cycle.nsec, cycle.nsec));
            assert!(!cycle.is_zero() || !steady(), "after {switch:?}: {cycle:?}");
            live += usize::from(!cycle.is_zero());
        }
    }
    (silent, live)
}

/// A client's own count just before and just after the daemon was asked, and what the daemon said in between.
struct Count {
    before: u64,
    daemon: ClientStats,
    after: u64,
}

fn counts(stage: &Stage, clients: &[Recorder]) -> Vec<Count> {
    let own = || clients.iter().map(|it| it.tape().pulls());
    let before: Vec<_> = own().collect();
    let stats = stage.daemon.stats().expect("the daemon answers");
    let one = |((client, before), after): ((&Recorder, u64), u64)| {
        let name = client.name();
        let known = stats.clients.iter().find(|it| it.who.stream == name);
        Count {
            before,
            daemon: known
                .unwrap_or_else(|| panic!("no figures of {name}"))
                .clone(),
            after,
        }
    };
    clients.iter().zip(before).zip(own()).map(one).collect()
}

/// Within one clock each client gets each cycle once, and gets as many as `witness`. On an overloaded machine the graph, or a
/// client, misses some: then the daemon has counted what the client did get, or flags that it may not have (P5).
fn no_cycle_lost(
    stage: &Stage,
    clients: &[Recorder],
    readings: &[Reading],
    witness: Option<&Reading>,
    start: &[Count],
) {
    /// A pull is counted in the cycle after it: one at the start and one at the end may be under way.
    const UNDER_WAY: u64 = 2;
    let (mut late, mut flagged) = (0, 0);
    let end = counts(stage, clients);
    for ((start, end), reading) in start.iter().zip(&end).zip(readings) {
        let (was, is) = (&start.daemon, &end.daemon);
        let both = |it: &ClientStats| it.live.pulls + it.muted.pulls;
        let counted = both(is) - both(was);
        let off = is.xruns - was.xruns + UNDER_WAY;
        let least = end.before.saturating_sub(start.after + off);
        let most = end.after - start.before + off;
        assert!(
            (least..=most).contains(&counted),
            "{counted} counted of {least} to {most}: {was:?} became {is:?}"
        );
        assert_eq!(is.exact, is.xruns == 0, "{is:?}");
        let gaps = reading.gaps(0) as u64;
        assert!(gaps <= is.xruns, "{gaps} times a cycle was lost: {is:?}");
        if let Some((ran, got)) = witness.map(|witness| side_by_side(witness, reading)) {
            assert!(ran > TOGGLES as u64, "{ran} cycles prove nothing");
            assert!(got + is.xruns >= ran, "{got} of {ran} cycles: {is:?}");
        }
        late += usize::from(reading.gaps(0) > 0);
        flagged += usize::from(!is.exact);
    }
    println!("{late} clients missed a cycle, {flagged} are flagged");
}

/// How many cycles each of the two got between the first and the last that are surely the same.
fn side_by_side(witness: &Reading, client: &Reading) -> (u64, u64) {
    let places = |it: &Reading| -> BTreeMap<_, _> {
        let sure = it.cycles.iter().enumerate().filter(|(at, _)| it.sure[*at]);
        sure.map(|(at, cycle)| ((cycle.clock, cycle.position), at as u64))
            .collect()
    };
    let (theirs, own) = (places(witness), places(client));
    let mut common = theirs
        .iter()
        .filter_map(|(place, at)| Some((*at, *own.get(place)?)));
    let first = common.next().expect("they ran together");
    let last = common.next_back().unwrap_or(first);
    (last.0 - first.0, last.1 - first.1)
}
