//! Sound through the real plug-in: fed through the bridge by this process, read by the host in another one, which looks at
//! every frame. The left sample tells where a frame belongs, the right one which stretch of feeding it comes from.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::getuid;
use rustix::time::{ClockId, clock_gettime};
use serde_json::Value;
use tempfile::TempDir;
use truemute_bridge::Frame;
use truemute_bridge::client::{Client, ClientError, Connected, Watcher};
use truemute_bridge::memory::Outgoing;
use truemute_bridge::message::{Event, Opened};
use truemute_core::shared_ring::FRAMES;
use truemute_macos::diagnosis::Diagnosis;
use truemute_tests::hal_host::Session;

/// The client that reads.
const READER: u32 = 7;
const BLOCK: u64 = 512;
/// Of whatever is waited for. A million reads take seconds, and minutes where a dozen others want the processor.
const LIMIT: Duration = Duration::from_secs(300);

struct Silent;

impl Watcher for Silent {
    fn event(&mut self, _: Event) {}

    fn lost(&mut self, _: ClientError) {}
}

fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    u64::try_from(now.tv_sec).expect("since the start") * 1_000_000_000
        + u64::try_from(now.tv_nsec).expect("below a second")
}

/// The frame at `sample`, as tests/hal-host/session.c expects it.
fn frame(sample: u64, tag: f32) -> Frame {
    [((sample & 0x7f_ffff) + 1) as f32, tag]
}

/// Feeds `count` frames from `sample` on.
fn feed(ring: &mut Outgoing, sample: u64, count: u64, tag: f32) {
    let frames: Vec<Frame> = (sample..sample + count).map(|at| frame(at, tag)).collect();
    ring.write(&frames);
}

/// The plug-in in its host with one client that runs, and this process as its producer.
struct Set {
    host: Session,
    client: Client,
    ring: Outgoing,
    folder: TempDir,
    /// What the host said of all reads so far.
    live: u64,
    silent: u64,
}

fn connect(folder: &TempDir) -> Connected {
    let began = Instant::now();
    loop {
        match Client::connect(folder.path(), &[getuid().as_raw()], Box::new(Silent)) {
            Ok(connected) => return connected,
            Err(error) => assert!(began.elapsed() < LIMIT, "{error}"),
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

impl Set {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut host = Session::start(folder.path());
        assert_eq!(
            host.order(&format!("add {READER} 1234 org.example.app"))["status"],
            0
        );
        assert_eq!(host.order(&format!("start {READER}"))["status"], 0);
        let Connected { client, ring, .. } = connect(&folder);
        Self {
            host,
            client,
            ring,
            folder,
            live: 0,
            silent: 0,
        }
    }

    /// Unmutes and feeds one full ring from `sample` on, until a read there is live: the capture of the first block must be
    /// over, by its own time. On a busy machine nobody may renew the lease in time, which is a mute: then all over again.
    fn go_live(&mut self, sample: u64, tag: f32) -> Opened {
        let began = Instant::now();
        loop {
            let opened = self.client.unmute().expect("the plug-in answers");
            self.ring.begin(opened.epoch, sample, opened.opened_ns);
            feed(&mut self.ring, sample, FRAMES as u64, tag);
            while self.is_open() {
                if self.read(sample, 1, 0)["live"] == 1 {
                    return opened;
                }
            }
            assert!(began.elapsed() < LIMIT, "never live");
        }
    }

    /// Renews the lease; whether there was one to renew.
    fn is_open(&self) -> bool {
        self.client.renew_lease().expect("the plug-in answers").open
    }

    /// `times` reads of a block at `sample`, and on in steps of `step`.
    fn read(&mut self, sample: u64, times: u64, step: u64) -> Value {
        let order = format!("read {READER} {sample} {BLOCK} {times} {step}");
        let heard = self.host.order(&order);
        let count = |what: &str| heard[what].as_u64().expect("a count");
        assert_eq!(count("failed") + count("foreign"), 0, "{heard}");
        self.live += count("live") + count("mixed");
        self.silent += count("silent");
        heard
    }

    /// The same, while the lease is renewed.
    fn read_answered_for(&mut self, sample: u64, times: u64, step: u64) -> Value {
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let order = format!("read {READER} {sample} {BLOCK} {times} {step}");
            let (client, done) = (&self.client, &done);
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    client.renew_lease().expect("the plug-in answers");
                    std::thread::sleep(Duration::from_millis(25));
                }
            });
            let heard = self.host.order(&order);
            done.store(true, Ordering::Relaxed);
            let count = |what: &str| heard[what].as_u64().expect("a count");
            assert_eq!(count("failed") + count("foreign"), 0, "{heard}");
            self.live += count("live") + count("mixed");
            self.silent += count("silent");
            heard
        })
    }

    fn assert_counted(&self) {
        let snapshot = self.client.snapshot(None).expect("the plug-in answers");
        let client = snapshot.clients.iter().find(|it| it.id == READER);
        let client = client.unwrap_or_else(|| panic!("{snapshot:?}"));
        let counts = client.counts.as_ref().expect("it is counted");
        let counted = (counts.live.pulls, counts.muted.pulls);
        assert_eq!(counted, (self.live, self.silent), "{client:?}");
        let frames = (counts.live.frames, counts.muted.frames);
        assert_eq!(frames, (self.live * BLOCK, self.silent * BLOCK));
        assert_eq!((client.pid, client.running), (1234, Some(true)));
        assert_eq!(client.bundle.as_deref(), Some("org.example.app"));
        assert_eq!(snapshot.unattributed.pulls, 0);
    }
}

