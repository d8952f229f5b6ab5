//! The agent between a made-up system and the plug-in's real device and bridge: what clients get, when the mic is captured, and
//! what is told.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use truemute_agent::agent::{Agent, Options};
use truemute_agent::choice::Wishes;
use truemute_agent::simulated::{Mic, Simulated, VIRTUAL_MIC, now_ns};
use truemute_agent::system::{Permission, Recorder, System as _};
use truemute_core::observed::{Applied, ClientState, Event, MicState, Snapshot};
use truemute_macos::{NAMES, PlugIn};
use truemute_tests::plugin::{Plugin, Read, Reader, Runs, check_ramp};

const LIMIT: Duration = Duration::from_secs(30);

pub(crate) struct Rig {
    folder: tempfile::TempDir,
    pub(crate) plugin: Plugin,
    pub(crate) system: Simulated,
    pub(crate) agent: Arc<Agent>,
    pub(crate) events: Arc<Mutex<Vec<Event>>>,
    /// Whether the lease is renewed.
    renews: Arc<AtomicBool>,
    ended: Arc<AtomicBool>,
}

impl Rig {
    pub(crate) fn new(mics: Vec<Mic>) -> Rig {
        Rig::with(mics, |_| {})
    }

    fn with(mics: Vec<Mic>, alter: impl FnOnce(&mut Options)) -> Rig {
        let folder = tempfile::tempdir().unwrap();
        let plugin = Plugin::start(folder.path());
        let system = Simulated::like(NAMES, mics);
        system.plug(Mic::virtual_mic());
        let mut options = options(&folder);
        alter(&mut options);
        let driver = PlugIn {
            folder: folder.path().into(),
            users: vec![rustix::process::getuid().as_raw()],
            published: || None,
        };
        let events = Arc::new(Mutex::new(Vec::new()));
        let told = events.clone();
        let agent = wait_for("the driver's socket", || {
            let told = told.clone();
            let events = Arc::new(move |event| told.lock().unwrap().push(event));
            Agent::start(options.clone(), &driver, Arc::new(system.clone()), events).ok()
        });
        let agent = Arc::new(agent);
        let (renews, ended) = (
            Arc::new(AtomicBool::new(true)),
            Arc::<AtomicBool>::default(),
        );
        std::thread::spawn({
            let (agent, renews, ended) = (agent.clone(), renews.clone(), ended.clone());
            move || {
                while !ended.load(Ordering::Relaxed) {
                    if renews.load(Ordering::Relaxed) {
                        agent.renew_lease(Instant::now());
                    }
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
        });
        Rig {
            folder,
            plugin,
            system,
            agent,
            events,
            renews,
            ended,
        }
    }

    pub(crate) fn read(&self, frames: u32) -> Reader {
        self.plugin.read(frames)
    }

    fn mic(&self, what: &str, wanted: MicState) -> Snapshot {
        wait_for(what, || {
            let look = self.agent.snapshot().ok()?;
            (look.real_mic.state == wanted).then_some(look)
        })
    }

    /// Until the reader gets sound that it had not before.
    pub(crate) fn wait_for_sound(&self, reader: &Reader) {
        let from = now_ns();
        wait_for("sound", || {
            self.stays_live();
            reader.hears_since(from).then_some(())
        });
    }

    /// Unmutes again if nobody got to renew the lease in time, which is a mute: so it is on a machine with far more work than
    /// processors.
    fn stays_live(&self) {
        let mut events = self.events.lock().unwrap();
        let before = events.len();
        events.retain(|event| *event != Event::LeaseRanOut);
        let ran_out = events.len() < before;
        drop(events);
        if ran_out {
            self.unmute();
        }
    }

    pub(crate) fn unmute(&self) -> Applied {
        self.agent.unmute().unwrap()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

fn options(folder: &tempfile::TempDir) -> Options {
    Options {
        wishes: Wishes::default(),
        hold: false,
        report_bypasses: true,
        trusted_processors: Vec::new(),
        hog: false,
        last_default: Some(folder.path().join("last-default")),
    }
}

pub(crate) fn wait_for<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(Instant::now() < deadline, "no {what} within {LIMIT:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn an_unmute_brings_the_ramp_bit_for_bit_and_a_mute_zeros_and_counts_are_equal() {
    let rig = Rig::new(vec![Mic::new("mic")]);
    let readers = [rig.read(512), rig.read(480)];
    rig.mic("muted", MicState::Released);
    assert_eq!(rig.system.starts(), 0);
    let opened_ns = now_ns();
    let applied = rig.unmute();
    assert!(matches!(applied, Applied::Cycle { .. }), "{applied:?}");
    for reader in &readers {
        rig.wait_for_sound(reader);
    }
    assert_eq!(
        rig.mic("capturing", MicState::Capturing).real_mic.name,
        "mic"
    );
    std::thread::sleep(Duration::from_millis(300));
    let Applied::Cycle { position, .. } = rig.agent.mute().unwrap() else {
        panic!("clients read");
    };
    let muted_ns = now_ns();
    wait_for("the end of the capture", || {
        rig.system.captured().is_empty().then_some(())
    });
    std::thread::sleep(Duration::from_millis(100));
    let ids = [1, 2];
    for (id, reader) in ids.into_iter().zip(readers) {
        let reads = reader.stop();
        assert!(check_ramp(&reads, opened_ns, Runs::One) > 4_000);
        for read in reads
            .iter()
            .filter(|read| read.at_ns > muted_ns || read.position >= position)
        {
            assert!(read.is_zero());
        }
        let look = wait_for("final counts", || {
            let look = rig.agent.snapshot().unwrap();
            let gone =
                look.clients.iter().find(|client| client.id == id)?.state == ClientState::Gone;
            gone.then_some(look)
        });
        let counts = look
            .clients
            .iter()
            .find(|client| client.id == id)
            .unwrap()
            .counts;
        let of = |live: bool| reads.iter().filter(|read| read.is_zero() != live).count() as u64;
        assert_eq!(
            (counts.live.pulls, counts.muted.pulls),
            (of(true), of(false))
        );
        let frames: usize = reads.iter().map(|read| read.frames.len()).sum();
        assert_eq!(counts.live.frames + counts.muted.frames, frames as u64);
    }
    assert_eq!(rig.agent.snapshot().unwrap().clients.len(), 2);
    rig.agent.forget_gone(&ids, &[]);
    assert!(rig.agent.snapshot().unwrap().clients.is_empty());
}

#[test]
fn the_mic_is_captured_only_while_it_is_live_and_somebody_listens() {
    let rig = Rig::new(vec![Mic::new("mic")]);
    assert!(matches!(rig.unmute(), Applied::Idle { .. }));
    rig.mic("nobody listens", MicState::Released);
    let reader = rig.read(512);
    rig.mic("somebody listens", MicState::Capturing);
    drop(reader);
    rig.mic("nobody listens any more", MicState::Released);
    assert_eq!(rig.system.captured(), Vec::<String>::new());
    let _reader = rig.read(512);
    rig.mic("somebody listens again", MicState::Capturing);
    rig.agent.mute().unwrap();
    rig.mic("muted", MicState::Released);
    wait_for("released", || {
        rig.system.captured().is_empty().then_some(())
    });
}

#[test]
fn held_the_mic_stays_captured_and_nothing_of_before_is_heard() {
    let rig = Rig::with(vec![Mic::new("mic")], |options| options.hold = true);
    let reader = rig.read(512);
    rig.mic("held while muted", MicState::Capturing);
    std::thread::sleep(Duration::from_millis(100));
    assert!(reader.so_far().iter().all(Read::is_zero));
    let opened_ns = now_ns();
    rig.unmute();
    rig.wait_for_sound(&reader);
    assert!(check_ramp(&reader.stop(), opened_ns, Runs::One) > 0);
    assert_eq!(rig.system.starts(), 1);
}

#[test]
fn the_default_is_the_last_one_that_was_not_truemute() {
    let rig = Rig::new(vec![Mic::new("built-in"), Mic::new("usb")]);
    let follows = |uid: &str| {
        wait_for(uid, || {
            (rig.agent.snapshot().unwrap().real_mic.name == uid).then_some(())
        });
    };
    follows("built-in");
    rig.system.set_default_input("usb").unwrap();
    follows("usb");
    rig.system.set_default_input(VIRTUAL_MIC).unwrap();
    let _reader = rig.read(512);
    rig.unmute();
    rig.mic("the last default", MicState::Capturing);
    assert_eq!(rig.system.captured(), ["usb"]);
    let file = rig.folder.path().join("last-default");
    assert_eq!(std::fs::read_to_string(file).unwrap(), "usb");
    rig.system.unplug("usb");
    follows("built-in");
    rig.system.unplug("built-in");
    rig.mic("only TrueMute is left", MicState::Missing);
    assert!(rig.system.captured().is_empty());
}

#[test]
fn denied_all_zero_and_muted_are_three_reports() {
    let rig = Rig::new(vec![Mic::new("mic")]);
    let _reader = rig.read(512);
    rig.unmute();
    rig.mic("live", MicState::Capturing);
    rig.system.permit(Permission::Denied);
    let look = rig.mic("denied", MicState::Denied);
    assert!(
        look.warnings[0].contains("System Settings"),
        "{:?}",
        look.warnings
    );
    assert!(rig.system.captured().is_empty());
    rig.system.permit(Permission::NotAsked);
    let look = rig.mic("not asked", MicState::Capturing);
    assert!(look.warnings[0].contains("Answer"), "{:?}", look.warnings);
    assert_eq!(rig.system.asked(), 1);
    rig.system.permit(Permission::Granted);
    rig.system.alter("mic", |mic| mic.silent = true);
    let look = rig.mic("all zero", MicState::AllZero);
    assert!(
        look.warnings[0].contains("mute switch"),
        "{:?}",
        look.warnings
    );
    rig.system.alter("mic", |mic| mic.silent = false);
    let look = rig.mic("heard again", MicState::Capturing);
    assert_eq!(look.warnings, Vec::<String>::new());
    rig.agent.mute().unwrap();
    let look = rig.mic("muted", MicState::Released);
    assert_eq!(look.warnings, Vec::<String>::new());
}

#[test]
fn another_rate_or_another_mic_goes_on_with_sound() {
    let rig = Rig::new(vec![Mic::new("mic"), Mic::new("other")]);
    let reader = rig.read(512);
    rig.unmute();
    rig.wait_for_sound(&reader);
    rig.system.alter("mic", |mic| {
        (mic.format.rate, mic.format.channels) = (44_100, 1)
    });
    wait_for("a second start", || {
        (rig.system.starts() >= 2).then_some(())
    });
    rig.wait_for_sound(&reader);
    rig.system.unplug("mic");
    wait_for("the other", || {
        (rig.system.captured() == ["other"]).then_some(())
    });
    rig.wait_for_sound(&reader);
    // When nobody reads any more, the next one begins a new timeline.
    drop(reader);
    let reader = rig.read(480);
    rig.wait_for_sound(&reader);
}

#[test]
fn blocks_without_frames_are_reported_and_the_mic_is_started_again() {
    let rig = Rig::new(vec![Mic::new("mic")]);
    let reader = rig.read(512);
    rig.unmute();
    rig.wait_for_sound(&reader);
    rig.system.alter("mic", |mic| mic.empty = true);
    let from = rig.plugin.position();
    let look = wait_for("a warning", || {
        rig.stays_live();
        let look = rig.agent.snapshot().unwrap();
        (!look.warnings.is_empty()).then_some(look)
    });
    assert!(
        look.warnings[0].contains("without sound"),
        "{:?}",
        look.warnings
    );
    assert_eq!(look.real_mic.state, MicState::Missing);
    // What was captured before stands in the ring up to the feeder's delay later. By position: on a busy machine it may be read
    // much later.
    let late = |read: &&Read| read.position > from + 4096;
    assert!(reader.so_far().iter().filter(late).all(Read::is_zero));
    // Restarts also where it was muted meanwhile; wanted is one more while it goes on without frames.
    let starts = rig.system.starts();
    wait_for("another start", || {
        rig.stays_live();
        (rig.system.starts() > starts).then_some(())
    });
    let warnings = rig.agent.snapshot().unwrap().warnings;
    assert!(
        warnings.iter().all(|it| it.contains("without sound")),
        "{warnings:?}"
    );
    rig.system.alter("mic", |mic| mic.empty = false);
    rig.wait_for_sound(&reader);
    rig.mic("heard again", MicState::Capturing);
}

#[test]
fn hog_mode_is_for_the_muted_and_for_devices_without_outputs() {
    let mut headset = Mic::new("headset");
    headset.input.has_output = true;
    let rig = Rig::with(vec![headset, Mic::new("mic")], |options| options.hog = true);
    let warns = |part: &str| {
        wait_for(part, || {
            let warnings = rig.agent.snapshot().unwrap().warnings;
            warnings
                .iter()
                .any(|warning| warning.contains(part))
                .then_some(())
        });
    };
    warns("also plays");
    assert!(rig.system.hogged().is_empty());
    rig.system.set_default_input("mic").unwrap();
    warns("not let go of");
    assert_eq!(rig.system.hogged(), ["mic"]);
    let _reader = rig.read(512);
    rig.unmute();
    rig.mic("live", MicState::Capturing);
    assert!(rig.system.hogged().is_empty());
    rig.agent.mute().unwrap();
    warns("not let go of");
    assert_eq!(rig.system.hogged(), ["mic"]);
}

#[test]
fn who_records_past_truemute_is_found_also_when_nobody_tells() {
    let rig = Rig::new(vec![Mic::new("mic")]);
    let spy = Recorder {
        pid: 1,
        label: Some("org.example.spy".into()),
        inputs: vec!["mic".into()],
    };
    rig.system.set_recorders_silently(Some(vec![spy]));
    let look = wait_for("the bypass", || {
        let look = rig.agent.snapshot().unwrap();
        (!look.bypasses.is_empty()).then_some(look)
    });
    assert_eq!(
        (look.bypasses[0].who.pid, look.bypasses[0].real_mic.as_str()),
        (Some(1), "mic")
    );
    rig.system.set_recorders(Some(Vec::new()));
    let id = look.bypasses[0].id;
    wait_for("its end", || {
        let look = rig.agent.snapshot().unwrap();
        (look.bypasses[0].state == ClientState::Gone).then_some(())
    });
    rig.agent.forget_gone(&[], &[id]);
    assert!(rig.agent.snapshot().unwrap().bypasses.is_empty());
    rig.system.set_recorders(None);
    wait_for("what this system cannot", || {
        let warnings = rig.agent.snapshot().unwrap().warnings;
        warnings
            .iter()
            .any(|warning| warning.contains("To see who records"))
            .then_some(())
    });
}

#[test]
fn a_lease_that_runs_out_is_told_and_silent() {
    let rig = Rig::new(vec![Mic::new("mic")]);
    let reader = rig.read(512);
    rig.unmute();
    rig.wait_for_sound(&reader);
    rig.renews.store(false, Ordering::Relaxed);
    wait_for("the event", || {
        rig.events
            .lock()
            .unwrap()
            .contains(&Event::LeaseRanOut)
            .then_some(())
    });
    wait_for("released", || {
        rig.system.captured().is_empty().then_some(())
    });
    // Who answers again brings nothing back.
    rig.renews.store(true, Ordering::Relaxed);
    let from = now_ns();
    std::thread::sleep(Duration::from_millis(200));
    assert!(
        reader
            .stop()
            .iter()
            .filter(|read| read.at_ns > from)
            .all(Read::is_zero)
    );
}

#[test]
fn a_virtual_mic_that_the_system_does_not_list_is_a_warning() {
    let rig = Rig::new(vec![Mic::new("mic")]);
    assert_eq!(rig.agent.snapshot().unwrap().warnings, Vec::<String>::new());
    rig.system.unplug(VIRTUAL_MIC);
    wait_for("the warning", || {
        let warnings = rig.agent.snapshot().unwrap().warnings;
        warnings
            .iter()
            .any(|warning| warning.contains("does not list"))
            .then_some(())
    });
    assert!(rig.events.lock().unwrap().contains(&Event::Changed));
}
