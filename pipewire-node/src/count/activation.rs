//! One node's activation record: where PipeWire writes when the node was signalled, woke and finished its last cycle.
//! The server shares the record with every node that is linked to that node. Here it is only mapped and read; what the
//! times mean for a count is `table.rs`, whether the layout can be believed is `layout.rs`.
//!
//! The record is `struct pw_node_activation` of PipeWire's src/pipewire/private.h. It crosses processes of different
//! versions, so its head has kept its place from 0.3.48 to 1.6, but it is no documented interface.

use rustix::fs::fstat;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use std::os::fd::BorrowedFd;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

#[cfg(not(target_pointer_width = "64"))]
compile_error!(
    "activation records are read with 64-bit loads from read-only memory, which 32-bit targets do not have"
);

/// Size of the record in every version that this file was checked against: 0.3.65, 1.4.2 and 1.6.
///
/// A record of another size was changed by somebody; what its fields mean then is for a person to find out.
pub(crate) const RECORD_SIZE: usize = 2312;

const STATUS: usize = 0;
const SIGNAL: usize = 32;
const AWAKE: usize = 40;
const FINISH: usize = 48;
/// Behind the head: two `spa_io_segment` of 184 bytes, 128 bytes that changed their use, a `spa_io_position` of 1688,
/// the sync times and three loads.
const XRUNS: usize = 64 + 2 * 184 + 128 + 1688 + 16 + 12;

/// Why a record cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecordError {
    /// The record has another size than the one whose layout is known.
    #[error("the activation record has {0} bytes instead of {RECORD_SIZE}; its layout is unknown")]
    Size(u32),
    /// The record does not start at a multiple of 8, or ends behind its memory.
    #[error(
        "the activation record lies at {offset} in a memory of {memory} bytes, where it does not fit"
    )]
    Place {
        /// Where the server says that it starts.
        offset: u32,
        /// Size of the shared memory.
        memory: i64,
    },
    /// The server named a memory that it never shared.
    #[error("the activation record is in memory {0}, which the server did not share")]
    NoMemory(u32),
    /// The kernel refused.
    #[error("the activation record cannot be mapped: {0}")]
    Kernel(#[from] rustix::io::Errno),
}

impl RecordError {
    /// Whether more than this record is lost. libpipewire numbers the memories of a connection by itself and refuses one to which the
    /// server gives another number (`core_event_add_mem` in src/pipewire/core.c). Then every later one is refused, those of our own
    /// ports too, and only the server is told. Seen with 256 clients on 0.3.65, with pw-loopback in our place too.
    pub(crate) fn is_of_connection(&self) -> bool {
        matches!(self, Self::NoMemory(_))
    }
}

/// One look at a record. Times are nanoseconds of the monotonic clock; 0 before the first cycle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reading {
    /// 0 waiting, 1 triggered, 2 awake, 3 finished, 4 inactive (since 1.2).
    pub(crate) status: u32,
    /// When the node was last told to run.
    pub(crate) signal_ns: u64,
    /// When it last began to.
    pub(crate) awake_ns: u64,
    /// When it last completed a cycle.
    pub(crate) finish_ns: u64,
    /// Cycles that it missed or began late, as far as server and client tell.
    pub(crate) xruns: u32,
}

impl Reading {
    /// Whether the node was told to run and has not completed that cycle.
    pub(crate) fn in_flight(&self) -> bool {
        self.signal_ns > self.finish_ns
    }
}

/// A read-only view of one record. Clones share the mapping; the last one to go unmaps it, which is a system call: keep
/// one on the main thread for as long as the real-time thread has one.
#[derive(Clone, Debug)]
pub(crate) struct ActivationRecord {
    /// Where the record starts. Here, and not behind the mapping's own pointer: that would be one more wait for memory, for
    /// each client in each cycle.
    at: NonNull<u8>,
    _mapping: Arc<Mapping>,
}

// SAFETY: the record is only ever read, by atomic loads.
unsafe impl Send for ActivationRecord {}
// SAFETY: as above.
unsafe impl Sync for ActivationRecord {}

