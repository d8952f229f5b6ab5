//! The way of a sample: real mic -> [`capture`] filter -> [`cycle`] (where the gate writes) -> [`source`] stream -> clients,
//! all within one cycle of the graph. Which mic is linked, and when, is decided in [`crate::engine`].

mod block;
mod capture;
mod cycle;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod latency;
mod place;
mod progress;
mod source;

use std::sync::Arc;

use pipewire::{core::Core, spa::sys as spa_sys};

#[cfg(test)]
pub(crate) use self::progress::At;
pub(crate) use self::{
    block::{Block, VIRTUAL_SETTLES},
    cycle::{Cycle, CycleParts},
    place::Last,
    progress::{Progress, Seen},
    source::{Appearance, Delivery, NODE_NAME, Source, SourceEvents},
};
use self::{capture::Capture, latency::SharedLatency, source::PRIORITY_SESSION};
use crate::count::peers_feed::{PeerChange, PeerFeed};

/// The data loop that both nodes run on (since 1.2 a context may have several): their callbacks share the [`Cycle`], so
/// they must share the thread. The name of the only one that a context has unless it is configured otherwise, which the
/// engine refuses.
const DATA_LOOP: &str = "data-loop.0";

/// Channels that the virtual mic can have at most.
pub(crate) const MAX_CHANNELS: usize = 8;

/// Both nodes of the virtual mic and the state that their real-time callbacks share.
pub(crate) struct SamplePath {
    // Before the stream whose node it listens to.
    _feed: PeerFeed,
    // Before the source, which it tells the mic's latency.
    capture: Capture,
    source: Source<Cycle>,
    channels: Vec<Channel>,
    // Last: fields drop in this order, and the nodes end their callbacks before the cycle goes.
    cycle: CycleOwner,
}

impl SamplePath {
    /// Makes and connects both nodes. `on_peer` hears who is linked to the virtual mic, `on_state` is called when a node may
    /// have begun or ceased to run. Main-loop thread.
    pub(crate) fn connect(
        core: &Core,
        channels: Vec<Channel>,
        parts: CycleParts,
        events: Box<dyn SourceEvents>,
        on_peer: impl FnMut(PeerChange) + 'static,
        on_state: impl Fn() + 'static,
    ) -> Result<Self, String> {
        let group = format!("truemute-{}", std::process::id());
        let latency = Arc::new(SharedLatency::default());
        let owner = CycleOwner(Box::into_raw(Box::new(Cycle::new(
            parts,
            channels.len(),
            latency.clone(),
        ))));
        let cycle = owner.0;
        // The source first, so that it is there when the capture side triggers it.
        let appearance = Appearance {
            name: NODE_NAME,
            description: "TrueMute Microphone",
            priority: PRIORITY_SESSION,
            group: Some(&group),
            channels: &channels,
        };
        let source = Source::create(core.as_raw_ptr(), &appearance, cycle, events)?;
        let feed = PeerFeed::attach(core, || source.connect(&appearance), on_peer)
            .map_err(|e| e.to_string())?;
        let capture = Capture::connect(
            core.as_raw_ptr(),
            &channels,
            &group,
            cycle,
            latency,
            &source,
            on_state,
        )?;
        Ok(Self {
            _feed: feed,
            capture,
            source,
            channels,
            cycle: owner,
        })
    }

    /// The capture filter's global id, once the server has told it.
    pub(crate) fn capture_node(&self) -> Option<u32> {
        self.capture.node_id()
    }

    /// The virtual mic's global id, once the server has told it.
    pub(crate) fn source_node(&self) -> Option<u32> {
        self.source.node_id()
    }

    /// The nodes that do not run, as far as they know.
    pub(crate) fn stopped(&self) -> impl Iterator<Item = u32> {
        let source = self
            .source
            .node_id()
            .filter(|_| !self.source.is_streaming());
        let capture = self.capture.node_id();
        let capture = capture.filter(|_| !self.capture.is_streaming());
        source.into_iter().chain(capture)
    }

    /// The channels of the virtual mic.
    pub(crate) fn channels(&self) -> &[Channel] {
        &self.channels
    }

    /// Shows the gate's state in the mute flag that the desktop sees.
    pub(crate) fn show_muted(&self, muted: bool) {
        self.source.show_muted(muted);
    }

    /// Lets the server know of the mute flag that somebody else has set.
    pub(crate) fn tell_flag(&self) {
        self.source.tell_flag();
    }