#[test]
fn a_million_reads_are_the_ramp_while_live_and_zeros_while_muted() {
    let mut set = Set::new();
    // Muted from the start, whatever is in the ring and whatever epoch it says.
    for epoch in 0..4 {
        set.ring.begin(epoch, 0, now_ns());
        feed(&mut set.ring, 0, FRAMES as u64, 1.0);
        assert_eq!(set.read(0, 1000, 7)["silent"], 1000);
    }
    let start = 1_000_003;
    let mut tag = 2.0;
    set.go_live(start, tag);
    let began = Instant::now();
    while set.live < 1_000_000 {
        let heard = set.read_answered_for(start + set.live % 8, 5_000, 0);
        assert_eq!(heard["mixed"], 0, "{heard}");
        let tags = heard["tags"].as_array().expect("a list");
        assert!(
            tags.iter().all(|it| it.as_f64() == Some(f64::from(tag))),
            "{heard}"
        );
        if heard["live"] != 5_000 {
            // The lease ran out: the next epoch has the next tag.
            tag += 1.0;
            set.go_live(start, tag);
        }
        assert!(began.elapsed() < LIMIT, "{heard}");
    }
    // What was captured before a mute is never heard after the next unmute.
    let muted = set.client.mute().expect("the plug-in answers");
    assert!(muted.settled);
    assert_eq!(set.read(start, 100_000, 0)["silent"], 100_000);
    set.client.unmute().expect("the plug-in answers");
    assert_eq!(set.read_answered_for(start, 100_000, 0)["silent"], 100_000);
    set.go_live(start, tag + 1.0);
    set.assert_counted();
    assert!(set.host.finish());
}

#[test]
fn frames_of_the_future_of_the_past_and_beyond_the_run_are_zeros() {
    let mut set = Set::new();
    let start = 5_000_000;
    set.go_live(start, 2.0);
    // As far ahead as the ring goes: not captured yet by its own time, or not written.
    let end = start + FRAMES as u64;
    for sample in [
        start - 1,
        start - BLOCK,
        end - BLOCK + 1,
        end,
        end + (1 << 40),
        0,
    ] {
        assert_eq!(
            set.read_answered_for(sample, 10, 0)["silent"],
            10,
            "{sample}"
        );
    }
    // Of another epoch, although its time says that it was captured in this one.
    let opened = set.go_live(start, 2.0);
    for epoch in [opened.epoch - 2, opened.epoch - 1, opened.epoch + 1, 0] {
        set.ring.begin(epoch, start, opened.opened_ns);
        feed(&mut set.ring, start, FRAMES as u64, 9.0);
        assert_eq!(set.read_answered_for(start, 10, 0)["silent"], 10);
    }
    // Overwritten: the ring goes on by one frame, and the first block has lost its first.
    let mut open = false;
    while !open {
        set.go_live(start, 2.0);
        feed(&mut set.ring, end, 1, 2.0);
        assert_eq!(set.read_answered_for(start, 10, 0)["silent"], 10);
        let heard = set.read_answered_for(start + 1, 10, 0);
        open = set.is_open();
        assert!(!open || heard["live"] == 10, "{heard}");
    }
    set.assert_counted();
    assert!(set.host.finish());
}

