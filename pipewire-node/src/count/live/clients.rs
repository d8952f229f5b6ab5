//! Clients that know themselves how often they pulled, and what: a sample above zero is sound, one below is silence, as the
//! output of `output.rs` marks them, and zero is nothing of the output's.

use super::{NAME, mono_float};
use crate::monotonic::monotonic_ns;
use pipewire as pw;
use pw::buffer::Buffer;
use pw::core::CoreRc;
use pw::properties::properties;
use pw::spa::pod::Pod;
use pw::spa::utils::Direction;
use pw::stream::{StreamFlags, StreamListener, StreamRc};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use truemute_core::ledger::SlotSnapshot;

/// A capture stream that counts its own process callbacks.
pub(super) struct Capture {
    _listener: StreamListener<()>,
    stream: StreamRc,
    own: Arc<Own>,
}

/// Process callbacks by what they brought.
#[derive(Debug, Default)]
struct Own {
    live: AtomicU64,
    muted: AtomicU64,
    /// Nothing of ours before the first buffer of ours: no buffer, or one that the client's own converter made.
    unfed: AtomicU64,
    /// Nothing of ours later.
    holes: AtomicU64,
}

impl Own {
    fn note(&self, buffer: Option<Buffer<'_>>) {
        let sample = buffer.and_then(|mut buffer| {
            let bytes = buffer.datas_mut().first_mut()?.data()?;
            Some(f32::from_le_bytes(*bytes.first_chunk()?))
        });
        let count = match sample {
            Some(sample) if sample > 0.0 => &self.live,
            Some(sample) if sample < 0.0 => &self.muted,
            _ if self.fed() == 0 => &self.unfed,
            _ => &self.holes,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    fn fed(&self) -> u64 {
        self.live.load(Ordering::Relaxed) + self.muted.load(Ordering::Relaxed)
    }
}

impl Capture {
    pub(super) fn start(core: &CoreRc, number: usize) -> Self {
        let properties = properties! {
            "node.name" => format!("client-{number}"),
            "media.type" => "Audio",
            "media.category" => "Capture",
            "target.object" => NAME,
        };
        let stream = StreamRc::new(core.clone(), "client", properties).unwrap();
        let own = Arc::<Own>::default();
        let seen = own.clone();
        let listener = stream
            .add_local_listener::<()>()
            .process(move |stream, ()| seen.note(stream.dequeue_buffer()))
            .register()
            .unwrap();
        let flags = StreamFlags::AUTOCONNECT | StreamFlags::MAP_BUFFERS | StreamFlags::RT_PROCESS;
        let format = mono_float();
        stream
            .connect(
                Direction::Input,
                None,
                flags,
                &mut [Pod::from_bytes(&format).unwrap()],
            )
            .unwrap();
        Capture {
            _listener: listener,
            stream,
            own,
        }
    }

    pub(super) fn node_id(&self) -> u32 {
        self.stream.node_id()
    }

    /// Buffers of our output's that it got.
    pub(super) fn fed(&self) -> u64 {
        self.own.fed()
    }

    pub(super) fn end(self) -> Told {
        let asked_ns = monotonic_ns();
        self.stream.disconnect().unwrap();
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Told {
            live: of(&self.own.live),
            muted: of(&self.own.muted),
            unfed: of(&self.own.unfed),
            holes: of(&self.own.holes),
            asked_ns,
        }
    }
}

/// What a client says when it is gone.
#[derive(Debug)]
pub(super) struct Told {
    /// Callbacks with sound.
    live: u64,
    /// Callbacks with silence.
    muted: u64,
    /// Callbacks with nothing of ours, before the first with something.
    unfed: u64,
    /// Callbacks with nothing of ours, later.
    holes: u64,
    /// When it asked to be disconnected.
    asked_ns: u64,
}

impl Told {
    /// Buffers of our output's that it got.
    pub(super) fn fed(&self) -> u64 {
        self.live + self.muted
    }

    /// Whether `counted` is what this client did, in all, while live and while muted.
    ///
    /// Two edges are no error. A client can run before its link carries anything (1 or 2 cycles with 1.4.2), or before our
    /// output runs (up to 18 on a loaded machine): such a cycle is counted if the link is known. And a cycle that runs while
    /// the client disconnects is completed, though the client's callback is not called in it any more (seen in 1 of 100
    /// departures with 1.4.2). It is a pull: we delivered, and the client's node took it.
    pub(super) fn agrees(&self, counted: &SlotSnapshot) -> bool {
        let while_leaving = u64::from(
            counted
                .last_pull_ns
                .is_some_and(|last_ns| last_ns >= self.asked_ns),
        );
        let off = counted.xruns;
        let fits = |own: u64, counted: u64| {
            (own.saturating_sub(off)..=own + self.unfed + while_leaving + off).contains(&counted)
        };
        let (live, muted) = (counted.live.pulls, counted.muted.pulls);
        fits(self.live, live)
            && fits(self.muted, muted)
            && fits(self.fed(), live + muted)
            && self.holes <= off
    }
}
