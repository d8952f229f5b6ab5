//! The daemon's audio thread runs under a real-time policy wherever the machine grants one to this user, and no other
//! thread does. Those that it takes to mute, unmute and renew the lease go first among ordinary threads.

use rustix::process::{Resource, getrlimit};
use truemute_pipewire::rehearsal::Format;
use truemute_tests::servers::Version;
use truemute_tests::stage::{Scene, Stage};
use truemute_tests::threads::{audio_thread, of_process};

#[test]
fn the_audio_thread_is_a_real_time_thread() {
    let limit = getrlimit(Resource::Rtprio).current;
    if !rustix::process::geteuid().is_root() && limit == Some(0) {
        println!("SKIPPED: this user may not have real-time threads (ulimit -r is 0)");
        return;
    }
    for version in [Version::Installed, Version::Debian13] {
        let scene = Scene {
            version,
            ..Scene::default()
        };
        let Some(stage) = Stage::set(&scene) else {
            continue;
        };
        let client = stage.client(1, Format::F32);
        stage.unmute();
        stage.pulls(10, [&client]);
        let audio = audio_thread(&stage.daemon);
        let threads = of_process(stage.daemon.id());
        assert!(audio.is_real_time(), "{version:?}: {threads:?}");
        // No other may be: a busy main loop would starve the machine.
        let real_time = threads.iter().filter(|thread| thread.is_real_time());
        assert_eq!(real_time.count(), 1, "{version:?}: {threads:?}");
        if rustix::process::geteuid().is_root() {
            for name in ["actor", "lease", "truemute-graph"] {
                let mut named = threads.iter().filter(|thread| thread.name == name);
                assert!(named.any(|it| it.nice < 0), "{version:?}: {threads:?}");
            }
        }
    }
}
