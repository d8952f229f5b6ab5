//! Sound through the whole of the plug-in's side: a real agent's end of the bridge writes, and clients of the device read. The
//! host's calls and pointers are not part of this; for those there is the host in C (`tests/hal-host`).

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use truemute_bridge::client::{Client, ClientError, Connected, Watcher};
use truemute_bridge::message::Event;
use truemute_hal::device::Device;
use truemute_hal::{diag, input};

const FRAMES: u32 = 64;

#[derive(Clone, Default)]
struct Ear(Arc<Mutex<Vec<Event>>>);

impl Watcher for Ear {
    fn event(&mut self, event: Event) {
        self.0.lock().expect("nobody panicked").push(event);
    }

    fn lost(&mut self, _why: ClientError) {}
}

struct Stage {
    folder: TempDir,
    device: Arc<Device>,
    user: u32,
}

impl Stage {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let user = rustix::process::geteuid().as_raw();
        let device = Arc::new(Device::new());
        device.open_bridge(folder.path(), Box::new(move || Ok(Some(user))));
        Self {
            folder,
            device,
            user,
        }
    }

    /// The server needs a moment until it listens.
    fn connect(&self, ear: &Ear) -> Connected {
        until("a connection", || {
            Client::connect(self.folder.path(), &[self.user], Box::new(ear.clone())).ok()
        })
    }

    fn read(&self, client: u32, sample_time: f64) -> Vec<f32> {
        let mut bytes = [0xff; FRAMES as usize * 8];
        input::read(&self.device, client, FRAMES, Some(sample_time), &mut bytes);
        let samples = bytes.as_chunks().0.iter();
        samples.map(|sample| f32::from_ne_bytes(*sample)).collect()
    }

    /// Pulls and frames of one client, live and muted.
    fn counts(&self, id: u32) -> [(u64, u64); 2] {
        let everybody = self.device.clients().everybody(None).clients;
        let its = everybody.iter().find(|it| it.client.id == id);
        let counts = its.and_then(|it| it.counts.as_ref()).expect("it came");
        [counts.live, counts.muted].map(|tally| (tally.pulls, tally.frames))
    }
}

fn until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(it) = found() {
            return it;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn ramp() -> Vec<[f32; 2]> {
    let frame = |n| [n as f32 + 1.0, -(n as f32) - 1.0];
    (0..FRAMES).map(frame).collect()
}

#[test]
fn clients_hear_the_same_while_live_and_zeros_otherwise_and_both_are_counted() {
    let stage = Stage::new();
    let silence = vec![0.0; FRAMES as usize * 2];
    stage.device.clients().add(1, 10, None);
    stage.device.clients().add(2, 20, None);
    let Connected {
        client, mut ring, ..
    } = stage.connect(&Ear::default());
    assert_eq!(stage.read(1, 0.0), silence);

    // A lease lasts for a quarter of a second, which a busy machine can let pass between two lines.
    let mut position = 0;
    let (first, second, silent) = until("sound", || {
        position += 100_000;
        let opened = client.unmute().expect("the device answers");
        ring.begin(opened.epoch, position, opened.opened_ns);
        ring.write(&ramp());
        let before = stage.counts(2)[1].0;
        let heard = (
            stage.read(1, position as f64),
            stage.read(2, position as f64),
            before,
        );
        (heard.0 != silence && heard.1 != silence).then_some(heard)
    });
    assert_eq!(first, ramp().concat());
    assert_eq!(second, ramp().concat(), "nobody takes it from anybody");
    assert_eq!(stage.counts(2), [(1, 64), (silent, silent * 64)]);

    client.renew_lease().expect("the device answers");
    for wrong in [
        position as f64 + 1.0,
        position as f64 - 1.0,
        -1.0,
        f64::NAN,
        1e300,
    ] {
        assert_eq!(stage.read(1, wrong), silence, "{wrong}");
    }
    assert!(client.mute().expect("the device answers").settled);
    assert_eq!(stage.read(1, position as f64), silence);

    let snapshot = client.snapshot(None).expect("the device answers");
    assert_eq!(snapshot.instance, stage.device.instance());
    let told = snapshot
        .clients
        .iter()
        .find(|it| it.id == 2)
        .expect("it came");
    let told = told.counts.as_ref().expect("it is counted");
    assert_eq!((told.live.pulls, told.muted.pulls), (1, silent));
    assert_eq!(snapshot.unattributed.pulls, 0);
}

#[test]
fn an_agent_that_goes_leaves_silence_behind() {
    let stage = Stage::new();
    stage.device.clients().add(1, 10, None);
    let mut connected = stage.connect(&Ear::default());
    let opened = connected.client.unmute().expect("the device answers");
    connected.ring.begin(opened.epoch, 0, opened.opened_ns);
    connected.ring.write(&ramp());
    drop(connected.client);
    until("silence", || (!stage.device.gate().state().1).then_some(()));
    assert!(
        stage
            .read(1, 0.0)
            .iter()
            .all(|sample| sample.to_bits() == 0)
    );
    until("a diagnosis that tells it", || {
        let text = diag::diagnosis(&stage.device).to_string();
        (text.contains("producers=1") && !text.contains("producer=")).then_some(())
    });
}

#[test]
fn the_agent_hears_of_a_new_time_line_and_of_who_runs() {
    let stage = Stage::new();
    let ear = Ear::default();
    let connected = stage.connect(&ear);
    assert_eq!(
        (connected.welcome.anchor.seed, connected.welcome.running),
        (1, 0)
    );
    stage.device.start_io(5);
    stage.device.start_io(6);
    until("both events", || {
        let events = ear.0.lock().expect("nobody panicked");
        let clock = events
            .iter()
            .any(|it| matches!(it, Event::Clock(anchor) if anchor.seed == 2));
        (clock && events.contains(&Event::Running(2))).then_some(())
    });
    stage.device.remove_client(5);
    stage.device.stop_io(6);
    until("the end", || {
        let events = ear.0.lock().expect("nobody panicked");
        (events.last() == Some(&Event::Running(0))).then_some(())
    });
}
