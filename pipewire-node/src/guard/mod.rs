//! The guard: who gets a real mic's sound past the gate, and what is done about it. [`reach`] finds them in the graph,
//! [`bypasses`] keeps their accounts.

mod bypasses;
mod reach;

use truemute_core::observed::Bypass;

use self::bypasses::Bypasses;
pub(crate) use self::bypasses::Now;
use crate::{
    GuardMode,
    graph::{flow::Graph, model::Model},
    who::system::System,
};

/// The sample rate of a server that does not say its own: PipeWire's default.
const USUAL_RATE: u32 = 48_000;

/// The guard's state on the engine's thread.
pub(crate) struct Guard {
    mode: GuardMode,
    bypasses: Bypasses,
    /// Sample rate by which frames are estimated.
    rate: u32,
}

impl Guard {
    pub(crate) fn new(
        mode: GuardMode,
        trusted: &[String],
        world: System,
        rate: Option<u32>,
    ) -> Self {
        Self {
            mode,
            bypasses: Bypasses::new(world, trusted),
            rate: rate.unwrap_or(USUAL_RATE),
        }
    }

    /// Looks at the graph after it changed.
    pub(crate) fn learn(&mut self, graph: Graph<'_>, model: &Model, now: Now) {
        // Before our own nodes are known to be ours, the gate itself would look like a bypass.
        if self.mode != GuardMode::Off && graph.own_client.is_some() {
            let reached = reach::reach(graph);
            self.bypasses.update(&reached, model, now, self.rate);
        }
    }

    /// All bypasses with their figures, those that ended included.
    pub(crate) fn observe(&mut self, now: Now) -> Vec<Bypass> {
        self.bypasses.observe(now, self.rate)
    }

    /// What of the bypasses is worth an event when it changes.
    pub(crate) fn summary(&self) -> Vec<Bypass> {
        self.bypasses.summary()
    }

    /// The caller has recorded the final figures of these.
    pub(crate) fn forget_gone(&mut self, ids: &[u64]) {
        self.bypasses.forget_gone(ids);
    }
}
