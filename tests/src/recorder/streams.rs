//! The thread behind [`Recorders`](super::Recorders): its connections and streams, and what each callback notes on its tape.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::c_void;
use std::io::Cursor;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use pipewire as pw;
use pw::context::ContextRc;
use pw::core::CoreRc;
use pw::main_loop::MainLoopRc;
use pw::properties::properties;
use pw::spa;
use pw::stream::{StreamFlags, StreamListener, StreamRc, StreamState};
use spa::param::ParamType;
use spa::param::audio::{AudioFormat, AudioInfoRaw};
use spa::pod::serialize::PodSerializer;
use spa::pod::{Object, Pod, Value};
use spa::utils::{Direction, SpaTypes};
use truemute_pipewire::rehearsal::Format;

use super::{Connections, Order, RecorderOptions, State};
use crate::tape::{DriverRecord, Tape};

/// Runs the streams until it is told to quit; `report` hears whether it began.
pub(super) fn run(
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
        stage.shared = Some(stage.connect(&[])?);
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
    fn connect(&self, claims: &[(String, String)]) -> Result<CoreRc, String> {
        let socket = UnixStream::connect(&self.socket).map_err(|error| error.to_string())?;
        let mut properties = pw::properties::PropertiesBox::new();
        for (key, value) in claims {
            properties.insert(key.as_str(), value.as_str());
        }
        self.context
            .connect_fd_rc(socket.into(), Some(properties))
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
            None => self.connect(&options.properties)?,
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
