//! Capture devices that are opened behind the audio server's back: the kernel names the process that holds each
//! (/proc/asound/cardN/pcmNc/subN/status, sound/core/pcm.c), and inotify on /dev/snd says when to look. Who closes a device before
//! we look has not been seen. Who has it open gets no sound before it captures: session managers open each card that is
//! plugged in, to learn what it can do, and are no bypass (seen with WirePlumber 0.5.8).

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::inotify;
use truemute_core::observed::{Api, Bypass, ClientState, Countermeasure, Identity, Purpose, Who};

use super::bypasses::{Bypasses, Now};
use crate::who::system::process_of_thread;

/// Time between two looks while a stranger captures: what it got is read then. The longest time between two while one holds a
/// device and does not capture yet.
const AGAIN_NS: u64 = 500_000_000;

/// The shortest: somebody has just opened a device. Then looks become rarer, for most that capture do so at once.
const SOON_NS: u64 = 5_000_000;

/// Where the kernel shows sound devices.
#[derive(Clone, Debug)]
pub(crate) struct Roots {
    /// /proc/asound, but in tests.
    pub(crate) proc: PathBuf,
    /// /dev/snd, but in tests.
    pub(crate) dev: PathBuf,
}

impl Default for Roots {
    fn default() -> Self {
        Self {
            proc: "/proc/asound".into(),
            dev: "/dev/snd".into(),
        }
    }
}

/// Those who hold capture devices, but for the audio server and us.
pub(crate) struct Devices {
    roots: Roots,
    /// Readable when somebody opened or closed a sound device; absent where there are none.
    opened: Option<OwnedFd>,
    /// Processes that may: the audio server and our own.
    known: Vec<u32>,
    held: BTreeMap<Place, Held>,
}

/// A substream of a capture device.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    card: u32,
    device: u32,
    substream: u32,
}

struct Held {
    owner: u32,
    record: Bypass,
    /// When it was first seen to be open, and last looked at, monotonic nanoseconds.
    opened_ns: u64,
    looked_ns: u64,
    /// It captures, or has. Before that there is nothing to report.
    captured: bool,
    /// Frames of earlier runs of the device: its counter begins anew with each.
    before: u64,
    counter: u64,
}

/// What the kernel says of a substream that is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    /// The thread that opened it.
    pub(crate) owner: u32,
    /// Whether it captures.
    pub(crate) running: bool,
    /// Frames since it was last prepared.
    pub(crate) frames: u64,
}

/// Reads a `status` file; nothing for a substream that is closed.
pub(crate) fn parse_status(text: &str) -> Option<Status> {
    let value = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key))?;
        Some(line.trim_start().strip_prefix(':')?.trim())
    };
    Some(Status {
        owner: value("owner_pid")?.parse().ok()?,
        running: value("state")? == "RUNNING",
        frames: value("hw_ptr").and_then(|it| it.parse().ok()).unwrap_or(0),
    })
}

impl Devices {
    /// `server` is the process of the audio server. Without knowing it nobody could be told from it, so nothing is looked at.
    pub(crate) fn watch(roots: Roots, server: Option<u32>) -> Self {
        let opened = server.and_then(|_| watch(&roots.dev));
        let known = server.into_iter().chain([std::process::id()]);
        Self {
            roots,
            opened,
            known: known.collect(),
            held: BTreeMap::new(),
        }
    }

