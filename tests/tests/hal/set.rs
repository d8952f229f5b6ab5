//! The plug-in in its host in C, and this process as the agent that feeds it.

use std::fmt::Display;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::getuid;
use rustix::time::{ClockId, clock_gettime};
use serde_json::Value;
use tempfile::TempDir;
use truemute_bridge::Frame;
use truemute_bridge::client::{Client, ClientError, Connected, Watcher};
use truemute_bridge::memory::Outgoing;
use truemute_bridge::message::{Event, Opened};
use truemute_core::shared_ring::FRAMES;
use truemute_tests::c_host::Session;
use truemute_tests::hal_host;

/// The client that reads.
pub(crate) const READER: u32 = 7;
pub(crate) const BLOCK: u64 = 512;
/// Of whatever is waited for. A million reads take seconds, and minutes where a dozen others want the processor.
pub(crate) const LIMIT: Duration = Duration::from_secs(300);

/// Hears nothing.
pub(crate) struct Deaf;

impl Watcher for Deaf {
    fn event(&mut self, _: Event) {}

    fn lost(&mut self, _: ClientError) {}
}

pub(crate) fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    u64::try_from(now.tv_sec).expect("since the start") * 1_000_000_000
        + u64::try_from(now.tv_nsec).expect("below a second")
}

/// The frame at `sample`, as tests/hal-host/session.c expects it.
fn frame(sample: u64, tag: f32) -> Frame {
    [((sample & 0x7f_ffff) + 1) as f32, tag]
}

/// Feeds `count` frames from `sample` on.
pub(crate) fn feed(ring: &mut Outgoing, sample: u64, count: u64, tag: f32) {
    let frames: Vec<Frame> = (sample..sample + count).map(|at| frame(at, tag)).collect();
    ring.write(&frames);
}

/// The plug-in in its host with one client that runs, and this process as its producer.
pub(crate) struct Set {
    pub(crate) host: Session,
    pub(crate) client: Client,
    pub(crate) ring: Outgoing,
    pub(crate) folder: TempDir,
    /// What the host said of all reads so far.
    pub(crate) live: u64,
    pub(crate) silent: u64,
}

pub(crate) fn connect(folder: &TempDir) -> Connected {
    let began = Instant::now();
    loop {
        match Client::connect(folder.path(), &[getuid().as_raw()], Box::new(Deaf)) {
            Ok(connected) => return connected,
            Err(error) => assert!(began.elapsed() < LIMIT, "{error}"),
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

impl Set {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut host = hal_host::session(folder.path());
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
    pub(crate) fn go_live(&mut self, sample: u64, tag: f32) -> Opened {
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
    pub(crate) fn is_open(&self) -> bool {
        self.client.renew_lease().expect("the plug-in answers").open
    }

    /// `times` reads of a block at `sample`, and on in steps of `step`.
    pub(crate) fn read(&mut self, sample: u64, times: u64, step: u64) -> Value {
        let order = format!("read {READER} {sample} {BLOCK} {times} {step}");
        let heard = self.host.order(&order);
        let count = |what: &str| heard[what].as_u64().expect("a count");
        assert_eq!(count("failed") + count("foreign"), 0, "{heard}");
        self.live += count("live") + count("mixed");
        self.silent += count("silent");
        heard
    }

    /// The same, while the lease is renewed.
    pub(crate) fn read_answered_for(
        &mut self,
        sample: impl Display,
        times: u64,
        step: u64,
    ) -> Value {
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

    pub(crate) fn assert_counted(&self) {
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
