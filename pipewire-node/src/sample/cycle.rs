//! One cycle of the graph, on the real-time thread: take the real mic's block, ask the gate, write what every client will
//! read, count what the clients of the last cycle did. Nothing here allocates, locks, blocks, logs or panics (P6).

use std::{ffi::c_void, ptr, sync::Arc};

use pipewire::{spa::sys as spa_sys, sys as pw_sys};
use truemute_core::gate::{Decision, Gate, Source};

use super::{
    MAX_CHANNELS,
    latency::SharedLatency,
    progress::{At, Progress, Seen},
};
use crate::count::{
    Clients,
    activation::ActivationRecord,
    books::{Books, CycleFacts, TraceSender},
    layout::{LayoutCheck, Verdict},
    table::{Peer, PeerTable, TableFull},
};
use crate::monotonic::monotonic_ns;

/// What a [`Cycle`] is made of; everything shared is shared with the main loop.
pub(crate) struct CycleParts {
    /// Decides.
    pub(crate) gate: Arc<Gate>,
    /// Tells the main loop where the cycles are.
    pub(crate) progress: Arc<Progress>,
    /// Holds the counts.
    pub(crate) ledger: Arc<Clients>,
    /// Takes the single pulls while somebody traces.
    pub(crate) trace: TraceSender,
}

/// State of the real-time thread.
pub(crate) struct Cycle {
    gate: Arc<Gate>,
    progress: Arc<Progress>,
    peers: PeerTable,
    ledger: Arc<Clients>,
    trace: TraceSender,
    latency: Arc<SharedLatency>,
    channels: usize,
    ports: [*mut c_void; MAX_CHANNELS],
    stream: *mut pw_sys::pw_stream,
    /// Whether the stream is up, so that it may be triggered.
    streaming: bool,
    block: Block,
    /// The filter's callback came since our last delivery: a new cycle.
    begun: bool,
    /// Blocks of a newly linked mic that are still to be dropped.
    settling: u32,
    /// The block's sound: each channel's samples, [`PLANE`] bytes apart. A copy, for what the ports hold is unmapped by the
    /// main thread when a link goes, and the stream's callback may come after that.
    sound: Box<[u8]>,
    /// Our own record, until it has shown whether records can be counted from.
    own: Option<(ActivationRecord, LayoutCheck)>,
    verdict: Verdict,
    /// Takes the facts of each cycle while the main thread counts from the profiler.
    told: Option<rtrb::Producer<CycleFacts>>,
    /// Our latest cycle, and its clock; none before the first.
    last: Option<(u32, CycleFacts)>,
    seen: Seen,
}

/// Bytes of one channel in [`Cycle::sound`]: as many samples as the largest quantum has that a server allows unless it is
/// told otherwise (`default.clock.quantum-limit`). Larger ones are silent.
const PLANE: usize = 8192 * SAMPLE;
const SAMPLE: usize = size_of::<f32>();

/// How late a new driver may begin and still be taken to have followed the former one at once.
const SWITCH_JITTER_NS: u64 = 500_000;

/// What the real mic gave for one cycle.
#[derive(Clone, Copy)]
struct Block {
    clock: u32,
    position: u64,
    /// Start of the cycle, monotonic nanoseconds.
    nsec: u64,
    frames: u32,
    rate: u32,
    /// A block only if the sound of all channels was copied.
    source: Source,
}

/// Blocks that a mic without hardware of its own (an echo canceller, a filter chain) can hold from before it was let go
/// of. The graph stands still while nobody listens, with a block in each link that goes on as soon as it is linked again.
/// Measured with a null sink behind a filter: the first whole block was of the moment before the suspend.
pub(crate) const VIRTUAL_SETTLES: u32 = 2;

const NO_BLOCK: Block = Block {
    clock: 0,
    position: 0,
    nsec: 0,
    frames: 0,
    rate: 0,
    source: Source::Missing,
};

