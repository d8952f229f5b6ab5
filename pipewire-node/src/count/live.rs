//! Counting against a real server: an output of ours, capture streams that count their own process callbacks, and
//! whether both agree. Only a test; the virtual mic itself is not in it.

use super::activation::ActivationRecord;
use super::books::{Account, Books, CycleFacts, TraceSender, trace_queue};
use super::layout::{LayoutCheck, Verdict};
use super::peers_feed::{PeerChange, PeerFeed};
use super::table::{Peer, PeerTable};
use crate::rehearsal::{Clock, Debian13, PrivateServer, ServerOptions, debian13_root};
use pipewire as pw;
use pw::context::ContextRc;
use pw::core::CoreRc;
use pw::loop_::Timeout;
use pw::main_loop::MainLoopRc;
use pw::properties::properties;
use pw::spa::param::audio::{AudioFormat, AudioInfoRaw};
use pw::spa::pod::{Object, Pod, Value, serialize::PodSerializer};
use pw::spa::sys as spa_sys;
use pw::spa::utils::Direction;
use pw::stream::{Stream, StreamFlags, StreamListener, StreamRc};
use pw::sys as pw_sys;
use rustix::time::{ClockId, clock_gettime};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::{c_int, c_void};
use std::io::Cursor;
use std::mem::zeroed;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::ptr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use truemute_core::ledger::{Ledger, SlotSnapshot};

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

/// How our output gets its turn.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Shape {
    /// By the graph.
    Plain,
    /// By a filter of ours, as the virtual mic does.
    Triggered,
}

/// Lets `clients` run for `cycles` each, then leave one by one, and compares the counts.
fn agree(options: ServerOptions, shape: Shape, quantum: u32, clients: usize, cycles: u64) {
    let server = PrivateServer::start(ServerOptions {
        clock: Some(Clock::fixed(quantum)),
        ..options
    })
    .unwrap();
    pw::init();
    let main_loop = MainLoopRc::new(None).unwrap();
    let turn = || {
        main_loop
            .loop_()
            .iterate(Timeout::Finite(Duration::from_millis(5)))
    };
    let deadline = Instant::now() + LIMIT;
    let wait_for = |what: &str, done: &dyn Fn() -> bool| {
        while !done() {
            assert!(
                Instant::now() < deadline,
                "{what} did not happen in time; {}",
                server.log()
            );
            turn();
        }
    };

    let output = Output::start(connect(&server, &main_loop), shape, quantum);
    wait_for("our node", &|| output.stream.node_id() != pw_sys::PW_ID_ANY);
    let theirs = connect(&server, &main_loop);
    let mut captures: Vec<_> = (0..clients).map(|n| Capture::start(&theirs.1, n)).collect();
    wait_for("enough cycles", &|| {
        captures.iter().all(|capture| capture.own() >= cycles)
    });
    let mut own = BTreeMap::new();
    while let Some(capture) = captures.pop() {
        let node_id = capture.stream.node_id();
        own.insert(node_id, capture.end());
        wait_for("leaving", &|| output.gone.borrow().contains_key(&node_id));
    }

    assert_eq!(
        on_data_loop(output.place, |real_time| real_time.verdict),
        Verdict::Trusted
    );
    let gone = output.gone.borrow();
    let (mut sum, mut flagged) = (0, 0);
    for (node_id, told) in &own {
        let counted = &gone[node_id];
        assert!(
            told.agrees(counted),
            "{shape:?}: node {node_id} says {}, not {counted:?}",
            told.callbacks
        );
        assert_eq!(counted.live.frames, counted.live.pulls * u64::from(quantum));
        assert!(counted.live.pulls >= cycles / 4 && counted.muted.pulls >= cycles / 4);
        sum += counted.live.pulls + counted.muted.pulls;
        flagged += counted.xruns;
    }
    println!("{shape:?}, quantum {quantum}: {clients} clients, {sum} pulls, {flagged} flagged");
}

type Connection = (ContextRc, CoreRc);

