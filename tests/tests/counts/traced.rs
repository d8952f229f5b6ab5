//! `truemute trace`: a line for each pull, as many as were counted, each with the state in which the client got it, and none
//! live after a mute.

use std::collections::BTreeMap;
use std::fs;

use rustix::process::Signal;
use truemute::protocol::{GateState, TraceLine};
use truemute_pipewire::VIRTUAL_MIC;
use truemute_pipewire::rehearsal::Program;
use truemute_tests::counted::gone;
use truemute_tests::evidence::Reading;
use truemute_tests::recorder::{Recorder, RecorderOptions, wait_until};
use truemute_tests::servers::Version;
use truemute_tests::stage::{LIMIT, Scene, Stage, WhileMuted, each};
use truemute_tests::tape::Tape;
use truemute_tests::truemute::executable;

#[test]
fn the_trace_has_each_counted_pull() {
    each(&[Version::Installed, Version::Debian13], |version| {
        check(*version)
    });
}

fn check(version: Version) {
    // With the mic held there is one clock, so that all positions compare.
    let Some(stage) = Stage::set(&Scene {
        version,
        while_muted: WhileMuted::Hold,
        ..Scene::default()
    }) else {
        return;
    };
    let first = add(&stage, 0);
    stage.pulls(10, [&first]);
    let file = stage.server.directory().join("trace.jsonl");
    let mut command = stage.server.command(executable());
    command.arg("trace").arg("--out").arg(&file);
    let mut trace = Program::start(command).unwrap();
    let begun = wait_until(LIMIT, || lines(&file).iter().any(is_pull));
    assert!(begun, "the trace did not begin\n{}", stage.logs());

    let mut clients: Vec<_> = (1..6).map(|n| add(&stage, n)).collect();
    let mut tapes = BTreeMap::new();
    let mut leave = |client: Recorder| {
        tapes.insert(client.name().to_owned(), client.end().tape);
    };
    for _ in 0..3 {
        stage.unmute();
        stage.pulls(30, &clients);
        stage.mute();
        stage.pulls(30, &clients);
        clients.pop().into_iter().for_each(&mut leave);
    }
    clients.into_iter().chain([first]).for_each(leave);
    let stats = gone(&stage, 6);
    // The last pulls reach the file within the trace's own rhythm.
    let counted = |id| {
        let client = stats.clients.iter().find(|it| it.id == id);
        client.map(|it| (it.live.pulls, it.muted.pulls))
    };
    let mut sums = BTreeMap::new();
    let whole = wait_until(LIMIT, || {
        sums = sum(&lines(&file));
        stats
            .clients
            .iter()
            .all(|it| it.who.stream == "traced-0" || sums.get(&it.id) == counted(it.id).as_ref())
    });
    assert!(whole, "{sums:?} is not {stats:?}\n{}", stage.logs());
    assert!(trace.stop(Signal::INT).unwrap().success());

    let lines = lines(&file);
    // The client from before the trace has fewer lines than counts, and no other is in it.
    assert!(sums.keys().all(|id| counted(*id).is_some()), "{sums:?}");
    assert!(
        lines
            .iter()
            .all(|line| !matches!(line, TraceLine::Lost { .. }))
    );
    let Some(TraceLine::End { pulls, lost, .. }) = lines.last() else {
        panic!("the last line is {:?}", lines.last());
    };
    assert_eq!(
        (*pulls, *lost),
        (lines.iter().filter(|it| is_pull(it)).count() as u64, 0)
    );
    silent_after_a_mute(&lines);
    let mut compared = 0;
    for client in &stats.clients {
        compared += as_the_client_got_it(client.id, &lines, &tapes[&client.who.stream]);
    }
    assert!(compared >= 300, "{compared} pulls");
}

fn add(stage: &Stage, n: usize) -> Recorder {
    stage.add(RecorderOptions {
        name: format!("traced-{n}"),
        target: Some(VIRTUAL_MIC.to_owned()),
        ..RecorderOptions::default()
    })
}

/// The whole lines of the file so far.
fn lines(file: &std::path::Path) -> Vec<TraceLine> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn is_pull(line: &TraceLine) -> bool {
    matches!(line, TraceLine::Pull { .. })
}

/// Pulls while live and while muted, by client.
fn sum(lines: &[TraceLine]) -> BTreeMap<u64, (u64, u64)> {
    let mut sums = BTreeMap::new();
    for line in lines {
        if let TraceLine::Pull { client, live, .. } = line {
            let sum: &mut (u64, u64) = sums.entry(*client).or_default();
            *(if *live { &mut sum.0 } else { &mut sum.1 }) += 1;
        }
    }
    sums
}

/// No pull is live from the position of a mute on, until the next unmute.
fn silent_after_a_mute(lines: &[TraceLine]) {
    let changes: Vec<_> = lines
        .iter()
        .filter_map(|line| match line {
            TraceLine::Gate {
                gate,
                position: Some(position),
                ..
            } => Some((*position, *gate)),
            _ => None,
        })
        .collect();
    assert!(changes.len() >= 6, "{changes:?}");
    let (mut silent, mut live) = (0, 0);
    for line in lines {
        let TraceLine::Pull {
            position, live: is, ..
        } = line
        else {
            continue;
        };
        match changes.iter().rev().find(|(from, _)| position >= from) {
            Some((_, GateState::Live)) => live += u32::from(*is),
            Some((from, GateState::Muted)) => {
                assert!(!is, "{line:?} comes after the mute at {from}");
                silent += 1;
            }
            None => {}
        }
    }
    assert!(silent >= 150 && live >= 150, "{silent} and {live} pulls");
}

/// A pull is live if and only if the client got sound in that cycle: live is not what somebody commanded. (A mic that is late
/// on a busy machine leaves a cycle silent.) Says how many could be compared.
fn as_the_client_got_it(client: u64, lines: &[TraceLine], tape: &Tape) -> usize {
    let reading = Reading::new(tape.cycles_from(0));
    let sure = reading.cycles.iter().zip(&reading.sure);
    // At first the client's own converter makes silence.
    let fed = sure.skip_while(|(cycle, _)| cycle.is_zero());
    let heard: BTreeMap<u64, bool> = fed
        .filter(|(_, sure)| **sure)
        .map(|(cycle, _)| (cycle.position, !cycle.is_zero()))
        .collect();
    let mut compared = 0;
    for line in lines {
        let TraceLine::Pull {
            client: of,
            position,
            live,
            flagged: false,
            ..
        } = line
        else {
            continue;
        };
        if let Some(heard) = heard.get(position).filter(|_| *of == client) {
            assert_eq!(live, heard, "{line:?}");
            compared += 1;
        }
    }
    compared
}
