//! An output of ours that counts, with what its main and its real-time thread have.

use super::super::activation::ActivationRecord;
use super::super::books::{Account, Books, CycleFacts, TraceSender, trace_queue};
use super::super::layout::{LayoutCheck, Verdict};
use super::super::peers_feed::{PeerChange, PeerFeed};
use super::super::profiler::ProfilerCounts;
use super::super::table::{Peer, PeerTable};
use super::{Connection, NAME, mono_float};
use crate::monotonic::monotonic_ns;
use pipewire as pw;
use pw::core::CoreRc;
use pw::properties::properties;
use pw::spa::pod::Pod;
use pw::spa::sys as spa_sys;
use pw::spa::utils::Direction;
use pw::stream::{Stream, StreamFlags, StreamListener, StreamRc, StreamState};
use pw::sys as pw_sys;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::{c_int, c_void};
use std::mem::zeroed;
use std::ptr;
use std::rc::Rc;
use std::sync::Arc;
use truemute_core::ledger::{Ledger, SlotSnapshot};

/// How our output gets its turn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Shape {
    /// By the graph.
    Plain,
    /// By a filter of ours, as the virtual mic does.
    Triggered,
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
    /// Tells the estimator of each cycle, where there is one.
    told: Option<rtrb::Producer<CycleFacts>>,
    /// Whether our output may be triggered. 0.3.65 runs a triggered stream at once, in whatever state it is; while the
    /// main thread starts or stops it, that is a segmentation fault (1 of 40 runs).
    streaming: bool,
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
pub(super) struct Output {
    _feed: PeerFeed,
    filter: Option<Trigger>,
    _listener: StreamListener<()>,
    stream: StreamRc,
    gone: Rc<RefCell<BTreeMap<u32, SlotSnapshot>>>,
    place: Place,
    _connection: Connection,
}

/// Counts by the profiler instead: the estimator, and how it learns of our cycles.
pub(super) type Estimator = (Rc<RefCell<ProfilerCounts>>, rtrb::Producer<CycleFacts>);

impl Output {
    pub(super) fn start(
        connection: Connection,
        shape: Shape,
        quantum: u32,
        ledger: Arc<Ledger<512>>,
        estimator: Option<Estimator>,
    ) -> Self {
        let (estimator, told) = estimator.unzip();
        let (context, core) = &connection;
        let (trace, _traced) = trace_queue(1);
        let state = Box::into_raw(Box::new(RealTime {
            table: PeerTable::new(),
            ledger: ledger.clone(),
            trace,
            own: None,
            check: LayoutCheck::new(),
            verdict: Verdict::Open,
            delivered: None,
            told,
            streaming: false,
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
            .state_changed(move |_, (), _, new| {
                let streaming = matches!(new, StreamState::Streaming);
                on_data_loop(place, |real_time| real_time.streaming = streaming);
            })
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
            move |change| apply(change, place, &ledger, estimator.as_deref(), &gone)
        };
        let format = mono_float();
        let params = &mut [Pod::from_bytes(&format).unwrap()];
        let connect = || stream.connect(Direction::Output, None, flags, params);
        let feed = PeerFeed::attach(core, connect, change).unwrap();
        let filter = (shape == Shape::Triggered).then(|| Trigger::start(core, &stream, place));
        Output {
            _feed: feed,
            filter,
            _listener: listener,
            stream,
            gone,
            place,
            _connection: connection,
        }
    }

    pub(super) fn node_id(&self) -> u32 {
        self.stream.node_id()
    }

    /// What was counted for a client that has left.
    pub(super) fn gone(&self, node_id: u32) -> Option<SlotSnapshot> {
        self.gone.borrow().get(&node_id).cloned()
    }

    pub(super) fn verdict(&self) -> Verdict {
        on_data_loop(self.place, |real_time| real_time.verdict)
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.filter = None;
        self.stream.disconnect().unwrap();
        on_data_loop(self.place, |_| ());
        // SAFETY: disconnecting and the call after it have taken the node off the data loop, so nobody uses the state.
        drop(unsafe { Box::from_raw(self.place.state) });
    }
}

/// What the engine does with each change.
fn apply(
    change: PeerChange,
    place: Place,
    ledger: &Ledger<512>,
    estimator: Option<&RefCell<ProfilerCounts>>,
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
            if let Some(estimator) = estimator {
                return estimator.borrow_mut().follow(node_id, account, joined_ns);
            }
            let peer = Peer {
                node_id,
                account,
                record,
                joined_ns,
            };
            on_data_loop(place, |real_time| real_time.table.add(peer)).unwrap();
        }
        PeerChange::Left { node_id } => {
            if let Some(estimator) = estimator {
                return estimator.borrow_mut().leave(node_id, monotonic_ns());
            }
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
        let started_ns = monotonic_ns();
        if let Some(own) = &self.own {
            self.verdict = self.check.cycle(own.read(), started_ns);
        }
        self.cycle += 1;
        let mut this = CycleFacts {
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
            // What tells the client whether it got this, and in which state.
            let mark: f32 = if this.live { 0.5 } else { -0.5 };
            for sample in data.data().unwrap()[..bytes as usize].chunks_exact_mut(4) {
                sample.copy_from_slice(&mark.to_le_bytes());
            }
            *data.chunk_mut().size_mut() = bytes;
            *data.chunk_mut().stride_mut() = 4;
        } else {
            // All are in use: clients get the last one again, as from the virtual mic (sample/cycle.rs).
            this.flagged = true;
        }
        self.delivered = Some(this);
        if let Some(told) = &mut self.told {
            told.push(this).unwrap();
        }
    }
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
    _events: Box<(pw_sys::pw_filter_events, spa_sys::spa_hook, TriggerData)>,
}

type TriggerData = (*mut pw_sys::pw_stream, Place);

impl Trigger {
    fn start(core: &CoreRc, stream: &Stream, place: Place) -> Self {
        unsafe extern "C" fn process(data: *mut c_void, _position: *mut spa_sys::spa_io_position) {
            // SAFETY: the data lives as long as the filter, the stream and the state longer. No reference into the
            // state lives while the stream's own callback runs.
            unsafe {
                let (stream, place) = *data.cast::<TriggerData>();
                if (*place.state).streaming {
                    pw_sys::pw_stream_trigger_process(stream);
                }
            }
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
            let mut events = Box::new((events, zeroed(), (stream.as_raw_ptr(), place)));
            let data = ptr::from_mut(&mut events.2).cast();
            pw_sys::pw_filter_add_listener(filter, &mut events.1, &events.0, data);
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