fn connect(server: &PrivateServer, main_loop: &MainLoopRc) -> Connection {
    let properties = properties! { "config.name" => "client-rt.conf" };
    let context = ContextRc::new(main_loop, Some(properties)).unwrap();
    let socket = UnixStream::connect(server.socket()).unwrap();
    let core = context.connect_fd_rc(socket.into(), None).unwrap();
    (context, core)
}

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

/// A capture stream that counts its own process callbacks.
struct Capture {
    _listener: StreamListener<()>,
    stream: StreamRc,
    own: Arc<AtomicU64>,
}

impl Capture {
    fn start(core: &CoreRc, number: usize) -> Self {
        let properties = properties! {
            "node.name" => format!("client-{number}"),
            "media.type" => "Audio",
            "media.category" => "Capture",
            "target.object" => NAME,
        };
        let stream = StreamRc::new(core.clone(), "client", properties).unwrap();
        let own = Arc::new(AtomicU64::new(0));
        let seen = own.clone();
        let listener = stream
            .add_local_listener::<()>()
            .process(move |stream, ()| {
                seen.fetch_add(1, Ordering::Relaxed);
                drop(stream.dequeue_buffer());
            })
            .register()
            .unwrap();
        let flags = StreamFlags::AUTOCONNECT | StreamFlags::MAP_BUFFERS | StreamFlags::RT_PROCESS;
        let format = mono_float();
        stream
            .connect(
                Direction::Input,
                None,
                flags,
                &mut [Pod::from_bytes(&format).unwrap()],
            )
            .unwrap();
        Capture {
            _listener: listener,
            stream,
            own,
        }
    }

    fn own(&self) -> u64 {
        self.own.load(Ordering::Relaxed)
    }

    fn end(self) -> Told {
        let asked_ns = now_ns();
        self.stream.disconnect().unwrap();
        Told {
            callbacks: self.own(),
            asked_ns,
        }
    }
}

/// What a client says when it is gone.
struct Told {
    /// How often its process callback was called.
    callbacks: u64,
    /// When it asked to be disconnected.
    asked_ns: u64,
}

impl Told {
    /// Whether `counted` is what this client did.
    ///
    /// A cycle that runs while the client disconnects is completed, though the client's callback is not called in it
    /// any more (seen in 1 of 100 departures with 1.4.2). It is a pull: we delivered, and the client's node took it.
    fn agrees(&self, counted: &SlotSnapshot) -> bool {
        let pulls = counted.live.pulls + counted.muted.pulls;
        let while_leaving = u64::from(
            counted
                .last_pull_ns
                .is_some_and(|last_ns| last_ns >= self.asked_ns),
        );
        let range = self.callbacks.saturating_sub(counted.xruns)
            ..=self.callbacks + while_leaving + counted.xruns;
        range.contains(&pulls)
    }
}

/// What the real-time thread has.
struct RealTime {
    table: PeerTable,
    ledger: Arc<Ledger<512>>,
    trace: TraceSender,
    own: Option<ActivationRecord>,
    check: LayoutCheck,
    verdict: Verdict,
    delivered: Option<CycleFacts>,
    quantum: u32,
    cycle: u64,
}

/// Where the real-time thread's state is, and how the main thread gets at it.
#[derive(Clone, Copy)]
struct Place {
    data_loop: *mut pw_sys::pw_data_loop,
    state: *mut RealTime,
}

/// Our output. Fields drop from top to bottom.
struct Output {
    _feed: PeerFeed,
    _filter: Option<Trigger>,
    _listener: StreamListener<()>,
    stream: StreamRc,
    gone: Rc<RefCell<BTreeMap<u32, SlotSnapshot>>>,
    place: Place,
    connection: Connection,
}