impl Cycle {
    pub(crate) fn new(parts: CycleParts, channels: usize, latency: Arc<SharedLatency>) -> Self {
        Self {
            gate: parts.gate,
            progress: parts.progress,
            peers: PeerTable::new(),
            ledger: parts.ledger,
            trace: parts.trace,
            latency,
            channels: channels.min(MAX_CHANNELS),
            ports: [ptr::null_mut(); MAX_CHANNELS],
            stream: ptr::null_mut(),
            streaming: false,
            block: NO_BLOCK,
            begun: false,
            settling: 0,
            // Written, so that its pages are there before the first cycle.
            sound: vec![0xff; channels.min(MAX_CHANNELS) * PLANE].into(),
            own: None,
            verdict: Verdict::Open,
            told: None,
            last: None,
            seen: Seen::default(),
        }
    }

    pub(crate) fn set_port(&mut self, index: usize, port: *mut c_void) {
        if let Some(slot) = self.ports.get_mut(index) {
            *slot = port;
        }
    }

    pub(crate) fn set_stream(&mut self, stream: *mut pw_sys::pw_stream) {
        self.stream = stream;
    }

    /// The stream went to or from streaming. By the main loop's blocking invoke on this thread.
    pub(crate) fn set_streaming(&mut self, streaming: bool) {
        self.streaming = streaming;
        if !streaming {
            let mut books = Books {
                ledger: &*self.ledger,
                trace: &mut self.trace,
            };
            let delivered = self.last.as_ref().map(|(_, facts)| facts);
            self.peers.pause(delivered, &mut books);
        }
    }

    /// The stream, if it may be triggered. A library of 0.3 runs a triggered stream at once, in whatever state it is;
    /// while the main thread starts or stops it, that is a segmentation fault in the converter (measured: one of about
    /// 20 starts).
    pub(crate) fn triggerable(&self) -> Option<*mut pw_sys::pw_stream> {
        self.streaming.then_some(self.stream)
    }

    /// A client's node was linked. By the main loop's blocking invoke on this thread, like the one below.
    pub(crate) fn add_peer(&mut self, peer: Peer) -> Result<(), TableFull> {
        self.peers.add(peer)
    }

    /// A client's node was unlinked: looks at it a last time.
    pub(crate) fn remove_peer(&mut self, node_id: u32) -> Option<Peer> {
        let mut books = Books {
            ledger: &*self.ledger,
            trace: &mut self.trace,
        };
        self.peers.remove(
            node_id,
            self.last.as_ref().map(|(_, facts)| facts),
            &mut books,
        )
    }

    /// The server made our node: from now on its record is compared with what we see ourselves. Gives the former
    /// record back, which is not to be unmapped on this thread.
    pub(crate) fn set_own_record(&mut self, record: ActivationRecord) -> Option<ActivationRecord> {
        self.verdict = Verdict::Open;
        self.own
            .replace((record, LayoutCheck::new()))
            .map(|(former, _)| former)
    }

    /// Tells the facts of each cycle from now on. A full queue costs the estimator the state of the gate in a cycle that
    /// it would look up, no pull.
    pub(crate) fn tell_cycles(&mut self, to: rtrb::Producer<CycleFacts>) {
        self.told = Some(to);
    }

    /// The node id of the mic that is about to be linked. By the main loop's blocking invoke on this thread.
    pub(crate) fn set_mic(&mut self, node: u32) {
        self.latency.set_mic(node);
    }

    /// A mic is about to be linked whose first `blocks` blocks can be of a time before it was (see [`VIRTUAL_SETTLES`]).
    /// By the main loop's blocking invoke on this thread.
    pub(crate) fn drop_first(&mut self, blocks: u32) {
        self.settling = blocks;
    }

