//! Clients that come and go while muted are all in the history, whether the daemon ends in order or is killed.

use std::collections::VecDeque;
use std::time::Duration;

use rustix::process::Signal;
use truemute_pipewire::VIRTUAL_MIC;
use truemute_pipewire::rehearsal::{App, AppRecording, Format, Wanted};
use truemute_tests::counted::{Own, UNFED, of_stream};
use truemute_tests::recorder::{Recorder, RecorderOptions, wait_until};
use truemute_tests::servers::Version;
use truemute_tests::stage::{LIMIT, Scene, Stage, each};
use truemute_tests::truemute::written;

/// Short clients.
const CLIENTS: usize = 40;
/// Of these, one after so many is a program and not one of ours.
const PROGRAM_AFTER: usize = 5;
/// What a kill may lose: the second since the last write, and what a loaded machine takes to look and write.
const LOST_AT_MOST: Duration = Duration::from_secs(2);

#[test]
fn forty_short_clients_are_all_in_the_history() {
    let ends = [Signal::TERM, Signal::KILL];
    let cells = [Version::Installed, Version::Debian13].map(|version| ends.map(|it| (version, it)));
    each(&cells.concat(), |(version, end)| check(*version, *end));
}

enum Client {
    Own(String, Recorder),
    Program(AppRecording),
}

fn check(version: Version, end: Signal) {
    let scene = Scene {
        version,
        ..Scene::default()
    };
    let Some(mut stage) = Stage::set(&scene) else {
        return;
    };
    let long = add(&stage, "long");
    let mut programs = App::ALL
        .into_iter()
        .filter(|app| app.is_installed())
        .cycle();
    let directory = tempfile::tempdir().unwrap();
    let mut seed = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = move |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % below as u64) as usize
    };
    let mut here = VecDeque::new();
    let (mut own, mut pids) = (Vec::new(), Vec::new());
    let mut leave = |client| match client {
        Client::Own(name, recorder) => {
            stage.pulls(5, [&recorder]);
            own.push((name, Own::new(&recorder.end())));
        }
        Client::Program(recording) => {
            let sound = wait_until(LIMIT, || recording.bytes() > 4096);
            assert!(
                sound,
                "{:?} records nothing\n{}",
                recording.app(),
                stage.logs()
            );
            pids.push((recording.app(), recording.id()));
            recording.finish().unwrap();
        }
    };
    for n in 0..CLIENTS {
        let client = match programs.next().filter(|_| n % PROGRAM_AFTER == 0) {
            Some(app) => {
                let wanted = Wanted {
                    name: format!("short-{n}"),
                    device: Some(VIRTUAL_MIC.to_owned()),
                    channels: 1,
                    rate: 48_000,
                    format: Format::S16,
                };
                Client::Program(
                    app.record(&stage.server, &wanted, directory.path())
                        .unwrap(),
                )
            }
            None => {
                let name = format!("short-{n}");
                let recorder = add(&stage, &name);
                Client::Own(name, recorder)
            }
        };
        here.push_back(client);
        if here.len() > 3 {
            leave(here.remove(random(4)).unwrap());
        }
    }
    here.into_iter().for_each(leave);

    // All of them have been written, save for the one that still records.
    let complete = wait_until(LIMIT, || {
        let stats = written(&stage.server);
        stats.clients.len() == CLIENTS + 1
            && own.iter().all(|(name, own)| {
                of_stream(&stats, name).is_some_and(|it| own.disagrees(it, scene.quantum).is_none())
            })
    });
    let before = long.tape().pulls();
    stage.daemon.stop(end).unwrap();
    let after = long.tape().pulls();
    let stats = written(&stage.server);
    assert!(complete, "{own:?} is not {stats:?}\n{}", stage.logs());

    for (name, own) in &own {
        let wrong = own.disagrees(of_stream(&stats, name).expect("waited for"), scene.quantum);
        assert!(wrong.is_none(), "{name}: {wrong:?}");
    }
    for (app, pid) in &pids {
        let found: Vec<_> = stats
            .clients
            .iter()
            .filter(|it| it.who.pid == Some(*pid))
            .collect();
        assert!(
            found.len() == 1 && found[0].muted.pulls > 0,
            "{app:?} {pid}: {stats:?}"
        );
    }
    assert!(stats.clients.iter().all(|it| it.live.pulls == 0));
    let long = of_stream(&stats, "long").expect("it came first");
    let lost_at_most = if end == Signal::KILL {
        LOST_AT_MOST.as_nanos() as u64 * 48_000 / 1_000_000_000 / u64::from(scene.quantum)
    } else {
        1
    };
    let range = before.saturating_sub(lost_at_most + long.xruns + UNFED)..=after + 1 + long.xruns;
    assert!(
        range.contains(&long.muted.pulls),
        "{end:?}: {range:?} has not {long:?}"
    );
}

fn add(stage: &Stage, name: &str) -> Recorder {
    stage.add(RecorderOptions {
        name: name.to_owned(),
        target: Some(VIRTUAL_MIC.to_owned()),
        cycles: 40_000,
        ..RecorderOptions::default()
    })
}
