//! One cycle of the silent source, on the real-time thread: write zero bytes, count what its clients did in the last one.
//! Nothing here allocates, locks, blocks, logs or panics (P6).

use std::{ptr, sync::Arc};

use pipewire::{spa::sys as spa_sys, sys as pw_sys};

use crate::{
    count::{
        Clients,
        books::{Books, CycleFacts, TraceSender},
        table::{Peer, PeerTable, TableFull},
    },
    monotonic::monotonic_ns,
    sample::{Block, Delivery, Last},
};

/// State of the real-time thread.
pub(crate) struct SilentCycle {
    peers: PeerTable,
    ledger: Arc<Clients>,
    trace: TraceSender,
    stream: *mut pw_sys::pw_stream,
    position: *const spa_sys::spa_io_position,
    /// The latest cycle, and when its callback came. None before the first.
    last: Option<(Last, u64)>,
}

impl SilentCycle {
    pub(super) fn new(ledger: Arc<Clients>, trace: TraceSender) -> Self {
        Self {
            peers: PeerTable::new(),
            ledger,
            trace,
            stream: ptr::null_mut(),
            position: ptr::null(),
            last: None,
        }
    }

    /// A client's node was linked. By the main loop's blocking invoke on this thread, like the two below.
    pub(crate) fn add_peer(&mut self, peer: Peer) -> Result<(), TableFull> {
        self.peers.add(peer)
    }

    /// A client's node was unlinked: looks at it a last time.
    pub(crate) fn remove_peer(&mut self, node_id: u32) -> Option<Peer> {
        let delivered = self.last.as_ref().map(|(last, _)| &last.facts);
        let mut books = Books {
            ledger: &*self.ledger,
            trace: &mut self.trace,
        };
        self.peers.remove(node_id, delivered, &mut books)
    }

    /// A client's node stands still: counts its latest pull.
    pub(crate) fn settle_peer(&mut self, node_id: u32) {
        let delivered = self.last.as_ref().map(|(last, _)| &last.facts);
        let mut books = Books {
            ledger: &*self.ledger,
            trace: &mut self.trace,
        };
        self.peers.settle(node_id, delivered, &mut books);
    }

    /// Counts the pulls of the last cycle, and takes this one for the last. Once a cycle: the converter can ask for more
    /// than one buffer in one, and then the driver still shows the same place less than half a cycle later.
    fn count(&mut self, block: &Block, now: u64) {
        let period = u64::from(block.frames) * 1_000_000_000 / u64::from(block.rate.max(1));
        if let Some((last, began_ns)) = &self.last
            && last.is_at(block)
            && now < began_ns.saturating_add(period / 2)
        {
            return;
        }
        let shown = CycleFacts {
            started_ns: block.nsec,
            position: block.position,
            frames: block.frames,
            rate: block.rate,
            live: false,
            flagged: false,
        };
        let this = match &self.last {
            Some((last, _)) => last.followed_by(block, shown, now).0,
            None => shown,
        };
        let delivered = self.last.as_ref().map(|(last, _)| &last.facts);
        let mut books = Books {
            ledger: &*self.ledger,
            trace: &mut self.trace,
        };
        self.peers.scan(&this, delivered, &mut books);
        self.last = Some((Last::new(block, this), now));
    }
}

impl Delivery for SilentCycle {
    fn set_stream(&mut self, stream: *mut pw_sys::pw_stream) {
        self.stream = stream;
    }

    fn set_streaming(&mut self, streaming: bool) {
        if !streaming {
            let delivered = self.last.as_ref().map(|(last, _)| &last.facts);
            let mut books = Books {
                ledger: &*self.ledger,
                trace: &mut self.trace,
            };
            self.peers.pause(delivered, &mut books);
        }
    }

    fn set_position(&mut self, position: *const spa_sys::spa_io_position) {
        self.position = position;
    }

    fn deliver(&mut self) {
        // SAFETY: null, or an area of the server's that stays mapped until another one is set on this thread.
        let block = unsafe { self.position.as_ref() }.map_or(Block::NONE, Block::at);
        if block.frames > 0 {
            self.count(&block, monotonic_ns());
        }
        // SAFETY: our live stream, on its own data loop.
        let buffer = unsafe { pw_sys::pw_stream_dequeue_buffer(self.stream) };
        if buffer.is_null() {
            return;
        }
        // SAFETY: the buffer is ours until it is queued; each data is mapped for `maxsize` bytes (MAP_BUFFERS), and has its chunk.
        unsafe {
            let frames = match (*buffer).requested {
                0 => u64::from(block.frames),
                requested => requested,
            };
            write_zeros(&*(*buffer).buffer, frames);
            pw_sys::pw_stream_queue_buffer(self.stream, buffer);
        }
    }
}

/// Fills every data with `frames` zero samples, or as many as it holds.
///
/// # Safety
/// Each data is null or writable for `maxsize` bytes, has its chunk, and nobody else has them now.
unsafe fn write_zeros(buffer: &spa_sys::spa_buffer, frames: u64) {
    for index in 0..buffer.n_datas as usize {
        // SAFETY: there are `n_datas`, and the caller answers for each.
        unsafe {
            let data = &*buffer.datas.add(index);
            let bytes = (frames * size_of::<f32>() as u64).min(u64::from(data.maxsize));
            if !data.data.is_null() {
                ptr::write_bytes(data.data.cast::<u8>(), 0, bytes as usize);
            }
            let chunk = &mut *data.chunk;
            chunk.offset = 0;
            chunk.size = bytes as u32;
            chunk.stride = size_of::<f32>() as i32;
            // Why it is marked as empty: see `sample/cycle.rs`.
            chunk.flags = spa_sys::SPA_CHUNK_FLAG_EMPTY as i32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::count::books::trace_queue;
    use assert_no_alloc::assert_no_alloc;

    #[test]
    fn zeros_are_written_and_cycles_counted_without_allocating() {
        let mut samples = [1.0f32; 64];
        // SAFETY: plain C structures, for which zero bytes are a value.
        let (mut chunk, mut data, mut buffer): (
            spa_sys::spa_chunk,
            spa_sys::spa_data,
            spa_sys::spa_buffer,
        ) = unsafe { std::mem::zeroed() };
        data.data = samples.as_mut_ptr().cast();
        data.maxsize = size_of_val(&samples) as u32;
        data.chunk = &raw mut chunk;
        buffer.n_datas = 1;
        buffer.datas = &raw mut data;
        let mut cycle = SilentCycle::new(Arc::new(Clients::new(1)), trace_queue(8).0);
        assert_no_alloc(|| {
            for n in 1..4 {
                let mut block = Block::NONE;
                (block.clock, block.position, block.nsec) = (1, n * 48, n * 1_000_000);
                (block.frames, block.rate) = (48, 48_000);
                cycle.count(&block, n * 1_000_000);
            }
            // SAFETY: made above.
            unsafe { write_zeros(&buffer, 48) };
        });
        assert!(cycle.last.is_some());
        let bits = samples.map(f32::to_bits);
        assert!(bits[..48].iter().all(|it| *it == 0) && samples[48..] == [1.0; 16]);
        assert_eq!((chunk.size, chunk.stride), (192, 4));
        assert_eq!(chunk.flags, spa_sys::SPA_CHUNK_FLAG_EMPTY as i32);
        // SAFETY: made above.
        unsafe { write_zeros(&buffer, 1 << 40) };
        assert!(samples.iter().all(|it| it.to_bits() == 0) && chunk.size == 256);
    }
}
