//! A quantum that changes under a client costs it no more than the cycle of the change, and no count.

use std::collections::HashSet;

use truemute_pipewire::rehearsal::Format;
use truemute_tests::recorder::wait_until;
use truemute_tests::servers::Version;
use truemute_tests::stage::{LIMIT, Scene, Stage, each};

const CHANGES: [u64; 12] = [1024, 64, 512, 128, 1024, 64, 512, 128, 1024, 64, 512, 128];
/// Pulls that may be missing at the two ends of a recording: before our first cycle, and the one that is under way.
const ENDS: u64 = 2;

#[test]
fn a_change_of_the_quantum_costs_one_cycle() {
    each(&[Version::Installed, Version::Debian13], check);
}

fn check(version: &Version) {
    let scene = Scene {
        version: *version,
        ..Scene::default()
    };
    let Some(stage) = Stage::set(&scene) else {
        return;
    };
    let client = stage.client(scene.channels, Format::F32);
    stage.pulls(10, [&client]);
    let unmute = stage.unmute();
    for quantum in CHANGES {
        let from = client.tape().logged();
        force_quantum(&stage, quantum);
        let changed = wait_until(LIMIT, || {
            let cycles = client.tape().cycles_from(from);
            cycles.iter().any(|cycle| cycle.duration == quantum)
        });
        assert!(changed, "no cycle of {quantum} frames\n{}", stage.logs());
        let from = client.tape().logged();
        // Sound is back before the next change. (1.4 changes the driver meanwhile, and the mic begins anew.)
        assert!(client.wait_for_sound(true, from, LIMIT).is_some());
        stage.pulls(8, [&client]);
    }
    let (cycles, lost) = (client.tape().cycles_from(0), client.tape().lost());
    let stats = stage.daemon.stats().expect("the daemon answers");
    drop(stage);

    assert_eq!(lost, 0);
    let place = unmute.place().expect("the unmute was applied in a cycle");
    let silent = cycles
        .iter()
        .skip_while(|cycle| cycle.clock != place.0 || cycle.position < place.1)
        .filter(|cycle| cycle.is_zero());
    let count = silent.count();
    println!("{version:?}: {count} silent cycles while live");
    // One for each change, and on a busy machine one more for the mic's own.
    assert!(
        *version == Version::Debian13 || count <= 2 * CHANGES.len(),
        "{count} silent cycles while live"
    );

    let counted = stats.clients.first().expect("the client is counted");
    let pulls = counted.live.pulls + counted.muted.pulls;
    let got = cycles.len() as u64;
    assert!(
        pulls + ENDS + counted.xruns + counted.lost >= got,
        "{pulls} pulls of about {got} are counted, {} flagged",
        counted.xruns
    );
    let sizes: HashSet<_> = cycles.iter().map(|cycle| cycle.frames).collect();
    assert!(
        CHANGES.iter().all(|it| sizes.contains(&(*it as u32))),
        "{sizes:?}"
    );
}

fn force_quantum(stage: &Stage, quantum: u64) {
    let quantum = quantum.to_string();
    let set = stage
        .server
        .command("pw-metadata")
        .args(["-n", "settings", "0", "clock.force-quantum", &quantum])
        .output()
        .expect("pw-metadata can be run");
    assert!(set.status.success(), "{set:?}");
}
