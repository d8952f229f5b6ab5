//! Native recording clients of our own, many in one process, that count their own process callbacks and log what each
//! delivered: the measure that TrueMute's counts and its silence are held against.

mod streams;

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use pipewire as pw;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use truemute_pipewire::rehearsal::{Format, PrivateServer};

use crate::tape::{Tape, monotonic_ns};

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
    /// More properties of the stream, and of the client where each has its own connection.
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
            if let Err(error) = streams::run(&socket, connections, inbox, woken, &report) {
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