#[derive(Debug)]
struct Mapping {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: only the last owner does anything with the address: unmap it.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl ActivationRecord {
    /// Maps the record that starts at `offset` of the shared memory `memory`. Any thread but the real-time one.
    ///
    /// The file descriptor may be closed afterwards. The mapping is our own and not one of libpipewire's pool: the pool
    /// unmaps a memory when the server takes it back, no matter who still reads it.
    pub(crate) fn map(memory: BorrowedFd<'_>, offset: u32, size: u32) -> Result<Self, RecordError> {
        if size as usize != RECORD_SIZE {
            return Err(RecordError::Size(size));
        }
        let memory_size = fstat(memory)?.st_size;
        let end = u64::from(offset) + u64::from(size);
        if !offset.is_multiple_of(8) || u64::try_from(memory_size).unwrap_or(0) < end {
            return Err(RecordError::Place {
                offset,
                memory: memory_size,
            });
        }
        let page = rustix::param::page_size();
        let start = offset as usize % page;
        let len = start + RECORD_SIZE;
        // SAFETY: a new shared mapping at an address of the kernel's choice touches no memory of ours.
        let base = unsafe {
            mmap(
                ptr::null_mut(),
                len,
                ProtFlags::READ,
                MapFlags::SHARED,
                memory,
                (offset as usize - start) as u64,
            )?
        };
        let base = NonNull::new(base.cast()).ok_or(rustix::io::Errno::NOMEM)?;
        Ok(ActivationRecord {
            // SAFETY: `start` is less than `len`, which is mapped.
            at: unsafe { base.add(start) },
            _mapping: Arc::new(Mapping { base, len }),
        })
    }

    /// Reads the record. Any thread; never blocks.
    ///
    /// The owner may write meanwhile, so the fields can stem from two cycles. They are read in the order in which the
    /// owner writes them: a finish that is older than the signal really was so at the time of the look.
    pub(crate) fn read(&self) -> Reading {
        let status = self.load_u32(STATUS);
        let signal_ns = self.load_u64(SIGNAL);
        fence(Ordering::Acquire);
        let awake_ns = self.load_u64(AWAKE);
        fence(Ordering::Acquire);
        let finish_ns = self.load_u64(FINISH);
        Reading {
            status,
            signal_ns,
            awake_ns,
            finish_ns,
            xruns: self.load_u32(XRUNS),
        }
    }

    // Relaxed is the one ordering whose loads std allows on read-only memory.
    fn load_u32(&self, at: usize) -> u32 {
        // SAFETY: `map` checked that the record is mapped whole and 8-aligned; `at` is one of the offsets above, a
        // multiple of 4 below RECORD_SIZE. Other processes may write at any time, hence an atomic load.
        unsafe { self.at.add(at).cast::<AtomicU32>().as_ref() }.load(Ordering::Relaxed)
    }

    fn load_u64(&self, at: usize) -> u64 {
        // SAFETY: as for `load_u32`, with `at` a multiple of 8.
        unsafe { self.at.add(at).cast::<AtomicU64>().as_ref() }.load(Ordering::Relaxed)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: `map` made this mapping with this length and nobody else has the address any more.
        // It fails only for arguments that are no mapping.
        let _ = unsafe { munmap(self.base.as_ptr().cast(), self.len) };
    }
}

/// A record that a test writes, as a node would.
#[cfg(test)]
pub(crate) mod simulated {
    use super::*;
    use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
    use rustix::io::pwrite;
    use std::os::fd::{AsFd, OwnedFd};

    pub(crate) struct SimulatedRecord {
        memory: OwnedFd,
        pub(crate) now: Reading,
    }

    impl SimulatedRecord {
        pub(crate) fn new() -> Self {
            let memory = memfd_create("record", MemfdFlags::CLOEXEC).unwrap();
            ftruncate(&memory, RECORD_SIZE as u64).unwrap();
            SimulatedRecord {
                memory,
                now: Reading::default(),
            }
        }

        pub(crate) fn record(&self) -> ActivationRecord {
            ActivationRecord::map(self.memory.as_fd(), 0, RECORD_SIZE as u32).unwrap()
        }

