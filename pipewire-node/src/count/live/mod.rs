//! Counting against a real server: an output of ours (`output.rs`), capture streams that count their own process
//! callbacks (`clients.rs`), and whether both agree. Only tests; the virtual mic itself is not in them.

mod clients;
mod estimate;
mod output;

use super::layout::Verdict;
use crate::rehearsal::{Clock, Debian13, PrivateServer, ServerOptions, debian13_root};
use clients::Capture;
use output::{Output, Shape};
use pipewire as pw;
use pw::context::ContextRc;
use pw::core::CoreRc;
use pw::loop_::Timeout;
use pw::main_loop::MainLoopRc;
use pw::properties::properties;
use pw::spa::param::audio::{AudioFormat, AudioInfoRaw};
use pw::spa::pod::{Object, Value, serialize::PodSerializer};
use pw::spa::sys as spa_sys;
use pw::sys as pw_sys;
use std::collections::BTreeMap;
use std::io::Cursor;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};
use truemute_core::ledger::Ledger;

const NAME: &str = "count.mic";
const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn equals_the_clients_own_counts() {
    agree(ServerOptions::default(), Shape::Plain, 256, 1, 400);
    agree(ServerOptions::default(), Shape::Plain, 1024, 8, 100);
}

#[test]
fn equals_them_when_our_output_is_triggered() {
    agree(ServerOptions::default(), Shape::Triggered, 256, 1, 400);
    agree(ServerOptions::default(), Shape::Triggered, 1024, 24, 100);
}

/// The library of Debian 12 cannot trigger a stream on this server ("ready non-driver node"), so only the plain output.
#[test]
fn equals_them_on_the_server_of_debian_13() {
    if let Some(root) = debian13() {
        agree(
            ServerOptions {
                root: Some(root),
                ..ServerOptions::default()
            },
            Shape::Plain,
            256,
            8,
            400,
        );
    }
}

