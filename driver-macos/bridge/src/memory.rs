//! The ring's memory: made by the plug-in, of a size that nobody can change any more (a peer that could shrink it would kill
//! whoever reads: SIGBUS), and mapped by both. All of the crate's `unsafe` for it is here. What stands in it is
//! `truemute_core::shared_ring`.

use crate::Frame;
use rustix::fs::ftruncate;
use rustix::io::{self, Errno};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use std::ffi::c_void;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::{NonNull, null_mut};
use std::sync::{PoisonError, RwLock};
use truemute_core::shared_ring::{RingWriter, SharedRing};

const BYTES: usize = size_of::<SharedRing>();

/// A mapped ring.
#[derive(Debug)]
pub struct Mapping {
    ring: NonNull<SharedRing>,
}

// SAFETY: the ring is all atomics, and the mapping belongs to the process, not to a thread.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps the ring, if the memory is large enough and stays so.
    fn new(memory: BorrowedFd<'_>, access: ProtFlags) -> io::Result<Self> {
        let size = rustix::fs::fstat(memory)?.st_size;
        if size < BYTES as i64 || !system::keeps_its_size(memory)? {
            return Err(Errno::INVAL);
        }
        // SAFETY: a new mapping, at a place that the system chooses.
        let at = unsafe { mmap(null_mut(), BYTES, access, MapFlags::SHARED, memory, 0)? };
        let ring = NonNull::new(at.cast()).ok_or(Errno::NOMEM)?;
        Ok(Self { ring })
    }

    /// The ring.
    pub fn ring(&self) -> &SharedRing {
        // SAFETY: mapped until drop, at the start of a page and so aligned, as large as a ring, and never smaller (see `new`).
        // Any bytes are a ring, and other processes change them only as atomics are changed, by whole words or bytes of
        // them. A mapping that is read-only is only given out in `Incoming`, whose readers do nothing but relaxed loads.
        unsafe { self.ring.as_ref() }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped by `new` with this size, and nobody can have a reference any more.
        // Failing would leak the memory, and nothing can be done about it here.
        let _ = unsafe { munmap(self.ring.as_ptr().cast::<c_void>(), BYTES) };
    }
}

/// The agent's side: the ring, mapped for writing. Send it to the thread that captures.
#[derive(Debug)]
pub struct Outgoing {
    mapping: Mapping,
    writer: RingWriter,
}

impl Outgoing {
    /// Maps what the plug-in sent.
    ///
    /// # Errors
    /// It is not the plug-in's memory: too small, or of a size that can change.
    pub(crate) fn map(memory: BorrowedFd<'_>) -> io::Result<Self> {
        let mapping = Mapping::new(memory, ProtFlags::READ | ProtFlags::WRITE)?;
        Ok(Self {
            mapping,
            writer: RingWriter::new(),
        })
    }

    /// Begins a run of frames at a sample time; what was written before is no longer delivered. All its frames were captured
    /// in the epoch with this number ([`crate::message::Opened::epoch`]), the first one at `began_ns` of the host's clock, with the
    /// device's latency subtracted. Real-time safe.
    pub fn begin(&mut self, epoch: u64, sample: u64, began_ns: u64) {
        self.writer
            .begin(self.mapping.ring(), epoch, sample, began_ns);
    }

    /// Writes the run's next frames. Real-time safe.
    pub fn write(&mut self, frames: &[Frame]) {
        let word =
            |&[left, right]: &Frame| u64::from(left.to_bits()) | u64::from(right.to_bits()) << 32;
        self.writer
            .write(self.mapping.ring(), frames.iter().map(word));
    }
}

/// The plug-in's side: the ring of the present producer, if there is one. Audio threads read it, the bridge's thread changes
/// it.
#[derive(Debug, Default)]
pub struct Incoming {
    /// Nobody waits for it on an audio thread: [`Incoming::with`] only tries.
    ring: RwLock<Option<Mapping>>,
}

impl Incoming {
    /// No producer.
    pub const fn new() -> Self {
        Self {
            ring: RwLock::new(None),
        }
    }

    /// Calls `read` with the producer's ring; with none, if there is no producer or it is just changing. Real-time safe if
    /// `read` is: it never waits. From any number of threads at once.
    pub fn with<R>(&self, read: impl FnOnce(Option<&SharedRing>) -> R) -> R {
        match self.ring.try_read() {
            Ok(mapping) => read(mapping.as_ref().map(Mapping::ring)),
            Err(_) => read(None),
        }
    }

    /// Makes an empty ring for a new producer, and gives out the descriptor that it gets. The former producer's is gone.
    pub(crate) fn renew(&self) -> io::Result<OwnedFd> {
        let memory = system::make()?;
        let mapping = Mapping::new(memory.as_fd(), ProtFlags::READ)?;
        self.put(Some(mapping));
        Ok(memory)
    }

    /// No producer any more: when this returns, nobody reads its ring.
    pub(crate) fn clear(&self) {
        self.put(None);
    }

    fn put(&self, mapping: Option<Mapping>) {
        // Waits for audio threads in the middle of a copy. Dropped outside of the lock, as that takes the system some time.
        let mut ring = self.ring.write().unwrap_or_else(PoisonError::into_inner);
        let former = std::mem::replace(&mut *ring, mapping);
        drop(ring);
        drop(former);
        self.ring.clear_poison();
    }
}

#[cfg(not(target_vendor = "apple"))]
mod system {
    use super::{AsFd, BYTES, BorrowedFd, OwnedFd, ftruncate, io};
    use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, memfd_create};

    const SEALS: SealFlags = SealFlags::SHRINK
        .union(SealFlags::GROW)
        .union(SealFlags::SEAL);

    pub(super) fn make() -> io::Result<OwnedFd> {
        let memory = memfd_create("truemute", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        ftruncate(&memory, BYTES as u64)?;
        fcntl_add_seals(&memory, SEALS)?;
        Ok(memory)
    }

    pub(super) fn keeps_its_size(memory: BorrowedFd<'_>) -> io::Result<bool> {
        Ok(fcntl_get_seals(memory.as_fd())?.contains(SEALS))
    }
}

#[cfg(target_vendor = "apple")]
mod system {
    use super::{BYTES, BorrowedFd, Errno, OwnedFd, ftruncate, io};
    use rustix::shm::{self, Mode, OFlags};

    /// XNU sizes such an object once and refuses every later change with EINVAL (`pshm_truncate` in `bsd/kern/posix_shm.c`).
    pub(super) fn make() -> io::Result<OwnedFd> {
        for _ in 0..8 {
            let name = format!("/truemute.{:016x}", random());
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR;
            match shm::open(&*name, flags, Mode::RUSR | Mode::WUSR) {
                Ok(memory) => {
                    shm::unlink(&*name)?;
                    ftruncate(&memory, BYTES as u64)?;
                    return Ok(memory);
                }
                Err(Errno::EXIST) => {}
                Err(error) => return Err(error),
            }
        }
        Err(Errno::EXIST)
    }

    fn random() -> u64 {
        use std::hash::{BuildHasher, RandomState};
        // Keyed by the system's random numbers, once for each thread and one more each time.
        RandomState::new().hash_one(0)
    }

    /// The system sees to it, for every object that has a size.
    pub(super) fn keeps_its_size(_: BorrowedFd<'_>) -> io::Result<bool> {
        Ok(true)
    }
}
