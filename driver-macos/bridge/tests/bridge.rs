//! Server and client as they are meant to be used, in one process.

#[path = "stage/ear.rs"]
mod ear;
#[path = "stage/mic.rs"]
mod mic;

use ear::{Ear, until};
use mic::{Mic, now_ns};
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tempfile::TempDir;
use truemute_bridge::client::{Client, ClientError, Connected};
use truemute_bridge::memory::Incoming;
use truemute_bridge::message::{Aside, Event, MOST_ASIDE, MOST_PULLS, Refused};
use truemute_bridge::place::paths;
use truemute_bridge::server::Server;
use truemute_core::gate::{Decision, SilentReason};

struct Stage {
    folder: TempDir,
    mic: Arc<Mic>,
    incoming: Arc<Incoming>,
    server: Server,
    user: u32,
}

fn stage() -> Stage {
    let folder = tempfile::tempdir().unwrap();
    let user = rustix::process::geteuid().as_raw();
    let (mic, incoming) = (Arc::new(Mic::default()), Arc::new(Incoming::new()));
    let server = Server::start(
        folder.path(),
        Box::new(move || Ok(Some(user))),
        mic.clone(),
        incoming.clone(),
    )
    .unwrap();
    until("a socket", || server.report().path);
    Stage {
        folder,
        mic,
        incoming,
        server,
        user,
    }
}

impl Stage {
    fn connect(&self, ear: &Ear) -> Result<Connected, ClientError> {
        Client::connect(self.folder.path(), &[self.user], Box::new(ear.clone()))
    }

    /// What a client of the device reads.
    fn read(&self, sample: u64) -> (Decision, Vec<f32>) {
        let mut bytes = vec![0xff; 64 * 8];
        let decision = self.incoming.with(|ring| match ring {
            Some(ring) => ring.deliver(&self.mic.gate, now_ns(), sample, &mut bytes),
            None => {
                bytes.fill(0);
                Decision::Silent(SilentReason::SourceMissing)
            }
        });
        let floats = bytes
            .chunks_exact(4)
            .map(|it| f32::from_le_bytes(it.try_into().unwrap()));
        (decision, floats.collect())
    }
}

fn ramp() -> Vec<[f32; 2]> {
    (0..64)
        .map(|n| [n as f32 + 1.0, -(n as f32) - 1.0])
        .collect()
}

#[test]
fn frames_pass_between_an_unmute_and_a_mute() {
    let stage = stage();
    let ear = Ear::default();
    let Connected {
        client,
        welcome,
        mut ring,
    } = stage.connect(&ear).unwrap();
    assert_eq!((welcome.instance, welcome.gate.open), (7, false));

    ring.begin(welcome.gate.epoch, 0, now_ns());
    ring.write(&ramp());
    let silence = vec![0.0; 128];
    assert_eq!(
        stage.read(0),
        (Decision::Silent(SilentReason::Muted), silence.clone())
    );

    let opened = client.unmute().unwrap();
    assert_eq!(
        stage.read(0),
        (
            Decision::Silent(SilentReason::SourceMissing),
            silence.clone()
        ),
        "frames of an earlier epoch"
    );
    ring.begin(opened.epoch, 1000, now_ns());
    ring.write(&ramp());
    let heard = until("sound", || {
        client.renew_lease().unwrap();
        let (decision, frames) = stage.read(1000);
        matches!(decision, Decision::Live(_)).then_some(frames)
    });
    assert_eq!(heard, ramp().concat());

    let muted = client.mute().unwrap();
    assert!(muted.settled && muted.epoch > opened.epoch);
    assert_eq!(
        stage.read(1000),
        (Decision::Silent(SilentReason::Muted), silence)
    );
    assert_eq!(client.snapshot(None).unwrap().forgotten, 3);
    assert!(client.diag().unwrap().starts_with("all is well"));
}

