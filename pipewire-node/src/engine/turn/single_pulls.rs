//! Single pulls on their way from the real-time thread to the trace: handed on in time, and with the client that each is of.

use truemute_core::observed::{Event, Pull};

use super::Engine;
use crate::monotonic::monotonic_ns;

/// How often traced pulls are handed on.
const TRACE_EVERY_NS: u64 = 20_000_000;

/// How long a traced pull waits for the registry to show whose it is. The graph's driver is counted like a client and is
/// none: its never find an owner.
const UNNAMED_NS: u64 = 2_000_000_000;

/// What is known of the trace between two turns.
#[derive(Default)]
pub(super) struct SinglePulls {
    /// When pulls are handed on next, monotonic nanoseconds; none while nobody traces.
    due_ns: Option<u64>,
    /// Pulls of nodes that the registry has not shown as clients yet.
    unnamed: Vec<Pull>,
}

impl SinglePulls {
    pub(super) fn set_wanted(&mut self, on: bool) {
        self.due_ns = on.then(|| monotonic_ns().saturating_add(TRACE_EVERY_NS));
    }

    pub(super) fn are_wanted(&self) -> bool {
        self.due_ns.is_some()
    }

    pub(super) fn due_ns(&self) -> Option<u64> {
        self.due_ns
    }
}

impl Engine {
    pub(super) fn hand_on_pulls_in_time(&mut self) {
        let now_ns = monotonic_ns();
        if self.single_pulls.due_ns.is_some_and(|due| now_ns >= due) {
            self.single_pulls.set_wanted(true);
            self.hand_on_pulls();
        }
    }

    pub(super) fn hand_on_pulls(&mut self) {
        let mut found = std::mem::take(&mut self.single_pulls.unnamed);
        let (more, mut lost) = self.parts.trace.take();
        found.extend(more);
        if let Some(trace) = self.parts.clients.estimated_trace() {
            let (estimated, more) = trace.take();
            found.extend(estimated);
            lost += more;
        }
        if let Some(trace) = self.keeper.trace() {
            let (aside, more) = trace.take();
            found.extend(aside);
            lost += more;
        }
        let (pulls, unnamed) = found
            .into_iter()
            .partition::<Vec<_>, _>(|pull| self.parts.clients.knows(pull.client));
        let since_ns = monotonic_ns().saturating_sub(UNNAMED_NS);
        self.single_pulls.unnamed = unnamed;
        self.single_pulls
            .unnamed
            .retain(|pull| pull.monotonic_ns >= since_ns);
        if !pulls.is_empty() || lost > 0 {
            (self.parts.events)(Event::Pulls { pulls, lost });
        }
    }
}