    /// Readable when it is worth a look.
    pub(crate) fn opened(&self) -> Option<BorrowedFd<'_>> {
        self.opened.as_ref().map(AsFd::as_fd)
    }

    /// When to look without having been asked, monotonic nanoseconds.
    pub(crate) fn due_ns(&self) -> Option<u64> {
        self.held.values().map(Held::due_ns).min()
    }

    /// Looks who holds what, if anybody opened or closed a device since the last look, or holds one.
    pub(crate) fn look(&mut self, bypasses: &mut Bypasses, now: Now) {
        let Some(opened) = &self.opened else { return };
        if !drain(opened) && self.held.is_empty() {
            return;
        }
        let mut found = BTreeMap::new();
        for (place, status) in open_substreams(&self.roots.proc) {
            // The thread may belong to a process; a thread that has ended is its own name.
            let process = process_of_thread(status.owner);
            let owner = process.as_ref().map_or(status.owner, |it| it.pid);
            let trusted = || {
                let path = process.as_ref().and_then(|it| it.executable.as_deref());
                path.is_some_and(|path| bypasses.trusts_executable(path))
            };
            if !self.known.contains(&owner) && !trusted() {
                found.insert(place, (owner, process, status));
            }
        }
        let others = |place: &Place, held: &Held| {
            found
                .get(place)
                .is_none_or(|(owner, ..)| *owner != held.owner)
        };
        let ended: Vec<Place> = self
            .held
            .iter()
            .filter(|(place, held)| others(place, held))
            .map(|(place, _)| place.clone())
            .collect();
        for place in ended {
            if let Some(mut held) = self.held.remove(&place) {
                held.settle(now, None);
                held.record.state = ClientState::Gone;
                held.record.until_ns = Some(now.wall_ns);
                if held.captured {
                    bypasses.file(held.record);
                }
            }
        }
        for (place, (owner, process, status)) in found {
            let held = self.held.entry(place.clone()).or_insert_with(|| Held {
                owner,
                record: Bypass {
                    id: bypasses.number(),
                    who: Who {
                        app: process
                            .as_ref()
                            .map_or_else(String::new, |it| it.name.clone()),
                        stream: String::new(),
                        pid: Some(owner),
                        executable: process.and_then(|it| it.executable),
                        identity: Identity::Verified,
                        puller: None,
                        api: Api::AlsaDevice,
                        purpose: Purpose::Recording,
                    },
                    state: ClientState::Corked,
                    real_mic: format!("hw:{},{}", place.card, place.device),
                    through: Vec::new(),
                    since_ns: now.wall_ns,
                    until_ns: None,
                    duration_ns: 0,
                    frames: 0,
                    frames_exact: false,
                    done: Countermeasure::Reported,
                    cuts: 0,
                },
                opened_ns: now.monotonic_ns,
                looked_ns: now.monotonic_ns,
                captured: false,
                before: 0,
                counter: 0,
            });
            held.settle(now, Some(status));
        }
    }

    /// Those who have captured from a device that they still hold.
    pub(crate) fn records(&self) -> impl Iterator<Item = &Bypass> {
        let captured = self.held.values().filter(|held| held.captured);
        captured.map(|held| &held.record)
    }
}

impl Held {
    fn due_ns(&self) -> u64 {
        let held_ns = self.looked_ns.saturating_sub(self.opened_ns);
        let pause_ns = match self.captured {
            true => AGAIN_NS,
            false => held_ns.clamp(SOON_NS, AGAIN_NS),
        };
        self.looked_ns.saturating_add(pause_ns)
    }

    fn settle(&mut self, now: Now, status: Option<Status>) {
        let since = std::mem::replace(&mut self.looked_ns, now.monotonic_ns);
        if self.record.state == ClientState::Running {
            self.record.duration_ns += now.monotonic_ns.saturating_sub(since);
        }
        let Some(status) = status else { return };
        if !self.captured && (status.running || status.frames > 0) {
            self.captured = true;
            self.record.since_ns = now.wall_ns;
        }
        if status.frames < self.counter {
            self.before += self.counter;
        }
        self.counter = status.frames;
        self.record.frames = self.before + self.counter;
        self.record.state = match status.running {
            true => ClientState::Running,
            false => ClientState::Corked,
        };
    }
}

/// Every capture substream that somebody holds.
fn open_substreams(proc: &Path) -> Vec<(Place, Status)> {
    let numbered = |folder: &Path, prefix: &str, suffix: &str| -> Vec<(u32, PathBuf)> {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let number = |name: &str| {
            let number = name.strip_prefix(prefix)?.strip_suffix(suffix)?;
            number.parse().ok()
        };
        entries
            .filter_map(|it| Some((number(it.file_name().to_str()?)?, it.path())))
            .collect()
    };
    let mut open = Vec::new();
    for (card, folder) in numbered(proc, "card", "") {
        for (device, folder) in numbered(&folder, "pcm", "c") {
            for (substream, folder) in numbered(&folder, "sub", "") {
                // What cannot be read has just been unplugged.
                let text = fs::read_to_string(folder.join("status")).unwrap_or_default();
                if let Some(status) = parse_status(&text) {
                    let place = Place {
                        card,
                        device,
                        substream,
                    };
                    open.push((place, status));
                }
            }
        }
    }
    open
}

fn watch(dev: &Path) -> Option<OwnedFd> {
    let started = || -> io::Result<OwnedFd> {
        let watch = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
        let events = inotify::WatchFlags::OPEN
            | inotify::WatchFlags::CLOSE_WRITE
            | inotify::WatchFlags::CLOSE_NOWRITE
            | inotify::WatchFlags::CREATE;
        inotify::add_watch(&watch, dev, events)?;
        Ok(watch)
    };
    match started() {
        Ok(watch) => Some(watch),
        // No sound card, or none any more.
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => {
            tracing::warn!(
                "{} cannot be watched: {error}. Devices that are opened behind the audio server's back are not reported.",
                dev.display()
            );
            None
        }
    }
}

