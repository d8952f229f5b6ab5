//! One cycle of the graph, on the real-time thread: ask the gate about the real mic's block (`block.rs`), write what every
//! client will read, count what the clients of the last cycle did. Nothing here allocates, locks, blocks, logs or panics (P6).

use std::{ffi::c_void, ptr, sync::Arc};

use pipewire::{spa::sys as spa_sys, sys as pw_sys};
use truemute_core::gate::{Decision, Gate, Source};

use super::{
    MAX_CHANNELS,
    block::{Block, Intake},
    latency::SharedLatency,
    place::Last,
    progress::{At, Progress, Seen},
    source::Delivery,
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
    intake: Intake,
    stream: *mut pw_sys::pw_stream,
    /// Whether the stream is up, so that it may be triggered.
    streaming: bool,
    block: Block,
    /// The filter's callback came since our last delivery: a new cycle.
    begun: bool,
    /// Our own record, until it has shown whether records can be counted from.
    own: Option<(ActivationRecord, LayoutCheck)>,
    verdict: Verdict,
    /// Somebody is linked who may not hear anything: nobody does until he is gone.
    withheld: bool,
    /// Takes the facts of each cycle while the main thread counts from the profiler.
    told: Option<rtrb::Producer<CycleFacts>>,
    /// None before the first cycle.
    last: Option<Last>,
    seen: Seen,
}

impl Delivery for Cycle {
    fn set_stream(&mut self, stream: *mut pw_sys::pw_stream) {
        self.stream = stream;
    }

    fn set_streaming(&mut self, streaming: bool) {
        self.streaming = streaming;
        if !streaming {
            let mut books = Books {
                ledger: &*self.ledger,
                trace: &mut self.trace,
            };
            let delivered = self.last.as_ref().map(|last| &last.facts);
            self.peers.pause(delivered, &mut books);
        }
    }

    /// The filter is given it in each cycle.
    fn set_position(&mut self, _position: *const spa_sys::spa_io_position) {}

    /// The stream's process callback: the last step of ours before the clients.
    fn deliver(&mut self) {
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
                self.last.as_ref().map(|last| &last.facts),
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
                self.last = Some(Last::new(&block, facts));
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
        self.last = Some(Last::new(&block, facts));
    }
}

impl Cycle {
    pub(crate) fn new(parts: CycleParts, channels: usize, latency: Arc<SharedLatency>) -> Self {
        Self {
            gate: parts.gate,
            progress: parts.progress,
            peers: PeerTable::new(),
            ledger: parts.ledger,
            trace: parts.trace,
            intake: Intake::new(channels, latency),
            stream: ptr::null_mut(),
            streaming: false,
            block: Block::NONE,
            begun: false,
            own: None,
            verdict: Verdict::Open,
            withheld: false,
            told: None,
            last: None,
            seen: Seen::default(),
        }
    }

    pub(crate) fn set_port(&mut self, index: usize, port: *mut c_void) {
        self.intake.set_port(index, port);
    }

    /// The stream, if it may be triggered. A library of 0.3 runs a triggered stream at once, in whatever state it is;
    /// while the main thread starts or stops it, that is a segmentation fault in the converter (measured: one of about
    /// 20 starts).
    pub(crate) fn triggerable(&self) -> Option<*mut pw_sys::pw_stream> {
        self.streaming.then_some(self.stream)
    }

    /// A client's node was linked. By the main loop's blocking invoke on this thread, like the two below.
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
            self.last.as_ref().map(|last| &last.facts),
            &mut books,
        )
    }

    /// A client's node stands still: counts its latest pull.
    pub(crate) fn settle_peer(&mut self, node_id: u32) {
        let mut books = Books {
            ledger: &*self.ledger,
            trace: &mut self.trace,
        };
        let delivered = self.last.as_ref().map(|last| &last.facts);
        self.peers.settle(node_id, delivered, &mut books);
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

    /// The mic with this node id is about to be linked, and its first `dropped` blocks can be of a time before it was (see
    /// [`VIRTUAL_SETTLES`](super::VIRTUAL_SETTLES)). By the main loop's blocking invoke on this thread.
    pub(crate) fn expect_mic(&mut self, node: u32, dropped: u32) {
        self.intake.expect_mic(node, dropped);
    }

    /// Silence for everybody from now on, whatever the gate says, until it is taken back. By the main loop's blocking invoke
    /// on this thread.
    pub(crate) fn withhold(&mut self, withheld: bool) {
        self.withheld = withheld;
        if withheld {
            // What was taken in this cycle and is not delivered yet.
            self.block.source = Source::Missing;
        }
    }

    /// Whether somebody else's sound is linked into the capture side: then nothing passes. By the main loop's blocking invoke
    /// on this thread.
    pub(crate) fn distrust(&mut self, mixed: bool) {
        self.intake.distrust(mixed);
    }

    /// Whether activation records can be counted from.
    pub(crate) fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// The filter's process callback: what the mic captured for this cycle.
    pub(crate) fn take_block(&mut self, position: Option<&spa_sys::spa_io_position>) {
        self.begun = true;
        // What is not heard is not even read: the time of a muted cycle tells nothing of the room (P4).
        let open = self.gate.state().1 && !self.withheld;
        self.block = position.map_or(Block::NONE, |position| self.intake.take(position, open));
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
            match self.intake.sound(index, plane.len()) {
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

    /// This cycle, before the gate has decided, and whether its place is unknown.
    fn facts(&self, block: &Block, now: u64) -> (CycleFacts, bool) {
        let shown = CycleFacts {
            started_ns: block.nsec,
            position: block.position,
            frames: block.frames,
            rate: block.rate,
            live: false,
            flagged: false,
        };
        match &self.last {
            Some(last) => last.followed_by(block, shown, now),
            None => (shown, false),
        }
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
