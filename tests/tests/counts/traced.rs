//! `truemute trace`: a line for each pull, as many as were counted, and each on the right side of a mute.

use std::collections::BTreeMap;
use std::fs;

use rustix::process::Signal;
use truemute::protocol::{GateState, TraceLine};
use truemute_pipewire::VIRTUAL_MIC;
use truemute_pipewire::rehearsal::Program;
use truemute_tests::counted::gone;
use truemute_tests::recorder::{RecorderOptions, wait_until};
use truemute_tests::stage::{LIMIT, Scene, Stage, WhileMuted};
use truemute_tests::truemute::executable;

#[test]
fn the_trace_has_each_counted_pull() {
    // With the mic held there is one clock, so that all positions compare.
    let stage = Stage::set(&Scene {
        while_muted: WhileMuted::Hold,
        ..Scene::default()
    })
    .expect("the installed server is here");
    let first = add(&stage, 0);
    stage.pulls(10, [&first]);
    let file = stage.server.directory().join("trace.jsonl");
    let mut command = stage.server.command(executable());
    command.arg("trace").arg("--out").arg(&file);
    let mut trace = Program::start(command).unwrap();
    let begun = wait_until(LIMIT, || lines(&file).iter().any(is_pull));
    assert!(begun, "the trace did not begin\n{}", stage.logs());

    let mut clients: Vec<_> = (1..6).map(|n| add(&stage, n)).collect();
    for _ in 0..3 {
        stage.unmute();
        stage.pulls(30, &clients);
        stage.mute();
        stage.pulls(30, &clients);
        clients.pop();
    }
    drop(clients);
    drop(first);
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
            .all(|it| it.stream == "traced-0" || sums.get(&it.id) == counted(it.id).as_ref())
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
    on_the_right_side(&lines);
}

fn add(stage: &Stage, n: usize) -> truemute_tests::recorder::Recorder {
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

/// Each pull from the position of a gate line on, until that of the next, is live or not as the line says.
fn on_the_right_side(lines: &[TraceLine]) {
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
    let mut judged = 0;
    for line in lines {
        let TraceLine::Pull { position, live, .. } = line else {
            continue;
        };
        let state = changes.iter().rev().find(|(from, _)| position >= from);
        if let Some((from, gate)) = state {
            judged += 1;
            assert_eq!(
                *live,
                *gate == GateState::Live,
                "{line:?} comes after {gate:?} at {from}"
            );
        }
    }
    assert!(judged >= 300, "{judged} pulls");
}
