//! Ways to get the real mic's sound without the virtual mic, on each server, with the guard and without it.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use truemute_tests::attempts::{ATTEMPTS, Ground, Heard, TRUSTED_FILTER};
use truemute_tests::guarded::{Guard, Guarded};
use truemute_tests::servers::Version;
use truemute_tests::stage::each;

/// How long each way is listened to; without the guard only until something is heard.
const PATIENCE: Duration = Duration::from_secs(3);

/// What stands between the ways and the mic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fence {
    Nothing,
    /// The server refuses links.
    Refusal,
    /// The daemon cuts links and mutes the mic itself.
    Cut,
}

impl Fence {
    fn guard(self) -> Guard {
        match self {
            Self::Nothing => Guard::Absent,
            Self::Refusal => Guard::Enforced,
            Self::Cut => Guard::Cutting,
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Nothing => "no guard",
            Self::Refusal => "guard = \"enforce\"",
            Self::Cut => "guard = \"enforce\", which cuts",
        }
    }
}

/// What each way got on one server.
pub(crate) struct Column {
    /// The server, and how it is guarded.
    pub(crate) title: String,
    /// Whether nothing may get through.
    pub(crate) tight: bool,
    /// By the name of the way; an error is why it could not be tried.
    pub(crate) heard: BTreeMap<&'static str, Result<Heard, String>>,
}

impl Column {
    /// Samples of the mic that got through although they should not.
    pub(crate) fn leaked(&self) -> u64 {
        let heard = self.heard.values().flatten().map(|it| it.sound);
        if self.tight { heard.sum() } else { 0 }
    }
}

/// Tries every way, while the daemon is muted.
pub(crate) fn try_all(versions: &[Version]) -> Vec<Column> {
    let mut columns = Vec::new();
    for version in versions {
        // Before WirePlumber 0.5 and PipeWire 0.3.77 there is nothing that could refuse a link.
        let fences: &[Fence] = match version {
            Version::Installed => &[Fence::Nothing, Fence::Cut],
            Version::Debian13 => &[Fence::Nothing, Fence::Refusal],
        };
        columns.extend(fences.iter().filter_map(|fence| column(*version, *fence)));
    }
    columns
}

fn column(version: Version, fence: Fence) -> Option<Column> {
    let stage = Guarded::set(version, fence.guard())?;
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
        to_the_end: fence != Fence::Nothing,
    };
    let heard = Mutex::new(BTreeMap::new());
    each(ATTEMPTS, |attempt| {
        eprintln!("{server}, {fence:?}: {}", attempt.name);
        let result = if fence == Fence::Cut && attempt.name == TRUSTED_FILTER {
            Err("does not lead by the mic".to_owned())
        } else {
            attempt.make(&ground)
        };
        if let Ok(mut heard) = heard.lock() {
            heard.insert(attempt.name, result);
        }
    });
    Some(Column {
        title: format!("{server}, {}", fence.title()),
        tight: fence != Fence::Nothing,
        heard: heard.into_inner().unwrap_or_default(),
    })
}
