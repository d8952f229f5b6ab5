//! Native recording clients of our own, many in one process, that count their own process callbacks and log what each
//! delivered: the measure that TrueMute's counts and its silence are held against.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::c_void;
use std::io::Cursor;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use pipewire as pw;
use pw::context::ContextRc;
use pw::core::CoreRc;
use pw::main_loop::MainLoopRc;
use pw::properties::properties;
use pw::spa;
use pw::stream::{StreamFlags, StreamListener, StreamRc, StreamState};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use spa::param::ParamType;
use spa::param::audio::{AudioFormat, AudioInfoRaw};
use spa::pod::serialize::PodSerializer;
use spa::pod::{Object, Pod, Value};
use spa::utils::{Direction, SpaTypes};
use truemute_pipewire::rehearsal::{Format, PrivateServer};

use crate::tape::{DriverRecord, Tape, monotonic_ns};

/// What client to be.
#[derive(Clone, Debug)]
pub struct RecorderOptions {
    /// `node.name` and `application.name`.
    pub name: String,
    /// `node.name` of the source; the default source if absent.
    pub target: Option<String>,
    /// Channels, 1 or 2.
    pub channels: u32,
    /// Sample format.
    pub format: Format,
    /// Sample rate in Hz; the graph's if absent.
    pub rate: Option<u32>,
    /// `node.latency` in frames at 48 kHz: asks the graph for this quantum.
    pub latency: Option<u32>,
    /// Cycles that the log has room for. Without room nothing is looked at: pulls and frames are counted, and that is all.
    pub cycles: usize,
    /// Bytes of sound to keep; 0 keeps none.
    pub kept_bytes: usize,
    /// Whether the session manager links it.
    pub autoconnect: bool,
    /// More properties of the stream.
    pub properties: Vec<(String, String)>,
}

impl Default for RecorderOptions {
    fn default() -> Self {
        Self {
            name: "recorder".to_owned(),
            target: None,
            channels: 1,
            format: Format::F32,
            rate: None,
            latency: None,
            cycles: 20_000,
            kept_bytes: 0,
            autoconnect: true,
            properties: Vec::new(),
        }
    }
}

/// Whether recorders share one connection to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connections {
    /// All streams on one connection: one PipeWire client with many streams.
    Shared,
    /// Each its own, as separate apps have. All share one real-time thread.
    Own,
}

/// A thread that runs recorders against one server.
pub struct Recorders {
    orders: Orders,
    thread: Option<JoinHandle<()>>,
}

/// The way to the recorders' thread. Orders go through a channel of the standard library, for what lies in it is
/// dropped when the thread ends; PipeWire's channel only wakes the main loop.
#[derive(Clone)]
struct Orders {
    queue: mpsc::Sender<Order>,
    wake: pw::channel::Sender<()>,
}

impl Orders {
    fn send(&self, order: Order) -> Result<(), String> {
        let gone = "the recorders' thread ended";
        self.queue.send(order).map_err(|_| gone)?;
        self.wake.send(()).map_err(|()| gone.to_owned())
    }
}

enum Order {
    Add(
        u64,
        RecorderOptions,
        Arc<Tape>,
        Arc<Mutex<State>>,
        mpsc::Sender<Result<(), String>>,
    ),
    Remove(u64, mpsc::Sender<()>),
    SetActive(u64, bool),
    Quit,
}

/// State of a recorder's stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Not linked yet.
    Waiting,
    /// Linked, not running: corked, or nothing drives it.
    Paused,
    /// Running.
    Streaming,
    /// Broken or disconnected, and why.
    Failed(String),
}

impl Recorders {
    /// Starts the thread; no client yet.
    ///
    /// # Errors
    /// The server cannot be reached.
    pub fn start(server: &PrivateServer, connections: Connections) -> Result<Self, String> {
        Self::on(server.socket(), connections)
    }

    /// [`Recorders::start`] for another of the server's sockets.
    ///
    /// # Errors
    /// As [`Recorders::start`].
    pub fn on(socket: PathBuf, connections: Connections) -> Result<Self, String> {
        raise_open_files();
        let (queue, inbox) = mpsc::channel();
        let (wake, woken) = pw::channel::channel();
        let (report, ready) = mpsc::channel();
        let thread = thread::spawn(move || {
            if let Err(error) = run(&socket, connections, inbox, woken, &report) {
                // After readiness nobody listens; recorders have their own state for that.
                let _ = report.send(Err(error));
            }
        });
        ready
            .recv()
            .map_err(|_| "the recorders' thread ended".to_owned())??;
        Ok(Self {
            orders: Orders { queue, wake },
            thread: Some(thread),
        })
    }