#[test]
fn equals_them_with_server_and_library_of_debian_13() {
    const INSIDE: &str = "TRUEMUTE_TEST_WITH_DEBIAN13_LIBRARY";
    /// Root, then the program. The library finds its parts through absolute paths, hence a mount namespace.
    const SCRIPT: &str = r#"
        root=$1 lib=usr/lib/x86_64-linux-gnu; shift
        mount --make-rprivate /
        for part in $lib/spa-0.2 $lib/pipewire-0.3 usr/share/pipewire; do mount --bind "$root/$part" "/$part"; done
        exec "$root/lib64/ld-linux-x86-64.so.2" --library-path "$root/$lib" "$@"
    "#;
    let Some(root) = debian13() else { return };
    if std::env::var_os(INSIDE).is_some() {
        for shape in [Shape::Plain, Shape::Triggered] {
            let options = ServerOptions {
                root: Some(root.clone()),
                ..ServerOptions::default()
            };
            agree(options, shape, 256, 8, 400);
        }
        return;
    }
    let place = std::env::var_os("TRUEMUTE_DEBIAN13_ROOT")
        .unwrap_or_else(|| target().join("debian13-root").into());
    let mut inside = Command::new("unshare");
    inside
        .args(["--mount", "sh", "-ec", SCRIPT, "sh"])
        .arg(&place)
        .arg(std::env::current_exe().unwrap());
    inside.args([
        "--exact",
        "--nocapture",
        "count::live::equals_them_with_server_and_library_of_debian_13",
    ]);
    let output = inside
        .env(INSIDE, "1")
        .env("TRUEMUTE_DEBIAN13_ROOT", place)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    println!("{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && text.contains("1 passed"));
}

fn target() -> PathBuf {
    let program = std::env::current_exe().unwrap();
    program
        .ancestors()
        .nth(3)
        .unwrap_or(Path::new("target"))
        .to_owned()
}

fn debian13() -> Option<Debian13> {
    match debian13_root(&target()) {
        Ok(root) => Some(root),
        Err(error) if std::env::var_os("TRUEMUTE_REQUIRE_DEBIAN13").is_none() => {
            println!("SKIPPED: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// Lets `clients` run for `cycles` each, then leave one by one, and compares the counts.
fn agree(options: ServerOptions, shape: Shape, quantum: u32, clients: usize, cycles: u64) {
    let stage = Stage::new(options, quantum);
    let output = Output::start(
        stage.connect(),
        shape,
        quantum,
        Arc::new(Ledger::new(1)),
        None,
    );
    stage.wait_for("our node", || output.node_id() != pw_sys::PW_ID_ANY);
    let theirs = stage.connect();
    let mut captures: Vec<_> = (0..clients).map(|n| Capture::start(&theirs.1, n)).collect();
    stage.wait_for("enough cycles", || {
        captures.iter().all(|capture| capture.fed() >= cycles)
    });
    let mut told = BTreeMap::new();
    while let Some(capture) = captures.pop() {
        let node_id = capture.node_id();
        told.insert(node_id, capture.end());
        stage.wait_for("leaving", || output.gone(node_id).is_some());
    }

    assert_eq!(output.verdict(), Verdict::Trusted);
    let (mut sum, mut flagged) = (0, 0);
    for (node_id, told) in told {
        let counted = output.gone(node_id).unwrap();
        assert!(
            told.agrees(&counted),
            "{shape:?}: node {node_id} says {told:?}, not {:?}, {:?} and {} flagged",
            counted.live,
            counted.muted,
            counted.xruns
        );
        assert_eq!(counted.live.frames, counted.live.pulls * u64::from(quantum));
        assert!(counted.live.pulls >= cycles / 4 && counted.muted.pulls >= cycles / 4);
        sum += counted.live.pulls + counted.muted.pulls;
        flagged += counted.xruns;
    }
    println!("{shape:?}, quantum {quantum}: {clients} clients, {sum} pulls, {flagged} flagged");
}

/// A private server and a main loop with connections to it.
struct Stage {
    main_loop: MainLoopRc,
    server: PrivateServer,
    deadline: Instant,
}

impl Stage {
    fn new(options: ServerOptions, quantum: u32) -> Self {
        let clock = Some(Clock::fixed(quantum));
        let server = PrivateServer::start(ServerOptions { clock, ..options }).unwrap();
        pw::init();
        let main_loop = MainLoopRc::new(None).unwrap();
        Stage {
            main_loop,
            server,
            deadline: Instant::now() + LIMIT,
        }
    }

    /// Runs the main loop until something is so.
    fn wait_for(&self, what: &str, done: impl Fn() -> bool) {
        while !done() {
            assert!(
                Instant::now() < self.deadline,
                "{what} did not happen in time; {}",
                self.server.log()
            );
            self.main_loop
                .loop_()
                .iterate(Timeout::Finite(Duration::from_millis(5)));
        }
    }

    fn connect(&self) -> Connection {
        let properties = properties! { "config.name" => "client-rt.conf" };
        let context = ContextRc::new(&self.main_loop, Some(properties)).unwrap();
        let socket = UnixStream::connect(self.server.socket()).unwrap();
        let core = context.connect_fd_rc(socket.into(), None).unwrap();
        (context, core)
    }
}

type Connection = (ContextRc, CoreRc);

fn mono_float() -> Vec<u8> {
    let mut info = AudioInfoRaw::new();
    info.set_format(AudioFormat::F32LE);
    info.set_rate(48_000);
    info.set_channels(1);
    let format = Value::Object(Object {
        type_: spa_sys::SPA_TYPE_OBJECT_Format,
        id: spa_sys::SPA_PARAM_EnumFormat,
        properties: info.into(),
    });
    PodSerializer::serialize(Cursor::new(Vec::new()), &format)
        .unwrap()
        .0
        .into_inner()
}