    /// Whether activation records can be counted from.
    pub(crate) fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// The filter's process callback: what the mic captured for this cycle.
    pub(crate) fn take_block(&mut self, position: Option<&spa_sys::spa_io_position>) {
        self.begun = true;
        let Some(position) = position else {
            self.block = NO_BLOCK;
            return;
        };
        let clock = &position.clock;
        let frames = u32::try_from(clock.duration).unwrap_or(0);
        let rate = clock.rate.denom;
        let mut block = Block {
            clock: clock.id,
            position: clock.position,
            nsec: clock.nsec,
            frames,
            rate,
            source: Source::Missing,
        };
        let wanted = u64::from(frames) * SAMPLE as u64;
        // What is not heard is not even read: the time of a muted cycle tells nothing of the room (P4).
        let open = self.gate.state().1;
        let mut linked = 0;
        let mut whole = 0;
        let planes = self.sound.chunks_exact_mut(PLANE);
        for (port, plane) in self.ports.iter().zip(planes) {
            // SAFETY: a port of our filter, dequeued on the filter's own data loop (pipewire/filter.h).
            let buffer = unsafe { pw_sys::pw_filter_dequeue_buffer(*port) };
            if buffer.is_null() {
                continue;
            }
            // SAFETY: a dequeued buffer has at least one data with a chunk (DSP format: one plane), and stays readable
            // during this callback: the main thread takes it back by a call on this thread first.
            unsafe {
                let spa_buffer = (*buffer).buffer;
                if (*spa_buffer).n_datas > 0 {
                    let data = &*(*spa_buffer).datas;
                    let chunk = &*data.chunk;
                    let end = u64::from(chunk.offset) + wanted;
                    let flags = chunk.flags as u32;
                    let corrupt = flags & spa_sys::SPA_CHUNK_FLAG_CORRUPTED != 0;
                    // In the first cycle of a link the mic may not have run before us. The mixer of our port then makes
                    // silence of its own, of the largest size; silence of the mic's has the cycle's size
                    // (spa/plugins/audiomixer/mixer-dsp.c).
                    let unfed = flags & spa_sys::SPA_CHUNK_FLAG_EMPTY != 0
                        && u64::from(chunk.size) > wanted;
                    linked += usize::from(!unfed);
                    if !data.data.is_null()
                        && u64::from(chunk.size) >= wanted
                        && end <= u64::from(data.maxsize)
                        && !corrupt
                        && !unfed
                        && let Some(plane) = plane.get_mut(..wanted as usize)
                    {
                        if open {
                            let from = data.data.cast::<u8>().add(chunk.offset as usize);
                            ptr::copy_nonoverlapping(from, plane.as_mut_ptr(), plane.len());
                        }
                        whole += 1;
                    }
                }
                pw_sys::pw_filter_queue_buffer(*port, buffer);
            }
        }
        block.source = if linked < self.channels {
            Source::Missing
        } else if whole < self.channels || frames == 0 || rate == 0 {
            Source::Unhealthy
        } else if self.settling > 0 {
            self.settling -= 1;
            Source::Unhealthy
        } else if !open {
            Source::Missing
        } else {
            Source::Block {
                began_ns: self.capture_began(clock, frames, rate),
            }
        };
        self.block = block;
    }

    /// When the mic began to capture a block that the graph processes now: a quantum before the cycle (or the device's
    /// whole delay, which for ALSA includes that quantum: spa/node/io.h), and earlier by what stands in front of us.
    fn capture_began(&self, clock: &spa_sys::spa_io_clock, frames: u32, rate: u32) -> u64 {
        let delay = u64::try_from(clock.delay)
            .unwrap_or(0)
            .max(u64::from(frames));
        let delay = match self.latency.mic_drives(clock.id) {
            true => delay,
            false => delay.saturating_add(u64::from(frames)),
        };
        let own = delay.saturating_mul(1_000_000_000) / u64::from(rate);
        clock
            .nsec
            .saturating_sub(own)
            .saturating_sub(self.latency.nanoseconds(frames, rate))
    }

