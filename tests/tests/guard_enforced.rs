//! With guard = "enforce" on a server that checks links, no ordinary client gets a sample of the real mic, whatever it tries;
//! without it the same attempts do.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use truemute_tests::attempts::{ATTEMPTS, Attempt, Ground, Heard};
use truemute_tests::guarded::{Guard, Guarded};
use truemute_tests::servers::Version;
use truemute_tests::stage::{LIMIT, each};

/// Longer than what works takes on an idle machine: half a second.
const PATIENCE: Duration = Duration::from_millis(1500);

fn ground(stage: &Guarded, patience: Duration) -> Ground<'_> {
    Ground {
        server: &stage.server,
        mic: &stage.mic.name,
        mic_node: stage.mic.node_id,
        daemon_pid: stage.daemon.as_ref().map_or(1, |daemon| daemon.id()),
        patience,
    }
}

/// Makes the attempts that are `wanted` side by side.
fn try_all(
    ground: &Ground<'_>,
    wanted: impl Fn(&Attempt) -> bool,
) -> BTreeMap<&'static str, Result<Heard, String>> {
    let attempts: Vec<_> = ATTEMPTS.iter().filter(|attempt| wanted(attempt)).collect();
    let results = Mutex::new(BTreeMap::new());
    each(&attempts, |attempt| {
        let result = attempt.make(ground);
        results.lock().unwrap().insert(attempt.name, result);
    });
    results.into_inner().unwrap()
}

#[test]
fn no_attempt_gets_a_sample_of_the_mic() {
    let Some(stage) = Guarded::set(Version::Debian13, Guard::Enforced) else {
        return;
    };
    for (name, result) in try_all(&ground(&stage, PATIENCE), |_| true) {
        let heard = result.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(heard.sound, 0, "{name}\n{}", stage.logs());
    }
}

#[test]
fn without_the_guard_the_attempts_hear_the_mic() {
    let Some(stage) = Guarded::set(Version::Debian13, Guard::Absent) else {
        return;
    };
    // The node is made and asks for the mic, but nothing converts what it would get.
    let unheard = "lingering spa-node";
    for (name, result) in try_all(&ground(&stage, LIMIT), |attempt| attempt.name != unheard) {
        let heard = result.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_ne!(heard.sound, 0, "{name}\n{}", stage.logs());
    }
}