        pub(crate) fn memory(&self) -> BorrowedFd<'_> {
            self.memory.as_fd()
        }

        pub(crate) fn put(&self, at: usize, bytes: &[u8]) {
            assert_eq!(pwrite(&self.memory, bytes, at as u64).unwrap(), bytes.len());
        }

        /// Writes `now` into the record.
        pub(crate) fn store(&self) {
            self.put(0, &self.now.status.to_ne_bytes());
            self.put(32, &self.now.signal_ns.to_ne_bytes());
            self.put(40, &self.now.awake_ns.to_ne_bytes());
            self.put(48, &self.now.finish_ns.to_ne_bytes());
            self.put(2276, &self.now.xruns.to_ne_bytes());
        }

        pub(crate) fn signalled(&mut self, at_ns: u64) {
            self.now = Reading {
                status: 1,
                signal_ns: at_ns,
                ..self.now
            };
            self.store();
        }

        pub(crate) fn finished(&mut self, at_ns: u64) {
            self.now = Reading {
                status: 3,
                awake_ns: self.now.signal_ns + 1,
                finish_ns: at_ns,
                ..self.now
            };
            self.store();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::simulated::SimulatedRecord;
    use super::*;
    use pipewire::spa::sys as spa_sys;

    #[test]
    fn the_offset_of_the_xruns_follows_from_the_sizes_in_the_spa_headers() {
        let segments = 2 * size_of::<spa_sys::spa_io_segment>();
        assert_eq!(
            XRUNS,
            64 + segments + 128 + size_of::<spa_sys::spa_io_position>() + 16 + 12
        );
        // Three times, a command and an owner follow the count; the first time is 8-aligned right behind it.
        assert_eq!(RECORD_SIZE, XRUNS + 4 + 3 * 8 + 2 * 4);
    }

    #[test]
    fn reads_each_field_from_its_place() {
        let mut simulated = SimulatedRecord::new();
        simulated.now = Reading {
            status: 2,
            signal_ns: 11 << 40,
            awake_ns: 12 << 40,
            finish_ns: 13 << 40,
            xruns: 7,
        };
        simulated.store();
        assert_eq!(simulated.record().read(), simulated.now);
    }

    #[test]
    fn sees_what_the_owner_writes_later() {
        let mut simulated = SimulatedRecord::new();
        let record = simulated.record();
        assert_eq!(record.read(), Reading::default());
        simulated.signalled(5);
        simulated.finished(9);
        assert_eq!((record.read().signal_ns, record.read().finish_ns), (5, 9));
    }

    #[test]
    fn outlives_the_descriptor_and_its_first_view() {
        let mut simulated = SimulatedRecord::new();
        simulated.finished(9);
        let (first, second) = (simulated.record(), simulated.record());
        drop(simulated);
        drop(first);
        assert_eq!(second.clone().read().finish_ns, 9);
    }

    #[test]
    fn starts_anywhere_that_is_aligned() {
        let simulated = SimulatedRecord::new();
        simulated.put(8192 + 64 + RECORD_SIZE - 1, &[0]);
        simulated.put(8192 + 64 + 48, &77u64.to_ne_bytes());
        let record =
            ActivationRecord::map(simulated.memory(), 8192 + 64, RECORD_SIZE as u32).unwrap();
        assert_eq!(record.read().finish_ns, 77);
    }

    #[test]
    fn refuses_what_does_not_fit() {
        let simulated = SimulatedRecord::new();
        let map = |offset, size| ActivationRecord::map(simulated.memory(), offset, size);
        assert!(matches!(map(0, 2304), Err(RecordError::Size(2304))));
        assert!(matches!(map(0, 0), Err(RecordError::Size(0))));
        assert!(matches!(map(0, u32::MAX), Err(RecordError::Size(_))));
        assert!(matches!(
            map(8, 2312),
            Err(RecordError::Place { offset: 8, .. })
        ));
        assert!(matches!(map(4, 2312), Err(RecordError::Place { .. })));
        assert!(matches!(
            map(u32::MAX - 7, 2312),
            Err(RecordError::Place { .. })
        ));
    }
}