    /// Adds a client. It records as soon as the session manager has linked it.
    ///
    /// # Errors
    /// The stream cannot be made.
    pub fn add(&self, options: RecorderOptions) -> Result<Recorder, String> {
        static NUMBER: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let sample_bytes = match options.format {
            Format::F32 => 4,
            Format::S16 => 2,
        };
        let tape = Arc::new(Tape::new(
            options.cycles,
            options.kept_bytes,
            sample_bytes,
            options.channels,
        ));
        let state = Arc::new(Mutex::new(State::Waiting));
        let (report, made) = mpsc::channel();
        let format = options.format;
        let name = options.name.clone();
        let order = Order::Add(number, options, tape.clone(), state.clone(), report);
        self.orders.send(order)?;
        made.recv()
            .map_err(|_| "the recorders' thread ended".to_owned())??;
        Ok(Recorder {
            number,
            name,
            format,
            tape,
            state,
            orders: self.orders.clone(),
        })
    }

    /// Adds `count` clients like `options`, named `NAME-0` and so on.
    ///
    /// # Errors
    /// As [`Recorders::add`].
    pub fn add_many(
        &self,
        count: usize,
        options: &RecorderOptions,
    ) -> Result<Vec<Recorder>, String> {
        (0..count)
            .map(|index| {
                self.add(RecorderOptions {
                    name: format!("{}-{index}", options.name),
                    ..options.clone()
                })
            })
            .collect()
    }
}

impl Drop for Recorders {
    fn drop(&mut self) {
        // If the thread has ended already there is nothing to tell it.
        let _ = self.orders.send(Order::Quit);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// One recording client. Dropping it disconnects the stream.
pub struct Recorder {
    number: u64,
    name: String,
    format: Format,
    tape: Arc<Tape>,
    state: Arc<Mutex<State>>,
    orders: Orders,
}

impl Recorder {
    /// `node.name` and `application.name`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it saw.
    pub fn tape(&self) -> &Tape {
        &self.tape
    }

    /// The stream's node id on the server, once it has one.
    pub fn node_id(&self) -> Option<u32> {
        let id = self.tape.node_id.load(Ordering::Relaxed);
        (id != u32::MAX).then_some(id)
    }

    /// The stream's state now.
    pub fn state(&self) -> State {
        self.state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Corks (`false`) or uncorks the stream.
    pub fn set_active(&self, active: bool) {
        // If the thread has ended the state says so.
        let _ = self.orders.send(Order::SetActive(self.number, active));
    }

    /// Waits until `count` buffers have come; says whether they did.
    pub fn wait_for_pulls(&self, count: u64, limit: Duration) -> bool {
        wait_until(limit, || self.tape.pulls() >= count)
    }

    /// Waits until a buffer has come that is not (`live`) or is all zeros, looking at cycle `from` and later. Gives the
    /// number of that cycle.
    pub fn wait_for_sound(&self, live: bool, from: usize, limit: Duration) -> Option<usize> {
        let mut seen = from;
        let mut found = None;
        wait_until(limit, || {
            let new = self.tape.cycles_from(seen);
            found = new
                .iter()
                .position(|cycle| cycle.frames > 0 && cycle.is_zero() != live)
                .map(|index| seen + index);
            seen += new.len();
            found.is_some()
        });
        found
    }

    /// Disconnects the stream. What it saw stays.
    pub fn end(self) -> Ended {
        let asked_ns = monotonic_ns();
        let tape = self.tape.clone();
        drop(self);
        Ended { tape, asked_ns }
    }

    /// The kept sound, channels interleaved, as floats (an S16 is divided by 32768, which is exact).
    pub fn samples(&self) -> Vec<f32> {
        let bytes = self.tape.bytes_from(0);
        match self.format {
            Format::F32 => bytes
                .as_chunks::<4>()
                .0
                .iter()
                .map(|bytes| f32::from_le_bytes(*bytes))
                .collect(),
            Format::S16 => bytes
                .as_chunks::<2>()
                .0
                .iter()
                .map(|bytes| f32::from(i16::from_le_bytes(*bytes)) / 32768.0)
                .collect(),
        }
    }
}

/// A client that has gone.
pub struct Ended {
    /// What it saw.
    pub tape: Arc<Tape>,
    /// When it began to disconnect, nanoseconds of the monotonic clock.
    pub asked_ns: u64,
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let (gone, done) = mpsc::channel();
        if self.orders.send(Order::Remove(self.number, gone)).is_ok() {
            // An error means that the thread ended before it got to it.
            let _ = done.recv();
        }
    }
}

/// Polls `condition` until it holds or `limit` has passed; says whether it held.
pub fn wait_until(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// 256 connections need more descriptors than the usual soft limit of 1024.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit
            .maximum
            .map_or(Some(65_536), |most| Some(most.min(65_536))),
        maximum: limit.maximum,
    };
    // Without it a test with many clients fails with its own message.
    let _ = setrlimit(Resource::Nofile, raised);
}

fn run(
    socket: &Path,
    connections: Connections,
    inbox: mpsc::Receiver<Order>,
    woken: pw::channel::Receiver<()>,
    report: &mpsc::Sender<Result<(), String>>,
) -> Result<(), String> {
    pw::init();
    let text = |error: pw::Error| error.to_string();
    let main_loop = MainLoopRc::new(None).map_err(text)?;
    // Without this name a client of PipeWire 0.3.65 gets no real-time thread (measured).
    let context = ContextRc::new(
        &main_loop,
        Some(properties! { "config.name" => "client-rt.conf" }),
    )
    .map_err(text)?;
    let mut stage = Stage {
        context,
        socket: socket.to_owned(),
        shared: None,
        streams: BTreeMap::new(),
    };
    if connections == Connections::Shared {
        stage.shared = Some(stage.connect()?);
    }
    let _woken = woken.attach(main_loop.loop_(), {
        let main_loop = main_loop.clone();
        let stage = RefCell::new(stage);
        move |()| {
            let mut stage = stage.borrow_mut();
            for order in inbox.try_iter() {
                match order {
                    Order::Add(number, options, tape, state, made) => {
                        let result = stage.add(number, &options, tape, state);
                        let _ = made.send(result);
                    }
                    Order::Remove(number, gone) => {
                        stage.streams.remove(&number);
                        let _ = gone.send(());
                    }
                    Order::SetActive(number, active) => {
                        if let Some(playing) = stage.streams.get(&number) {
                            // A stream that has failed cannot be corked; its state says so.
                            let _ = playing.stream.set_active(active);
                        }
                    }
                    Order::Quit => main_loop.quit(),
                }
            }
        }
    });
    let _ = report.send(Ok(()));
    main_loop.run();
    Ok(())
}

struct Stage {
    context: ContextRc,
    socket: PathBuf,
    shared: Option<CoreRc>,
    streams: BTreeMap<u64, Playing>,
}

struct Playing {
    // Dropped in this order: no callback comes once the listener has gone.
    _listener: StreamListener<Arc<Tape>>,
    stream: StreamRc,
}

impl Drop for Playing {
    fn drop(&mut self) {
        // Stops the real-time thread's callbacks before the listener's memory goes.
        let _ = self.stream.disconnect();
    }
}

impl Stage {
    fn connect(&self) -> Result<CoreRc, String> {
        let socket = UnixStream::connect(&self.socket).map_err(|error| error.to_string())?;
        self.context
            .connect_fd_rc(socket.into(), None)
            .map_err(|error| error.to_string())
    }

