//! Ways to get the real mic's sound without the virtual mic, on each server, with the guard and without it.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use truemute_tests::attempts::{ATTEMPTS, Ground, Heard};
use truemute_tests::guarded::{Guard, Guarded};
use truemute_tests::servers::Version;
use truemute_tests::stage::each;

/// How long each way is listened to, if nothing is heard.
const PATIENCE: Duration = Duration::from_secs(3);

/// What each way got on one server.
pub(crate) struct Column {
    /// The server, and whether it is guarded.
    pub(crate) title: String,
    /// Whether nothing may get through.
    pub(crate) guarded: bool,
    /// By the name of the way; an error is why it could not be tried.
    pub(crate) heard: BTreeMap<&'static str, Result<Heard, String>>,
}

impl Column {
    /// Samples of the mic that got through although they should not.
    pub(crate) fn leaked(&self) -> u64 {
        let heard = self.heard.values().flatten().map(|it| it.sound);
        if self.guarded { heard.sum() } else { 0 }
    }
}

/// Tries every way, while the daemon is muted.
pub(crate) fn try_all(versions: &[Version]) -> Vec<Column> {
    let mut columns = Vec::new();
    for version in versions {
        // Before WirePlumber 0.5 and PipeWire 0.3.77 there is nothing that could refuse a link.
        let guards: &[Guard] = match version {
            Version::Installed => &[Guard::Absent],
            Version::Debian13 => &[Guard::Absent, Guard::Enforced],
        };
        columns.extend(guards.iter().filter_map(|guard| column(*version, *guard)));
    }
    columns
}

fn column(version: Version, guard: Guard) -> Option<Column> {
    let stage = Guarded::set(version, guard)?;
    let daemon = stage.daemon.as_ref()?;
    let server = daemon
        .status()
        .map_or_else(|error| error.to_string(), |it| it.backend);
    let ground = Ground {
        server: &stage.server,
        mic: &stage.mic.name,
        mic_node: stage.mic.node_id,
        daemon_pid: daemon.id(),
        patience: PATIENCE,
    };
    let heard = Mutex::new(BTreeMap::new());
    each(ATTEMPTS, |attempt| {
        eprintln!("{server}, {guard:?}: {}", attempt.name);
        let result = attempt.make(&ground);
        if let Ok(mut heard) = heard.lock() {
            heard.insert(attempt.name, result);
        }
    });
    Some(Column {
        title: match guard {
            Guard::Absent => format!("{server}, no guard"),
            Guard::Enforced => format!("{server}, guard = \"enforce\""),
        },
        guarded: guard == Guard::Enforced,
        heard: heard.into_inner().unwrap_or_default(),
    })
}