/// The writer begins anew again and again, with another tag: a read is one piece of one stretch, or zeros.
#[test]
fn a_writer_that_overtakes_never_tears_a_read() {
    let mut set = Set::new();
    let start = 0;
    let mut opened = set.go_live(start, 2.0);
    let done = AtomicBool::new(false);
    let (host, client, ring) = (&mut set.host, &set.client, &mut set.ring);
    let heard = std::thread::scope(|scope| {
        let done = &done;
        scope.spawn(move || {
            let mut renewed = Instant::now();
            for lap in 0.. {
                if done.load(Ordering::Relaxed) {
                    break;
                }
                ring.begin(opened.epoch, start, opened.opened_ns);
                for part in 0..4 {
                    feed(ring, start + part * BLOCK, BLOCK, 3.0 + (lap % 1000) as f32);
                }
                if renewed.elapsed() > Duration::from_millis(25) {
                    if !client.renew_lease().expect("the plug-in answers").open {
                        opened = client.unmute().expect("the plug-in answers");
                    }
                    renewed = Instant::now();
                }
            }
        });
        let heard = host.order(&format!("read {READER} {start} {BLOCK} 200000 0"));
        done.store(true, Ordering::Relaxed);
        heard
    });
    assert_eq!(heard["foreign"], 0, "{heard}");
    assert_eq!(heard["mixed"], 0, "{heard}");
    assert!(heard["live"].as_u64() > Some(0), "{heard}");
    assert!(set.host.finish());
}

#[test]
fn nobody_answers_for_live_and_it_is_silent() {
    let mut set = Set::new();
    let start = 100_000;
    set.go_live(start, 2.0);
    // No renewal: the lease runs out. A late one brings nothing back.
    let began = Instant::now();
    while set.read(start, 1, 0)["live"] == 1 {
        assert!(began.elapsed() < LIMIT, "live without a lease");
    }
    assert!(!set.is_open());
    assert_eq!(set.read(start, 1000, 0)["silent"], 1000);
    set.go_live(start, 3.0);
    set.assert_counted();
    // The agent goes without a word: silent, and the next one finds the gate shut.
    let Set {
        mut host,
        client,
        ring,
        folder,
        ..
    } = set;
    drop((client, ring));
    let next = connect(&folder);
    assert!(!next.welcome.gate.open);
    let heard = host.order(&format!("read {READER} {start} {BLOCK} 1000 0"));
    assert_eq!(heard["silent"], 1000, "{heard}");
    assert!(host.finish());
}

/// What a client of the HAL gets as the custom property, read as `truemute doctor` reads it.
fn diagnosis(host: &mut Session) -> Diagnosis {
    let told = host.order("diag");
    let list = told["plist"].as_str().expect("a property list");
    Diagnosis::from_property_list(list.as_bytes()).unwrap_or_else(|error| panic!("{error}: {list}"))
}

#[test]
fn the_diagnosis_says_who_reads_and_who_is_connected() {
    let mut set = Set::new();
    // Names are other programs' words: any characters may be in them.
    assert_eq!(set.host.order("add 8 77 <a&'b\"\\>")["status"], 0);
    set.read(0, 3, 0);
    let told = diagnosis(&mut set.host);
    assert_eq!(told.version, env!("CARGO_PKG_VERSION"));
    assert_eq!((told.gate_open, told.running), (0, 1));
    assert!(told.clock.is_some());
    let [reader, other] = &told.clients[..] else {
        panic!("{told:?}");
    };
    assert_eq!((reader.id, reader.pid, reader.running), (READER, 1234, 1));
    assert_eq!(reader.bundle_id.as_deref(), Some("org.example.app"));
    let muted = reader.muted.expect("it is counted");
    assert_eq!((muted.reads, muted.frames), (3, 3 * BLOCK as i64));
    assert_eq!(other.bundle_id.as_deref(), Some("<a&'b\"\\>"));
    let path = told.bridge.path.expect("it listens");
    assert!(Path::new(&path).starts_with(set.folder.path()), "{path}");
    assert_eq!(told.bridge.producer, Some(getuid().as_raw()));
    assert_eq!((told.bridge.started, told.bridge.producers), (1, 1));
    let over_the_bridge = set.client.diag().expect("the plug-in answers");
    assert!(over_the_bridge.contains("org.example.app"));
    assert!(set.host.finish());
}

#[test]
fn a_socket_that_does_not_come_up_is_in_the_diagnosis() {
    let folder = tempfile::tempdir().expect("a folder");
    let absent = folder.path().join("absent");
    let mut host = Session::start(&absent);
    let began = Instant::now();
    let failed = loop {
        let told = diagnosis(&mut host);
        assert_eq!((told.bridge.path, told.bridge.started), (None, 1));
        if !told.bridge.failed.is_empty() {
            break told.bridge.failed;
        }
        assert!(began.elapsed() < LIMIT, "nothing is said to have failed");
    };
    let expected = Errno::NOENT.raw_os_error();
    assert!(
        failed.iter().all(|place| place.errno == expected),
        "{failed:?}"
    );
    assert!(
        Path::new(&failed[0].path).starts_with(&absent),
        "{failed:?}"
    );
    assert!(host.finish());
}