/// Takes what happened; says whether anything did to a capture device, or too much to tell.
fn drain(watch: &OwnedFd) -> bool {
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut events = inotify::Reader::new(watch, &mut buffer);
    let mut any = false;
    while let Ok(event) = events.next() {
        let name = event.file_name().map(|it| it.to_bytes());
        any |= name.is_none_or(|name| name.starts_with(b"pcm") && name.ends_with(b"c"));
    }
    any
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rehearsal::Program;
    use crate::who::system::System;
    use std::fs::File;

    struct Card {
        _folder: tempfile::TempDir,
        roots: Roots,
        bypasses: Bypasses,
    }

    impl Card {
        fn new() -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            let roots = Roots {
                proc: folder.path().join("proc"),
                dev: folder.path().join("dev"),
            };
            for place in ["card0/pcm0c/sub0", "card0/pcm0p/sub0", "card1/pcm2c/sub1"] {
                fs::create_dir_all(roots.proc.join(place)).expect("a folder");
                fs::write(roots.proc.join(place).join("status"), "closed\n").expect("a file");
            }
            fs::create_dir_all(&roots.dev).expect("a folder");
            for name in ["pcmC0D0c", "pcmC0D0p", "pcmC1D2c", "controlC0"] {
                File::create(roots.dev.join(name)).expect("a file");
            }
            Self {
                _folder: folder,
                roots,
                bypasses: Bypasses::new(System::default(), &[]),
            }
        }

        fn status(&self, place: &str, state: &str, owner: u32, frames: u64) {
            let text = format!(
                "state: {state}\nowner_pid   : {owner}\ntrigger_time: 10.0\ntstamp      : 0.0\ndelay       : 0\navail       : 0\n\
                 avail_max   : 64\n-----\nhw_ptr      : {frames}\nappl_ptr    : 0\n"
            );
            fs::write(self.roots.proc.join(place).join("status"), text).expect("a file");
        }

        fn open(&self, name: &str) -> File {
            File::open(self.roots.dev.join(name)).expect("it is there")
        }

        fn devices(&self, server: u32) -> Devices {
            Devices::watch(self.roots.clone(), Some(server))
        }
    }

    fn at(seconds: u64) -> Now {
        Now {
            monotonic_ns: seconds * 1_000_000_000,
            wall_ns: seconds * 1_000_000_000,
        }
    }

    /// A process of ours that is no thread of this one. Dropping it ends it.
    fn stranger() -> Program {
        let mut sleep = std::process::Command::new("sleep");
        sleep.arg("600");
        Program::start(sleep).expect("sleep runs")
    }

    #[test]
    fn who_holds_a_capture_device_is_told_with_what_it_captured() {
        let mut card = Card::new();
        let mut devices = card.devices(1);
        let other = stranger();
        devices.look(&mut card.bypasses, at(0));
        assert_eq!(devices.records().count(), 0);

        let file = card.open("pcmC1D2c");
        card.status("card1/pcm2c/sub1", "PREPARED", other.id(), 0);
        devices.look(&mut card.bypasses, at(1));
        assert_eq!(devices.records().count(), 0, "it hears nothing yet");

        // Without an event: whoever holds one is looked at again, at once.
        assert_eq!(devices.due_ns(), Some(at(1).monotonic_ns + SOON_NS));
        card.status("card1/pcm2c/sub1", "RUNNING", other.id(), 100);
        devices.look(&mut card.bypasses, at(2));
        let seen: Vec<_> = devices.records().cloned().collect();
        assert_eq!(
            (seen[0].who.app.as_str(), seen[0].who.pid),
            ("sleep", Some(other.id()))
        );
        assert_eq!(
            (seen[0].who.api, seen[0].state),
            (Api::AlsaDevice, ClientState::Running)
        );
        assert_eq!(
            (seen[0].real_mic.as_str(), seen[0].since_ns),
            ("hw:1,2", at(2).wall_ns)
        );
        assert_eq!(devices.due_ns(), Some(at(2).monotonic_ns + AGAIN_NS));
        card.status("card1/pcm2c/sub1", "RUNNING", other.id(), 48_000);
        devices.look(&mut card.bypasses, at(3));
        // It was prepared again.
        card.status("card1/pcm2c/sub1", "RUNNING", other.id(), 1000);
        devices.look(&mut card.bypasses, at(4));
        let seen: Vec<_> = devices.records().cloned().collect();
        assert_eq!(
            (seen[0].frames, seen[0].duration_ns),
            (49_000, 2_000_000_000)
        );

        drop(file);
        fs::write(card.roots.proc.join("card1/pcm2c/sub1/status"), "closed\n").expect("a file");
        devices.look(&mut card.bypasses, at(5));
        assert_eq!((devices.records().count(), devices.due_ns()), (0, None));
        let ended = card.bypasses.observe(at(9), 48_000);
        assert_eq!(
            (ended[0].frames, ended[0].until_ns),
            (49_000, Some(at(5).wall_ns))
        );
    }

    #[test]
    fn who_only_opens_a_device_is_no_bypass() {
        let mut card = Card::new();
        let mut devices = card.devices(1);
        let other = stranger();
        let file = card.open("pcmC0D0c");
        card.status("card0/pcm0c/sub0", "PREPARED", other.id(), 0);
        for second in 0..3 {
            devices.look(&mut card.bypasses, at(second));
        }
        assert_eq!(devices.due_ns(), Some(at(2).monotonic_ns + AGAIN_NS));
        drop(file);
        fs::write(card.roots.proc.join("card0/pcm0c/sub0/status"), "closed\n").expect("a file");
        devices.look(&mut card.bypasses, at(3));
        assert_eq!((devices.records().count(), devices.due_ns()), (0, None));
        assert_eq!(card.bypasses.observe(at(4), 48_000), []);
    }

    #[test]
    fn the_server_we_and_who_is_trusted_are_no_strangers() {
        let mut card = Card::new();
        let server = stranger();
        let place = "card0/pcm0c/sub0";
        for (owner, trusted, seen) in [
            (std::process::id(), &[][..], 0),
            (server.id(), &[], 0),
            (1, &[], 1),
        ] {
            card.bypasses = Bypasses::new(System::default(), trusted);
            let mut devices = card.devices(server.id());
            card.status(place, "RUNNING", owner, 0);
            drop(card.open("pcmC0D0c"));
            devices.look(&mut card.bypasses, at(0));
            assert_eq!(devices.records().count(), seen, "{owner}");
        }
        let sleep = process_of_thread(server.id()).expect("it runs");
        let path = sleep.executable.expect("ours to see").display().to_string();
        card.bypasses = Bypasses::new(System::default(), &[path]);
        let mut devices = card.devices(1);
        card.status(place, "RUNNING", server.id(), 0);
        drop(card.open("pcmC0D0c"));
        devices.look(&mut card.bypasses, at(0));
        assert_eq!(devices.records().count(), 0);
    }

    #[test]
    fn a_thread_stands_for_its_process() {
        let mut card = Card::new();
        let mut devices = card.devices(1);
        let (tell, told) = std::sync::mpsc::channel();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            let id = rustix::thread::gettid().as_raw_nonzero().get();
            tell.send(id.cast_unsigned()).expect("somebody listens");
            let _ = ended.recv();
        });
        let id = told.recv().expect("it runs");
        assert_ne!(id, std::process::id());
        card.status("card0/pcm0c/sub0", "RUNNING", id, 0);
        drop(card.open("pcmC0D0c"));
        devices.look(&mut card.bypasses, at(0));
        assert_eq!(devices.records().count(), 0, "it is our own process");
        drop(end);
        thread.join().expect("it ends");
    }

    #[test]
    fn playback_and_controls_are_nothing_and_without_a_server_nobody_looks() {
        let mut card = Card::new();
        let mut devices = card.devices(1);
        card.status("card0/pcm0p/sub0", "RUNNING", 2, 0);
        drop((card.open("pcmC0D0p"), card.open("controlC0")));
        devices.look(&mut card.bypasses, at(0));
        assert_eq!(devices.records().count(), 0);
        assert!(Devices::watch(card.roots.clone(), None).opened().is_none());
        let nowhere = Roots {
            dev: card.roots.dev.join("none"),
            ..card.roots.clone()
        };
        assert!(Devices::watch(nowhere, Some(1)).opened().is_none());
    }

    #[test]
    fn odd_files_are_closed_substreams() {
        for text in [
            "",
            "closed\n",
            "state: RUNNING\n",
            "owner_pid   : 5\n",
            "state: RUNNING\nowner_pid   : -1\n",
            "state RUNNING\nowner_pid 7\n",
        ] {
            assert_eq!(parse_status(text), None, "{text:?}");
        }
        let status = parse_status("state: XRUN\nowner_pid   : 7\nhw_ptr      : x\n");
        let expected = Status {
            owner: 7,
            running: false,
            frames: 0,
        };
        assert_eq!(status, Some(expected));
    }
}
