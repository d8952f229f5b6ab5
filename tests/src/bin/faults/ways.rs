//! Ways to get the real mic's sound without the virtual mic, on each server, with the guard and without it.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use truemute_tests::attempts::{ATTEMPTS, Ground, Heard, TRUSTED_FILTER, Witness};
use truemute_tests::guarded::{Guard, Guarded};
use truemute_tests::meddler::Meddler;
use truemute_tests::servers::Version;
use truemute_tests::stage::each;

/// How long each way is listened to; without the guard only until something is heard.
const PATIENCE: Duration = Duration::from_secs(3);
/// How often the mic's own mute is undone.
const UNDONE_EVERY: Duration = Duration::from_millis(20);

/// What stands between the ways and the mic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fence {
    Nothing,
    /// The server refuses links.
    Refusal,
    /// The daemon cuts links and mutes the mic itself.
    Cut,
    /// The same, while another program undoes the mic's own mute: what it hears slips through before the cut.
    CutAlone,
}

impl Fence {
    fn guard(self) -> Guard {
        match self {
            Self::Nothing => Guard::Absent,
            Self::Refusal => Guard::Enforced,
            Self::Cut | Self::CutAlone => Guard::Cutting,
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Nothing => "no guard",
            Self::Refusal => "guard = \"enforce\"",
            Self::Cut => "guard = \"enforce\", which cuts",
            Self::CutAlone => "the same, the mic's own mute undone",
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
            Version::Installed => &[Fence::Nothing, Fence::Cut, Fence::CutAlone],
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
    // Who hears it shows that there was something to hear, and keeps the mic running: its start leaves time for a cut.
    let witness = match fence {
        Fence::CutAlone => Some(Witness::start(&ground, "witness")),
        _ => None,
    };
    let heard = Mutex::new(BTreeMap::new());
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        if fence == Fence::CutAlone {
            scope.spawn(|| undo_mute_of_mic(&ground, &over));
        }
        each(ATTEMPTS, |attempt| {
            eprintln!("{server}, {fence:?}: {}", attempt.name);
            let before = heard_by(&witness);
            let result = match fence {
                Fence::Cut | Fence::CutAlone if attempt.name == TRUSTED_FILTER => {
                    Err("does not lead by the mic".to_owned())
                }
                _ => attempt.make(&ground),
            };
            let result = match &witness {
                Some(Err(error)) => Err(error.clone()),
                Some(Ok(witness)) if witness.heard().sound == before => {
                    Err("there was nothing to hear".to_owned())
                }
                _ => result,
            };
            if let Ok(mut heard) = heard.lock() {
                heard.insert(attempt.name, result);
            }
        });
        over.store(true, Ordering::Release);
    });
    if let Some(Ok(witness)) = &witness {
        eprintln!(
            "{server}, {fence:?}: the witness heard {:?}",
            witness.heard()
        );
    }
    Some(Column {
        title: format!("{server}, {}", fence.title()),
        tight: matches!(fence, Fence::Refusal | Fence::Cut),
        heard: heard.into_inner().unwrap_or_default(),
    })
}

/// Samples that were not zero.
fn heard_by(witness: &Option<Result<Witness, String>>) -> u64 {
    let witness = witness.as_ref().and_then(|it| it.as_ref().ok());
    witness.map_or(0, |it| it.heard().sound)
}

/// As any program may that can set a volume.
fn undo_mute_of_mic(ground: &Ground<'_>, over: &AtomicBool) {
    let meddler = Meddler::connect(ground.server);
    while !over.load(Ordering::Acquire) {
        meddler.clear_mute_flag(ground.mic_node);
        meddler.look();
        thread::sleep(UNDONE_EVERY);
    }
}
