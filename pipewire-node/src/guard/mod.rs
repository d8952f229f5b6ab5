//! The guard: who gets a real mic's sound past the gate, and what is done about it. [`reach`] finds them in the graph,
//! [`bypasses`] keeps their accounts, [`cut`] decides how they are cut off.

mod bypasses;
mod cut;
mod reach;

use truemute_core::observed::Bypass;

pub(crate) use self::bypasses::Now;
use self::{
    bypasses::Bypasses,
    cut::{Cutter, Order},
};
use crate::{
    GuardMode,
    graph::{flow::Graph, model::Model, watch::Watch},
    who::system::System,
};

/// The sample rate of a server that does not say its own: PipeWire's default.
const USUAL_RATE: u32 = 48_000;

/// The guard's state on the engine's thread.
pub(crate) struct Guard {
    mode: GuardMode,
    bypasses: Bypasses,
    cutter: Cutter,
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
            cutter: Cutter::default(),
            rate: rate.unwrap_or(USUAL_RATE),
        }
    }

    /// Looks at the graph after it changed, and acts if it is to.
    pub(crate) fn learn(
        &mut self,
        graph: Graph<'_>,
        model: &Model,
        watch: &Watch,
        virtual_mic: u32,
        now: Now,
    ) {
        // Before our own nodes are known to be ours, the gate itself would look like a bypass.
        if self.mode == GuardMode::Off || graph.own_client.is_none() {
            return;
        }
        let reached = reach::reach(graph);
        self.bypasses.update(&reached, model, now, self.rate);
        if self.mode == GuardMode::Enforce {
            let bypasses = self.bypasses.untrusted(&reached);
            let passes = |id: u32| {
                let node = model.nodes.get(&id);
                node.is_some_and(|node| self.bypasses.trusts(node, model))
            };
            let (orders, cut) = self.cutter.cut(&bypasses, model, passes, now.monotonic_ns);
            self.bypasses.were_cut(&cut);
            for order in orders {
                carry_out(&order, model, watch, virtual_mic);
            }
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

/// A refusal comes as an error of the core, and what was to go is then still there.
fn carry_out(order: &Order, model: &Model, watch: &Watch, virtual_mic: u32) {
    tracing::debug!(?order, "the guard acts");
    match order {
        Order::Unlink(link) => watch.destroy(*link),
        Order::Remove(node) => {
            let name = model.nodes.get(node).map_or("", |it| it.prop("node.name"));
            tracing::warn!(
                name,
                "a stream that was linked to a real microphone again and again is removed"
            );
            watch.destroy(*node);
        }
        Order::Retarget(node) => {
            let mic = model.nodes.get(&virtual_mic);
            if let Some(serial) = mic.and_then(|mic| mic.props.get("object.serial")) {
                watch.retarget(*node, Some(serial));
            }
        }
    }
}