impl Output {
    fn start(connection: Connection, shape: Shape, quantum: u32) -> Self {
        let (context, core) = &connection;
        let ledger = Arc::new(Ledger::new(1));
        let (trace, _traced) = trace_queue(1);
        let state = Box::into_raw(Box::new(RealTime {
            table: PeerTable::new(),
            ledger: ledger.clone(),
            trace,
            own: None,
            check: LayoutCheck::new(),
            verdict: Verdict::Open,
            delivered: None,
            quantum,
            cycle: 0,
        }));
        // SAFETY: the context lives.
        let data_loop = unsafe { pw_sys::pw_context_get_data_loop(context.as_raw_ptr()) };
        let place = Place { data_loop, state };
        let properties = properties! {
            "node.name" => NAME,
            "media.class" => "Audio/Source",
            "media.type" => "Audio",
            "node.group" => "count",
        };
        let stream = StreamRc::new(core.clone(), NAME, properties).unwrap();
        let listener = stream
            .add_local_listener::<()>()
            // SAFETY: the real-time thread calls this, and the main thread touches the state only through that thread.
            .process(move |stream, ()| unsafe { &mut *place.state }.cycle(stream))
            .register()
            .unwrap();
        let mut flags = StreamFlags::MAP_BUFFERS | StreamFlags::RT_PROCESS;
        if shape == Shape::Triggered {
            flags |= StreamFlags::TRIGGER;
        }
        let gone = Rc::new(RefCell::new(BTreeMap::new()));
        let change = {
            let gone = gone.clone();
            move |change| apply(change, place, &ledger, &gone)
        };
        let format = mono_float();
        let params = &mut [Pod::from_bytes(&format).unwrap()];
        let connect = || stream.connect(Direction::Output, None, flags, params);
        let feed = PeerFeed::attach(core, connect, change).unwrap();
        let filter = (shape == Shape::Triggered).then(|| Trigger::start(core, &stream));
        Output {
            _feed: feed,
            _filter: filter,
            _listener: listener,
            stream,
            gone,
            place,
            connection,
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self._filter = None;
        self.stream.disconnect().unwrap();
        on_data_loop(self.place, |_| ());
        // SAFETY: disconnecting and the call after it have taken the node off the data loop, so nobody uses the state.
        drop(unsafe { Box::from_raw(self.place.state) });
        let _ = &self.connection;
    }
}

/// What the engine does with each change.
fn apply(
    change: PeerChange,
    place: Place,
    ledger: &Ledger<512>,
    gone: &RefCell<BTreeMap<u32, SlotSnapshot>>,
) {
    match change {
        PeerChange::Own(record) => on_data_loop(place, |real_time| real_time.own = Some(record)),
        PeerChange::Joined {
            node_id,
            record,
            joined_ns,
        } => {
            let account = Account {
                client: u64::from(node_id),
                slot: ledger.claim(u64::from(node_id)),
            };
            let peer = Peer {
                node_id,
                account,
                record,
                joined_ns,
            };
            on_data_loop(place, |real_time| real_time.table.add(peer)).unwrap();
        }
        PeerChange::Left { node_id } => {
            let peer = on_data_loop(place, |real_time| {
                let RealTime {
                    table,
                    ledger,
                    trace,
                    delivered,
                    ..
                } = real_time;
                table.remove(node_id, delivered.as_ref(), &mut Books { ledger, trace })
            });
            let counts = ledger.release(peer.unwrap().account.slot.unwrap()).unwrap();
            gone.borrow_mut().insert(node_id, counts);
        }
        PeerChange::Unreadable { error, .. } => panic!("{error}"),
    }
}

impl RealTime {
    fn cycle(&mut self, stream: &Stream) {
        let started_ns = now_ns();
        if let Some(own) = &self.own {
            self.verdict = self.check.cycle(own.read(), started_ns);
        }
        self.cycle += 1;
        let this = CycleFacts {
            started_ns,
            position: self.cycle * u64::from(self.quantum),
            frames: self.quantum,
            rate: 48_000,
            live: self.cycle.is_multiple_of(2),
            flagged: false,
        };
        let mut books = Books {
            ledger: &self.ledger,
            trace: &mut self.trace,
        };
        self.table.scan(&this, self.delivered.as_ref(), &mut books);
        if let Some(mut buffer) = stream.dequeue_buffer() {
            let data = &mut buffer.datas_mut()[0];
            let bytes = self.quantum * 4;
            data.data().unwrap()[..bytes as usize].fill(0);
            *data.chunk_mut().size_mut() = bytes;
            *data.chunk_mut().stride_mut() = 4;
        }
        self.delivered = Some(this);
    }
}

fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Runs `job` on the data loop, between two cycles, and waits for it.
fn on_data_loop<R>(place: Place, job: impl FnOnce(&mut RealTime) -> R) -> R {
    struct Call<F, R> {
        job: Option<F>,
        result: Option<R>,
        state: *mut RealTime,
    }
    unsafe extern "C" fn run<F: FnOnce(&mut RealTime) -> R, R>(
        _loop: *mut spa_sys::spa_loop,
        _async: bool,
        _seq: u32,
        _data: *const c_void,
        _size: usize,
        call: *mut c_void,
    ) -> c_int {
        // SAFETY: the caller below waits, so its call lives; this thread is the one that uses the state.
        let (call, state) = unsafe {
            let call = &mut *call.cast::<Call<F, R>>();
            (&mut *ptr::from_mut(call), &mut *call.state)
        };
        call.result = call.job.take().map(|job| job(state));
        0
    }
    fn invoke<F: FnOnce(&mut RealTime) -> R, R>(place: Place, call: &mut Call<F, R>) {
        let call = ptr::from_mut(call).cast();
        // SAFETY: the loop lives as long as the output; a blocking call ends after `run` did.
        unsafe {
            pw_sys::pw_data_loop_invoke(
                place.data_loop,
                Some(run::<F, R>),
                1,
                ptr::null(),
                0,
                true,
                call,
            )
        };
    }
    let mut call = Call {
        job: Some(job),
        result: None,
        state: place.state,
    };
    invoke(place, &mut call);
    call.result.unwrap()
}

/// A filter without links that runs in every cycle and gives our output its turn.
struct Trigger {
    filter: *mut pw_sys::pw_filter,
    _events: Box<(pw_sys::pw_filter_events, spa_sys::spa_hook)>,
}

impl Trigger {
    fn start(core: &CoreRc, stream: &Stream) -> Self {
        unsafe extern "C" fn process(
            stream: *mut c_void,
            _position: *mut spa_sys::spa_io_position,
        ) {
            // SAFETY: the stream outlives the filter.
            unsafe { pw_sys::pw_stream_trigger_process(stream.cast()) };
        }
        let properties = properties! {
            "node.name" => "count.trigger",
            "node.group" => "count",
            "node.always-process" => "true",
        };
        // SAFETY: the core lives as long as the filter, the properties are handed over, and events and hook are boxed
        // and freed after the filter.
        unsafe {
            let name = c"count.trigger".as_ptr();
            let filter = pw_sys::pw_filter_new(core.as_raw_ptr(), name, properties.into_raw());
            let events = pw_sys::pw_filter_events {
                version: pw_sys::PW_VERSION_FILTER_EVENTS,
                process: Some(process),
                ..zeroed()
            };
            let mut events = Box::new((events, zeroed()));
            let stream = stream.as_raw_ptr().cast();
            pw_sys::pw_filter_add_listener(filter, &mut events.1, &events.0, stream);
            let port =
                properties! { "format.dsp" => "32 bit float mono audio", "port.name" => "input" };
            let direction = spa_sys::SPA_DIRECTION_INPUT;
            pw_sys::pw_filter_add_port(
                filter,
                direction,
                0,
                1,
                port.into_raw(),
                ptr::null_mut(),
                0,
            );
            let flags = pw_sys::pw_filter_flags_PW_FILTER_FLAG_RT_PROCESS;
            assert!(pw_sys::pw_filter_connect(filter, flags, ptr::null_mut(), 0) >= 0);
            Trigger {
                filter,
                _events: events,
            }
        }
    }
}

impl Drop for Trigger {
    fn drop(&mut self) {
        // SAFETY: made in `start`, destroyed once, before the stream that it triggers.
        unsafe { pw_sys::pw_filter_destroy(self.filter) };
    }
}
