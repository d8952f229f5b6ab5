//! A peer that keeps to no rule: bytes on the plug-in's socket, and the ring's memory in its hands.

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use std::io::{ErrorKind, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use truemute_bridge::message::{FromAgent, FromPlugin, Request, VERSION, decode, encode};
use truemute_bridge::place::paths;

pub(crate) struct Raw(pub(crate) UnixStream);

/// A message as it goes over the socket.
pub(crate) fn framed(message: &FromAgent) -> Vec<u8> {
    let bytes = encode(message, 1000).unwrap();
    let mut framed = (bytes.len() as u32).to_le_bytes().to_vec();
    framed.extend(bytes);
    framed
}

pub(crate) fn request(request: Request) -> Vec<u8> {
    framed(&FromAgent::Request { id: 1, request })
}

impl Raw {
    pub(crate) fn connect(folder: &Path) -> Self {
        let socket = UnixStream::connect(paths(folder).next().unwrap()).unwrap();
        // No test waits for longer than a plug-in may take to get rid of it.
        socket
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        Self(socket)
    }

    /// Says hello, and gets the ring.
    pub(crate) fn producer(folder: &Path) -> (Self, OwnedFd) {
        let mut raw = Self::connect(folder);
        raw.send(&framed(&FromAgent::Hello { version: VERSION }));
        let mut bytes = [0; 256];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let pieces = &mut [IoSliceMut::new(&mut bytes)];
        let came = recvmsg(&raw.0, pieces, &mut control, RecvFlags::empty())
            .unwrap()
            .bytes;
        assert!(matches!(
            decode(&bytes[4..came]),
            Ok(FromPlugin::Welcome(_))
        ));
        let memory = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
            _ => None,
        });
        (raw, memory.expect("the ring"))
    }

    /// Sends as much as the plug-in takes.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        // It may have hung up by now.
        let _ = self.0.write_all(bytes);
    }

    /// The next message; nothing once the plug-in has hung up.
    pub(crate) fn message(&mut self) -> Option<FromPlugin> {
        let mut length = [0; 4];
        self.fill(&mut length)?;
        let mut bytes = vec![0; u32::from_le_bytes(length) as usize];
        self.fill(&mut bytes)?;
        Some(decode(&bytes).unwrap())
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Option<()> {
        match self.0.read_exact(bytes) {
            Ok(()) => Some(()),
            Err(error) => {
                let waited = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
                assert!(!waited, "the plug-in does not hang up");
                None
            }
        }
    }

    /// The last message before the plug-in hangs up.
    pub(crate) fn last_message(&mut self) -> Option<FromPlugin> {
        std::iter::from_fn(|| self.message()).last()
    }
}

/// The ring's memory as plain words.
pub(crate) fn with_words<R>(memory: &OwnedFd, scribble: impl FnOnce(&[AtomicU64]) -> R) -> R {
    let bytes = rustix::fs::fstat(memory).unwrap().st_size as usize;
    let access = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new mapping, of the size that the memory has and keeps.
    let at = unsafe { mmap(null_mut(), bytes, access, MapFlags::SHARED, memory, 0) }.unwrap();
    // SAFETY: mapped until the end of this function, and any bytes are atomics.
    let words = unsafe { std::slice::from_raw_parts(at.cast::<AtomicU64>(), bytes / 8) };
    let result = scribble(words);
    // SAFETY: mapped above, and nobody has a reference any more.
    unsafe { munmap(at, bytes) }.unwrap();
    result
}

/// A generator of numbers that look random.
pub(crate) fn random(seed: &mut u64) -> u64 {
    *seed = seed
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    *seed ^ *seed >> 29
}

/// Writes anything over all of the words.
pub(crate) fn scribble(words: &[AtomicU64], seed: &mut u64) {
    for word in words {
        word.store(random(seed), Ordering::Relaxed);
    }
}
