//! The silent source of the daemon's own: where the streams of apps go that are muted on their own. It has no capture side
//! and no gate; nothing that it could let through is in its reach. Its clients are counted like those of the virtual mic.
//! Which streams go there, and when, is decided in [`crate::engine`].

mod cycle;

use std::sync::Arc;

use pipewire::core::Core;

pub(crate) use self::cycle::SilentCycle;
use crate::{
    count::{
        Clients,
        books::TraceSender,
        peers_feed::{PeerChange, PeerFeed},
    },
    sample::{Appearance, Channel, Source, SourceEvents},
};

/// `node.name` of the silent source. The session manager finds it by this name, also after the daemon's restart.
pub(crate) const NODE_NAME: &str = "truemute.aside";

/// The node and the state of its real-time callback.
pub(crate) struct SilentSource {
    // Before the stream whose node it listens to.
    _feed: PeerFeed,
    source: Source<SilentCycle>,
    // Last: fields drop in this order, and the node ends its callbacks before the cycle goes.
    cycle: CycleOwner,
}

impl SilentSource {
    /// Makes and connects the node. `on_peer` hears who is linked to it. Main-loop thread.
    pub(crate) fn connect(
        core: &Core,
        ledger: Arc<Clients>,
        trace: TraceSender,
        events: Box<dyn SourceEvents>,
        on_peer: impl FnMut(PeerChange) + 'static,
    ) -> Result<Self, String> {
        let cycle = Box::new(SilentCycle::new(ledger, trace));
        let cycle = CycleOwner(Box::into_raw(cycle));
        let appearance = Appearance {
            name: NODE_NAME,
            description: "TrueMute (muted apps)",
            // Below every other source: nobody shall get it who was not moved here.
            priority: "0",
            group: None,
            channels: &Channel::standard(1),
        };
        let source = Source::create(core.as_raw_ptr(), &appearance, cycle.0, events)?;
        let feed = PeerFeed::attach(core, || source.connect(&appearance), on_peer)
            .map_err(|error| error.to_string())?;
        Ok(Self {
            _feed: feed,
            source,
            cycle,
        })
    }

    /// The node's global id, once the server has told it.
    pub(crate) fn node_id(&self) -> Option<u32> {
        self.source.node_id()
    }

    /// Whether the node delivers, as far as it knows.
    pub(crate) fn is_streaming(&self) -> bool {
        self.source.is_streaming()
    }

    /// The real-time state. Only to be touched on the data loop's thread, or by a blocking invoke on it.
    pub(crate) fn cycle(&self) -> *mut SilentCycle {
        self.cycle.0
    }
}

/// Frees the real-time state when it goes, as the last field of [`SilentSource`].
struct CycleOwner(*mut SilentCycle);

impl Drop for CycleOwner {
    fn drop(&mut self) {
        // SAFETY: made by Box::into_raw in `connect`; the node whose callbacks used it is destroyed.
        drop(unsafe { Box::from_raw(self.0) });
    }
}
