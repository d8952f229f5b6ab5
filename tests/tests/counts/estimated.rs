//! Counting from the profiler, where the configuration says so: near the truth, and marked as an estimate.

use truemute_core::observed::CountedBy;
use truemute_pipewire::VIRTUAL_MIC;
use truemute_tests::counted::{Own, gone, of_stream};
use truemute_tests::recorder::RecorderOptions;
use truemute_tests::servers::Version;
use truemute_tests::stage::{Scene, Stage, WhileMuted, each};

#[test]
fn the_profiler_estimates_and_says_so() {
    each(&[Version::Installed, Version::Debian13], |version| {
        check(*version)
    });
}

fn check(version: Version) {
    let Some(stage) = Stage::set(&Scene {
        version,
        quantum: 1024,
        while_muted: WhileMuted::Hold,
        config: "counting = \"profiler\"\n".to_owned(),
        ..Scene::default()
    }) else {
        return;
    };
    let names: Vec<_> = (0..4).map(|n| format!("estimated-{n}")).collect();
    let clients: Vec<_> = names
        .iter()
        .map(|name| {
            stage.add(RecorderOptions {
                name: name.clone(),
                target: Some(VIRTUAL_MIC.to_owned()),
                ..RecorderOptions::default()
            })
        })
        .collect();
    stage.pulls(60, &clients);
    stage.unmute();
    stage.pulls(60, &clients);
    let own: Vec<_> = clients.into_iter().map(|it| Own::new(&it.end())).collect();

    let stats = gone(&stage, names.len());
    for (name, own) in names.iter().zip(own) {
        let counted = of_stream(&stats, name).expect("each has come");
        assert_eq!(
            (counted.counted_by, counted.exact),
            (CountedBy::Profiler, false)
        );
        let pulls = counted.live.pulls + counted.muted.pulls;
        // What is lost or late is said to be; a client's first and last cycle can go untold.
        let off = counted.lost + counted.xruns + own.pulls() / 20 + 2;
        assert!(
            pulls.abs_diff(own.pulls()) <= off,
            "{own:?} is not {counted:?}\n{}",
            stage.logs()
        );
        assert!(
            counted.live.pulls >= 40 && counted.muted.pulls >= 40,
            "{counted:?}"
        );
    }
}