    fn add(
        &mut self,
        number: u64,
        options: &RecorderOptions,
        tape: Arc<Tape>,
        state: Arc<Mutex<State>>,
    ) -> Result<(), String> {
        let text = |error: pw::Error| error.to_string();
        let core = match &self.shared {
            Some(core) => core.clone(),
            None => self.connect()?,
        };
        let stream = StreamRc::new(core, &options.name, properties_of(options)).map_err(text)?;
        let listener = stream
            .add_local_listener_with_user_data(tape)
            .state_changed(move |stream, tape, _old, new| {
                tape.node_id.store(stream.node_id(), Ordering::Relaxed);
                *state.lock().unwrap_or_else(PoisonError::into_inner) = match new {
                    StreamState::Connecting => State::Waiting,
                    StreamState::Paused => State::Paused,
                    StreamState::Streaming => State::Streaming,
                    StreamState::Error(reason) => State::Failed(reason),
                    StreamState::Unconnected => State::Failed("disconnected".to_owned()),
                };
            })
            .param_changed(|_stream, tape, id, param| {
                if id == spa::sys::SPA_PARAM_Latency
                    && let Some(nanoseconds) = param.and_then(latency_of_source)
                {
                    tape.source_latency_ns.store(nanoseconds, Ordering::Relaxed);
                }
            })
            .io_changed(|stream, tape, id, area, size| {
                if id == spa::sys::SPA_IO_Position {
                    let whole = size as usize >= size_of::<spa::sys::spa_io_position>();
                    if whole && !area.is_null() {
                        tape.set_position(area.cast(), driver_record(stream, area));
                    } else {
                        tape.set_position(ptr::null_mut(), ptr::null_mut());
                    }
                }
            })
            .process(|stream, tape| {
                let Some(mut buffer) = stream.dequeue_buffer() else {
                    tape.note_empty();
                    return;
                };
                let Some(data) = buffer.datas_mut().first_mut() else {
                    return;
                };
                let chunk = *data.chunk().as_raw();
                if let Some(memory) = data.data() {
                    // SAFETY: process callbacks of one stream come from its one real-time thread.
                    unsafe { tape.note(&chunk, memory) };
                }
            })
            .register()
            .map_err(text)?;
        let format = format_of(options)?;
        let mut params = [Pod::from_bytes(&format).ok_or("the format is not a pod")?];
        let mut flags = StreamFlags::MAP_BUFFERS | StreamFlags::RT_PROCESS;
        flags.set(StreamFlags::AUTOCONNECT, options.autoconnect);
        stream
            .connect(Direction::Input, None, flags, &mut params)
            .map_err(text)?;
        self.streams.insert(
            number,
            Playing {
                _listener: listener,
                stream,
            },
        );
        Ok(())
    }
}

/// The absolute part, in nanoseconds, of the latency of what a stream records from.
fn latency_of_source(param: &Pod) -> Option<i64> {
    // SAFETY: zero is a valid value of this plain struct.
    let mut info: spa::sys::spa_latency_info = unsafe { std::mem::zeroed() };
    // SAFETY: a complete pod; the function checks its type and sizes.
    let parsed = unsafe { spa::sys::spa_latency_parse(param.as_raw_ptr(), &mut info) };
    let is_sources = info.direction == spa::sys::SPA_DIRECTION_OUTPUT;
    // Unsigned in the headers of 0.3.65, signed in those of 1.4.
    (parsed >= 0 && is_sources).then(|| info.max_ns.try_into().unwrap_or(i64::MAX))
}

/// The driver's activation record, which the area with the graph's position is a part of; null if that is not so.
fn driver_record(stream: &pw::stream::Stream, area: *mut c_void) -> *mut DriverRecord {
    // SAFETY: stream, core and pool live. The area lies in a mapping of the pool, which maps whole pages, and the record
    // begins the block: so mapping its beginning gives the same mapping again, which stays when this use of it ends, as
    // the area's does.
    let start = unsafe {
        let core = pw::sys::pw_stream_get_core(stream.as_raw_ptr());
        let pool = pw::sys::pw_core_get_mempool(core);
        let block = pw::sys::pw_mempool_find_ptr(pool, area);
        if block.is_null() {
            return ptr::null_mut();
        }
        let flags = pw::sys::pw_memmap_flags_PW_MEMMAP_FLAG_READWRITE;
        let size = size_of::<DriverRecord>() as u32;
        let map = pw::sys::pw_memblock_map(block, flags, 0, size, ptr::null_mut());
        if map.is_null() {
            return ptr::null_mut();
        }
        let start = (*map).ptr;
        pw::sys::pw_memmap_free(map);
        start
    };
    // Other than that, it was a mapping of its own, which is gone now.
    let same = (area.addr()).wrapping_sub(start.addr()) < PAGE;
    if same { start.cast() } else { ptr::null_mut() }
}

/// The smallest page there is.
const PAGE: usize = 4096;

fn properties_of(options: &RecorderOptions) -> pw::properties::PropertiesBox {
    let mut properties = properties! {
        "media.type" => "Audio",
        "media.category" => "Capture",
        "media.role" => "Communication",
        "node.name" => options.name.as_str(),
        "application.name" => options.name.as_str(),
    };
    if let Some(target) = &options.target {
        properties.insert("target.object", target.as_str());
    }
    if let Some(frames) = options.latency {
        properties.insert("node.latency", format!("{frames}/48000"));
    }
    for (key, value) in &options.properties {
        properties.insert(key.as_str(), value.as_str());
    }
    properties
}

fn format_of(options: &RecorderOptions) -> Result<Vec<u8>, String> {
    let mut info = AudioInfoRaw::new();
    info.set_format(match options.format {
        Format::F32 => AudioFormat::F32LE,
        Format::S16 => AudioFormat::S16LE,
    });
    info.set_channels(options.channels);
    if let Some(rate) = options.rate {
        info.set_rate(rate);
    }
    let mut positions = [0; spa::sys::SPA_AUDIO_MAX_CHANNELS as usize];
    match options.channels {
        1 => positions[0] = spa::sys::SPA_AUDIO_CHANNEL_MONO,
        2 => {
            positions[0] = spa::sys::SPA_AUDIO_CHANNEL_FL;
            positions[1] = spa::sys::SPA_AUDIO_CHANNEL_FR;
        }
        other => return Err(format!("a recorder has 1 or 2 channels, not {other}")),
    }
    info.set_position(positions);
    let object = Object {
        type_: SpaTypes::ObjectParamFormat.as_raw(),
        id: ParamType::EnumFormat.as_raw(),
        properties: info.into(),
    };
    PodSerializer::serialize(Cursor::new(Vec::new()), &Value::Object(object))
        .map(|(cursor, _)| cursor.into_inner())
        .map_err(|error| format!("the format cannot be written: {error:?}"))
}