    /// The stream's process callback: the last step of ours before the clients.
    pub(crate) fn deliver(&mut self) {
        let block = self.block;
        // No sound is delivered twice. But the converter asks again within a cycle when it expected another quantum.
        self.block.source = Source::Missing;
        let again = !std::mem::take(&mut self.begun);
        let now = monotonic_ns();
        let (this, unplaced) = self.facts(&block, now);
        if !again && block.frames > 0 {
            self.check_layout(now);
            let mut books = Books {
                ledger: &*self.ledger,
                trace: &mut self.trace,
            };
            self.peers.scan(
                &this,
                self.last.as_ref().map(|(_, facts)| facts),
                &mut books,
            );
        }

        // SAFETY: our live stream, on its own data loop.
        let buffer = unsafe { pw_sys::pw_stream_dequeue_buffer(self.stream) };
        if buffer.is_null() {
            // All buffers are in use: clients get the last one again from the server, which is not ours to change.
            // It counts as a discontinuity.
            if !again {
                let facts = CycleFacts {
                    flagged: true,
                    ..this
                };
                self.last = Some((block.clock, facts));
            }
            return;
        }
        // What the converter asks for. It is not the graph's quantum while it resamples, and in the cycle in which the
        // quantum changed; then the mic's block does not fit. Of more than a quantum the rest would stay with the
        // converter, which then does not ask in the next cycles; for what is missing it asks at once.
        // SAFETY: dequeued above.
        let requested = unsafe { (*buffer).requested };
        let quantum = u64::from(block.frames);
        let (frames, source) = match requested {
            0 => (quantum, block.source),
            _ if requested == quantum => (quantum, block.source),
            _ if quantum == 0 => (requested, Source::Missing),
            _ => (requested.min(quantum), Source::Unhealthy),
        };

        // SAFETY: the buffer is ours until it is queued; each data is mapped for `maxsize` bytes (MAP_BUFFERS).
        let decision = unsafe { self.fill(buffer, frames, source, now) };
        // SAFETY: dequeued above, queued once.
        unsafe { pw_sys::pw_stream_queue_buffer(self.stream, buffer) };
        // What is known of a cycle was said at its first delivery; of none, nothing can be said.
        if again || quantum == 0 {
            return;
        }
        if !unplaced {
            self.report(&block, decision, now);
        }
        let live = matches!(decision.1, Decision::Live(_));
        let facts = CycleFacts { live, ..this };
        if let Some(told) = &mut self.told {
            let _ = told.push(facts);
        }
        self.last = Some((block.clock, facts));
    }

    fn check_layout(&mut self, now: u64) {
        if let (Verdict::Open, Some((own, check))) = (self.verdict, &mut self.own) {
            self.verdict = check.cycle(own.read(), now);
            if self.verdict != Verdict::Open {
                self.progress.wake();
            }
        }
    }

