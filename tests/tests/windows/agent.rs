//! The agent between a made-up system and the driver's real device: what the audio engine gets, what is counted, and what is told.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use truemute_agent::agent::{Agent, Failure, Options};
use truemute_agent::choice::Wishes;
use truemute_agent::simulated::{Mic, Simulated, VIRTUAL_MIC, now_ns};
use truemute_core::observed::{Applied, Client, ClientState, CountedBy, Event, MicState, Purpose};
use truemute_tests::part::wait_for;
use truemute_tests::plugin::{Read, Runs, check_ramp};
use truemute_tests::windows::{Driver, Engine, MadeUp, Replayed, offer, pieces};
use truemute_windows::NAMES;
use truemute_windows::link::Link;
use truemute_windows::sessions::Session;

struct Rig {
    driver: Driver,
    system: Simulated,
    sessions: MadeUp,
    heard: Replayed,
    agent: Arc<Agent>,
    events: Arc<Mutex<Vec<Event>>>,
    /// Whether the lease is renewed.
    renews: Arc<AtomicBool>,
    ended: Arc<AtomicBool>,
}

impl Rig {
    fn new(mics: Vec<Mic>) -> Rig {
        let driver = Driver::new();
        let system = Simulated::like(NAMES, mics);
        system.plug(Mic::virtual_mic());
        let sessions = MadeUp::default();
        sessions.set(Some(Vec::new()));
        let heard = Replayed::default();
        let events = Arc::new(Mutex::new(Vec::new()));
        let agent = start(&driver, &system, (&sessions, &heard), &events);
        let agent = Arc::new(agent.unwrap());
        let renews = Arc::new(AtomicBool::new(true));
        let ended = Arc::<AtomicBool>::default();
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
            driver,
            system,
            sessions,
            heard,
            agent,
            events,
            renews,
            ended,
        }
    }

    fn mic(&self, what: &str, wanted: MicState) {
        wait_for(what, || {
            let look = self.agent.snapshot().unwrap();
            (look.real_mic.state == wanted).then_some(())
        });
    }

    fn hears(&self, engine: &Engine) {
        let from = now_ns();
        wait_for("sound", || engine.hears_since(from).then_some(()));
    }

    fn clients(&self) -> Vec<Client> {
        self.agent.snapshot().unwrap().clients
    }

    fn is_told(&self, event: &Event) {
        wait_for("the event", || {
            self.events.lock().unwrap().contains(event).then_some(())
        });
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

fn start(
    driver: &Driver,
    system: &Simulated,
    (sessions, heard): (&MadeUp, &Replayed),
    events: &Arc<Mutex<Vec<Event>>>,
) -> Result<Agent, Failure> {
    let options = Options {
        wishes: Wishes::default(),
        hold: false,
        report_bypasses: true,
        trusted_processors: Vec::new(),
        hog: false,
        last_default: None,
    };
    let link = Link {
        device: Arc::new(driver.clone()),
        sessions: Arc::new(sessions.clone()),
        events: Arc::new(heard.clone()),
    };
    let events = events.clone();
    let told = Arc::new(move |event| events.lock().unwrap().push(event));
    Agent::start(options, &link, Arc::new(system.clone()), told)
}

fn session(id: &str, pid: u32, active: bool) -> Session {
    Session {
        id: id.into(),
        pid: Some(pid),
        name: String::new(),
        endpoint: VIRTUAL_MIC.into(),
        active,
    }
}

#[test]
fn an_unmute_brings_the_ramp_bit_for_bit_and_a_mute_zeros_and_the_engines_counts_are_exact() {
    let rig = Rig::new(vec![Mic::new("mic")]);
    let engine = rig.driver.engine();
    rig.mic("muted", MicState::Released);
    assert_eq!(rig.system.starts(), 0);
    let opened_ns = now_ns();
    wait_for("the stream", || {
        (rig.agent.snapshot().unwrap().running).then_some(())
    });
    let applied = rig.agent.unmute().unwrap();
    assert!(matches!(applied, Applied::Cycle { .. }), "{applied:?}");
    rig.hears(&engine);
    rig.mic("live", MicState::Capturing);
    std::thread::sleep(Duration::from_millis(300));
    let Applied::Cycle { position, .. } = rig.agent.mute().unwrap() else {
        panic!("the engine runs");
    };
    let muted_ns = now_ns();
    wait_for("released", || {
        rig.system.captured().is_empty().then_some(())
    });
    std::thread::sleep(Duration::from_millis(100));
    let reads = engine.stop();
    let pieces = pieces(&reads);
    assert!(check_ramp(&pieces, opened_ns, Runs::One) > 9_600);
    let after = |read: &&Read| read.at_ns > muted_ns || read.position >= position;
    assert!(pieces.iter().filter(after).all(Read::is_zero));

    let clients = rig.clients();
    let [engine] = &clients[..] else {
        panic!("{clients:?}");
    };
    assert_eq!(
        (engine.who.purpose, engine.counted_by, engine.state),
        (Purpose::Engine, CountedBy::Driver, ClientState::Corked)
    );
    let of = |live: bool| reads.iter().filter(|read| read.is_zero() != live).count() as u64;
    let (live, muted) = (engine.counts.live, engine.counts.muted);
    assert_eq!((live.pulls, muted.pulls), (of(true), of(false)));
    assert_eq!(live.frames + muted.frames, reads.len() as u64 * 480);
}

#[test]
fn sessions_are_there_exactly_and_what_they_got_is_an_estimate_of_its_own() {
    let rig = Rig::new(vec![Mic::new("mic")]);
    let _engine = rig.driver.engine();
    rig.sessions.set(Some(vec![
        session("meeting", 70_001, true),
        session("idle", 70_002, false),
    ]));
    let before = rig.clients();
    assert_eq!(before.len(), 3, "{before:?}");
    rig.agent.unmute().unwrap();
    rig.mic("live", MicState::Capturing);
    let got = wait_for("the estimate", || {
        let clients = rig.clients();
        (clients[1].counts.live.pulls > 20).then_some(clients)
    });
    let [engine, meeting, idle] = &got[..] else {
        panic!("{got:?}");
    };
    assert_eq!(
        (meeting.counted_by, meeting.state, meeting.who.pid),
        (CountedBy::Session, ClientState::Running, Some(70_001))
    );
    assert!(meeting.counts.live.pulls <= engine.counts.live.pulls);
    assert_eq!(
        (idle.state, idle.counts.live.pulls),
        (ClientState::Corked, 0)
    );
    // The list fails: it is said, and nobody is taken for gone.
    rig.sessions.set(None);
    let look = rig.agent.snapshot().unwrap();
    assert!(
        look.warnings
            .iter()
            .any(|warning| warning.contains("Who records")),
        "{look:?}"
    );
    assert_eq!(look.clients[1].state, ClientState::Running);
    rig.sessions.set(Some(vec![session("idle", 70_002, false)]));
    let clients = rig.clients();
    assert_eq!(clients[1].state, ClientState::Gone);
    rig.agent.forget_gone(&[clients[0].id, clients[1].id], &[]);
    let left: Vec<_> = rig
        .clients()
        .iter()
        .map(|client| client.who.purpose)
        .collect();
    assert_eq!(left, [Purpose::Engine, Purpose::Recording]);
}

#[test]
fn offers_stand_beside_the_estimate_with_what_was_lost_and_the_exact_counts_have_none() {
    let rig = Rig::new(vec![Mic::new("mic")]);
    let _engine = rig.driver.engine();
    rig.heard.begin();
    rig.sessions
        .set(Some(vec![session("meeting", 70_001, true)]));
    let before = rig.clients();
    assert_eq!(before[1].counted_by, CountedBy::Events, "{before:?}");
    rig.heard.say((0..30).map(|_| offer(70_001)), 2);
    rig.heard.say([offer(70_009)], 0);
    let clients = rig.clients();
    let offers = clients[1].offers.unwrap();
    assert_eq!((offers.count, offers.lost), (30, 2));
    assert_eq!(clients[0].offers, None, "the engine is counted");
    // No packet came for it, and the engine went on for seconds: its session is the better estimate.
    wait_for("the session's estimate", || {
        let meeting = &rig.clients()[1];
        (meeting.counted_by == CountedBy::Session && meeting.counts.muted.pulls > 200).then_some(())
    });
    assert_eq!(rig.clients()[1].offers, Some(offers));
}

#[test]
fn a_mute_by_another_program_is_told_and_releases_the_mic() {
    let rig = Rig::new(vec![Mic::new("mic")]);
    let engine = rig.driver.engine();
    rig.agent.unmute().unwrap();
    rig.hears(&engine);
    rig.driver.mute();
    let from = now_ns();
    rig.is_told(&Event::LeaseRanOut);
    rig.mic("released", MicState::Released);
    assert!(!engine.hears_since(from));
    // An unmute of ours opens it again.
    rig.agent.unmute().unwrap();
    rig.hears(&engine);
}

#[test]
fn a_lease_that_runs_out_is_told_and_silent() {
    let rig = Rig::new(vec![Mic::new("mic")]);
    let engine = rig.driver.engine();
    rig.agent.unmute().unwrap();
    rig.hears(&engine);
    rig.renews.store(false, Ordering::Relaxed);
    rig.is_told(&Event::LeaseRanOut);
    rig.mic("released", MicState::Released);
    rig.renews.store(true, Ordering::Relaxed);
    let from = now_ns();
    std::thread::sleep(Duration::from_millis(200));
    assert!(
        !engine.hears_since(from),
        "who answers again brings nothing back"
    );
    assert_eq!(rig.driver.snapshot().leases_expired, 1);
}

#[test]
fn the_mic_is_captured_only_while_the_engine_runs() {
    let rig = Rig::new(vec![Mic::new("mic")]);
    assert!(matches!(rig.agent.unmute().unwrap(), Applied::Idle { .. }));
    rig.mic("nobody listens", MicState::Released);
    let engine = rig.driver.engine();
    rig.mic("somebody listens", MicState::Capturing);
    rig.hears(&engine);
    drop(engine);
    rig.mic("nobody listens any more", MicState::Released);
    assert!(rig.system.captured().is_empty());
}

#[test]
fn a_switch_of_users_is_a_mute_and_the_user_who_left_is_told() {
    let rig = Rig::new(vec![Mic::new("mic")]);
    let engine = rig.driver.engine();
    rig.agent.unmute().unwrap();
    rig.hears(&engine);
    rig.driver.switch_users(true);
    rig.is_told(&Event::LeaseRanOut);
    let from = now_ns();
    let told = |what: &str| {
        let lost = |event: &Event| matches!(event, Event::ServerLost(why) if why.contains(what));
        rig.events.lock().unwrap().iter().any(lost)
    };
    wait_for("the loss", || told("at the console").then_some(()));
    rig.mic("released", MicState::Released);
    assert!(rig.agent.unmute().is_err(), "it is not the feeder any more");
    let again = || {
        start(
            &rig.driver,
            &rig.system,
            (&rig.sessions, &rig.heard),
            &rig.events,
        )
    };
    let why = again().err().unwrap().to_string();
    assert!(why.contains("at the console"), "{why}");
    // Whoever comes to the console can feed at once, although the other one's handle is still open.
    rig.driver.switch_users(false);
    let next = again().unwrap();
    assert_eq!(rig.driver.snapshot().open, 0);
    assert!(!engine.hears_since(from));
    next.unmute().unwrap();
    rig.hears(&engine);
}

#[test]
fn there_is_one_feeder_and_its_end_is_silence() {
    let rig = Rig::new(vec![Mic::new("mic")]);
    let engine = rig.driver.engine();
    let other = start(
        &rig.driver,
        &rig.system,
        (&rig.sessions, &rig.heard),
        &rig.events,
    );
    let why = other.err().unwrap().to_string();
    assert!(why.contains("Another TrueMute"), "{why}");
    rig.agent.unmute().unwrap();
    rig.hears(&engine);
    let (driver, system) = (rig.driver.clone(), rig.system.clone());
    let (sessions, heard) = (rig.sessions.clone(), rig.heard.clone());
    let events = rig.events.clone();
    let agent = Arc::downgrade(&rig.agent);
    drop(rig);
    wait_for("the agent's end", || {
        (agent.strong_count() == 0).then_some(())
    });
    wait_for("the handle's end", || {
        (driver.snapshot().attached == 0).then_some(())
    });
    let from = now_ns();
    std::thread::sleep(Duration::from_millis(50));
    assert!(!engine.hears_since(from));
    assert!(start(&driver, &system, (&sessions, &heard), &events).is_ok());
}