#[test]
fn a_lease_that_runs_out_is_a_mute_and_stays_one() {
    let stage = stage();
    let ear = Ear::default();
    let connected = stage.connect(&ear).unwrap();
    let opened = connected.client.unmute().unwrap();
    let gate = until("the end of the lease", || {
        ear.events
            .lock()
            .unwrap()
            .iter()
            .find_map(|event| match event {
                Event::Gate(gate) => Some(*gate),
                _ => None,
            })
    });
    assert!(!gate.open && gate.epoch > opened.epoch);
    assert_eq!(connected.client.renew_lease().unwrap(), gate);
}

#[test]
fn the_agent_hears_what_changes() {
    let stage = stage();
    let ear = Ear::default();
    let _connected = stage.connect(&ear).unwrap();
    stage.mic.running.store(2, Ordering::Relaxed);
    stage.mic.seed.store(9, Ordering::Relaxed);
    stage.server.poke();
    until("both", || {
        let events = ear.events.lock().unwrap();
        let clock = events
            .iter()
            .any(|it| matches!(it, Event::Clock(anchor) if anchor.seed == 9));
        (clock && events.contains(&Event::Running(2))).then_some(())
    });
}

#[test]
fn a_second_producer_is_refused_until_the_first_one_hangs_up() {
    let stage = stage();
    let ear = Ear::default();
    let first = stage.connect(&ear).unwrap();
    let refused = stage.connect(&ear).unwrap_err();
    assert_eq!(refused, ClientError::Refused(Refused::Busy));
    first.client.unmute().unwrap();
    drop(first);
    until("another turn", || stage.connect(&ear).ok());
    assert!(!stage.mic.gate.state().1, "a hang-up is a mute");
}

#[test]
fn a_plug_in_that_goes_is_noticed() {
    let stage = stage();
    let ear = Ear::default();
    let connected = stage.connect(&ear).unwrap();
    drop(stage.server);
    let why = until("the end", || ear.lost.lock().unwrap().clone());
    assert_eq!(why, ClientError::Ended);
    assert_eq!(connected.client.mute(), Err(ClientError::Ended));
    let left: Vec<_> = std::fs::read_dir(stage.folder.path()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn whom_a_producer_muted_on_its_own_is_forgotten_with_it() {
    let stage = stage();
    let connected = stage.connect(&Ear::default()).unwrap();
    let aside = Aside {
        clients: (0..MOST_ASIDE as u64).map(|it| u64::MAX - it).collect(),
        judged: u64::MAX,
    };
    assert_eq!(connected.client.set_aside(aside.clone()), Ok(true));
    assert_eq!(*stage.mic.aside.lock().unwrap(), aside);
    stage.mic.hangs.store(true, Ordering::Relaxed);
    assert_eq!(connected.client.set_aside(aside), Ok(false), "a read hangs");
    connected.client.trace(true).unwrap();
    assert!(stage.mic.traced.load(Ordering::Relaxed));
    assert_eq!(connected.client.pulls().unwrap().lost, MOST_PULLS as u64);
    drop(connected);
    until("the end", || {
        let nobody = *stage.mic.aside.lock().unwrap() == Aside::default();
        (nobody && !stage.mic.traced.load(Ordering::Relaxed)).then_some(())
    });
}

#[test]
fn an_agent_gets_in_by_the_plug_ins_own_folder_where_all_known_names_are_taken() {
    let folder = tempfile::tempdir().unwrap();
    let user = rustix::process::geteuid().as_raw();
    // Somebody who listens at all of them, and answers nothing.
    let taken: Vec<_> = paths(folder.path())
        .map(|path| UnixListener::bind(path).unwrap())
        .collect();
    let mic = Arc::new(Mic::default());
    let allowed = Box::new(move || Ok(Some(user)));
    let server = Server::start(folder.path(), allowed, mic, Arc::default()).unwrap();
    let own = until("a socket", || server.report().own_path);
    assert_eq!(server.report().path, None);
    assert_eq!(server.report().failed.len(), taken.len());
    let places = std::iter::once(own).chain(paths(folder.path()));
    let connected = Client::connect_at(places, &[user], Box::new(Ear::default())).unwrap();
    assert!(!connected.welcome.gate.open);
    until("a producer", || {
        (server.report().producers == 1).then_some(())
    });
    drop(connected);
    drop(server);
    let left = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, taken.len(), "its own folder is gone");
}