    /// The real-time state. Only to be touched on the data loop's thread, or by a blocking invoke on it.
    pub(crate) fn cycle(&self) -> *mut Cycle {
        self.cycle.0
    }
}

/// Frees the real-time state when it goes, as the last field of [`SamplePath`].
struct CycleOwner(*mut Cycle);

impl Drop for CycleOwner {
    fn drop(&mut self) {
        // SAFETY: made by Box::into_raw in `connect`; the nodes whose callbacks used it are destroyed.
        drop(unsafe { Box::from_raw(self.0) });
    }
}

/// One channel of the virtual mic, by the server's channel number (spa/param/audio/raw.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Channel(u32);

/// Names and numbers of the channels that microphones have; others become AUX channels.
const CHANNEL_NAMES: &[(&str, u32)] = &[
    ("MONO", spa_sys::SPA_AUDIO_CHANNEL_MONO),
    ("FL", spa_sys::SPA_AUDIO_CHANNEL_FL),
    ("FR", spa_sys::SPA_AUDIO_CHANNEL_FR),
    ("FC", spa_sys::SPA_AUDIO_CHANNEL_FC),
    ("LFE", spa_sys::SPA_AUDIO_CHANNEL_LFE),
    ("SL", spa_sys::SPA_AUDIO_CHANNEL_SL),
    ("SR", spa_sys::SPA_AUDIO_CHANNEL_SR),
    ("FLC", spa_sys::SPA_AUDIO_CHANNEL_FLC),
    ("FRC", spa_sys::SPA_AUDIO_CHANNEL_FRC),
    ("RC", spa_sys::SPA_AUDIO_CHANNEL_RC),
    ("RL", spa_sys::SPA_AUDIO_CHANNEL_RL),
    ("RR", spa_sys::SPA_AUDIO_CHANNEL_RR),
    ("AUX0", spa_sys::SPA_AUDIO_CHANNEL_AUX0),
    ("AUX1", spa_sys::SPA_AUDIO_CHANNEL_AUX0 + 1),
    ("AUX2", spa_sys::SPA_AUDIO_CHANNEL_AUX0 + 2),
    ("AUX3", spa_sys::SPA_AUDIO_CHANNEL_AUX0 + 3),
    ("AUX4", spa_sys::SPA_AUDIO_CHANNEL_AUX0 + 4),
    ("AUX5", spa_sys::SPA_AUDIO_CHANNEL_AUX0 + 5),
    ("AUX6", spa_sys::SPA_AUDIO_CHANNEL_AUX0 + 6),
    ("AUX7", spa_sys::SPA_AUDIO_CHANNEL_AUX0 + 7),
];

impl Channel {
    /// The channel of a port's `audio.channel`, or the `index`th AUX channel for a name that we do not know.
    pub(crate) fn named(name: &str, index: usize) -> Self {
        CHANNEL_NAMES
            .iter()
            .find(|(known, _)| *known == name)
            .map_or(
                Self(spa_sys::SPA_AUDIO_CHANNEL_AUX0 + (index % MAX_CHANNELS) as u32),
                |(_, number)| Self(*number),
            )
    }

    /// The channels of a mic with `count` channels whose ports are not known.
    pub(crate) fn standard(count: usize) -> Vec<Self> {
        let names: &[&str] = match count {
            0 | 1 => &["MONO"],
            2 => &["FL", "FR"],
            _ => &[
                "AUX0", "AUX1", "AUX2", "AUX3", "AUX4", "AUX5", "AUX6", "AUX7",
            ],
        };
        names
            .iter()
            .take(count.clamp(1, MAX_CHANNELS))
            .enumerate()
            .map(|(i, n)| Self::named(n, i))
            .collect()
    }

    /// The name as ports carry it.
    pub(crate) fn name(self) -> &'static str {
        CHANNEL_NAMES
            .iter()
            .find(|(_, number)| *number == self.0)
            .map_or("UNK", |(name, _)| name)
    }

    /// The number as formats carry it.
    pub(crate) fn position(self) -> u32 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_keep_their_names() {
        for (index, (name, _)) in CHANNEL_NAMES.iter().enumerate() {
            assert_eq!(Channel::named(name, index).name(), *name);
        }
        assert_eq!(Channel::named("capture_weird", 3).name(), "AUX3");
        assert_eq!(
            Channel::standard(2)
                .iter()
                .map(|c| c.name())
                .collect::<Vec<_>>(),
            ["FL", "FR"]
        );
        assert_eq!(Channel::standard(0).len(), 1);
        assert_eq!(Channel::standard(99).len(), MAX_CHANNELS);
    }
}