    /// # Safety
    /// `buffer` is a dequeued buffer of our stream.
    unsafe fn fill(
        &self,
        buffer: *mut pw_sys::pw_buffer,
        frames: u64,
        source: Source,
        now: u64,
    ) -> (u64, Decision) {
        let delivery = self.gate.begin(now, source);
        let epoch = delivery.epoch().get();
        let mut planes: [&mut [u8]; MAX_CHANNELS] = Default::default();
        let mut count = 0;
        // SAFETY: see above; n_datas data structs follow one another, each with its chunk. Planes do not overlap.
        unsafe {
            let spa_buffer = &*(*buffer).buffer;
            let datas =
                std::slice::from_raw_parts_mut(spa_buffer.datas, spa_buffer.n_datas as usize);
            for (data, plane) in datas.iter_mut().zip(&mut planes) {
                let bytes = (frames * 4).min(u64::from(data.maxsize)) as usize;
                if !data.data.is_null() {
                    *plane = std::slice::from_raw_parts_mut(data.data.cast::<u8>(), bytes);
                }
                let chunk = &mut *data.chunk;
                chunk.offset = 0;
                chunk.size = bytes as u32;
                chunk.stride = 4;
                chunk.flags = 0;
                count += 1;
            }
        }
        let planes = planes.get_mut(..count).unwrap_or(&mut []);
        let decision = delivery.fill_planes(planes, |index, plane| {
            let sound = self.sound.chunks_exact(PLANE).nth(index);
            match sound.and_then(|sound| sound.get(..plane.len())) {
                Some(sound) => plane.copy_from_slice(sound),
                None => plane.fill(0),
            }
        });
        if let Decision::Silent(_) = decision {
            // Behind us is the converter of our own node, whose volumes any client may set: 0 times infinity is no zero. But
            // it hands this flag on, and what mixes for a client's port then writes zeros of its own
            // (spa/plugins/audioconvert/audioconvert.c, spa/plugins/audiomixer/mixer-dsp.c; 0.3.65 and 1.4.2).
            // SAFETY: as above; the planes' borrow has ended.
            unsafe {
                let spa_buffer = &*(*buffer).buffer;
                for index in 0..spa_buffer.n_datas as usize {
                    (*(*spa_buffer.datas.add(index)).chunk).flags =
                        spa_sys::SPA_CHUNK_FLAG_EMPTY as i32;
                }
            }
        }
        (epoch, decision)
    }

    /// This cycle, before the gate has decided, and whether its place is unknown. The first cycle of another driver finds
    /// the place of the former's last one (measured with 0.3.65: the main thread has yet to give us the new clock): it is
    /// a cycle like others, in which clients pull.
    fn facts(&self, block: &Block, now: u64) -> (CycleFacts, bool) {
        let mut this = CycleFacts {
            started_ns: block.nsec,
            position: block.position,
            frames: block.frames,
            rate: block.rate,
            live: false,
            flagged: false,
        };
        let Some((clock, last)) = self.last else {
            return (this, false);
        };
        if clock != block.clock {
            // How mute releases the mic, and no discontinuity. But clients can run in the new driver's first cycle before we
            // do (seen with 64 of them on 1.4: one pull less, without any other sign); then our own come later than one
            // quantum after another.
            let period = u64::from(last.frames) * 1_000_000_000 / u64::from(last.rate.max(1));
            let gap = block.nsec.saturating_sub(last.started_ns);
            this.flagged = gap > period + SWITCH_JITTER_NS;
            return (this, false);
        }
        let next = last.position.wrapping_add(u64::from(last.frames));
        let unplaced = block.position == last.position;
        if unplaced {
            this.started_ns = now;
            this.position = next;
        }
        this.flagged = this.position != next;
        (this, unplaced)
    }

    /// Tells the main loop; wakes it only for what it may be waiting for.
    fn report(&mut self, block: &Block, (epoch, decision): (u64, Decision), now: u64) {
        let before = self.seen;
        let at = At {
            clock: block.clock,
            position: block.position,
        };
        let seen = &mut self.seen;
        seen.cycles = seen.cycles.wrapping_add(1);
        if seen.epoch != epoch || before.cycles == 0 {
            seen.epoch = epoch;
            seen.epoch_at = at;
            seen.live_at = None;
        }
        seen.silent = match decision {
            Decision::Live(_) => {
                seen.live_at.get_or_insert(at);
                None
            }
            Decision::Silent(reason) => Some(reason as u8),
        };
        seen.quantum = block.frames;
        seen.rate = block.rate;
        seen.at_ns = now;
        self.progress.publish(seen);
        let same = before.cycles != 0
            && before.epoch == seen.epoch
            && before.live_at == seen.live_at
            && before.silent == seen.silent
            && before.quantum == seen.quantum
            && before.rate == seen.rate;
        if !same {
            self.progress.wake();
        }
    }
}
