//! What our nodes are built from: those of the virtual mic at the start and again when another real mic has other channels,
//! the silent source when an app is muted by itself. What they do then is in `sample/` and `aside/`.

use std::{rc::Rc, sync::Arc};

use pipewire::core::CoreRc;
use truemute_core::gate::Gate;

use super::{
    inbox::{Inbox, Note},
    sides::Side,
};
use crate::{
    aside::SilentSource,
    count::{
        Clients as Ledger,
        books::{TraceReceiver, trace_queue},
    },
    sample::{Channel, CycleParts, Progress, SamplePath, SourceEvents},
};

/// Pulls that wait for the trace at most: half a second of 64 clients at a quantum of 64.
const TRACE_QUEUE: usize = 32_768;

/// What every build of the nodes shares.
pub(super) struct Plan {
    pub(super) core: CoreRc,
    pub(super) inbox: Rc<Inbox>,
    pub(super) gate: Arc<Gate>,
    pub(super) progress: Arc<Progress>,
    pub(super) ledger: Arc<Ledger>,
}

impl Plan {
    /// Makes and connects both nodes.
    pub(super) fn build(
        &self,
        channels: Vec<Channel>,
    ) -> Result<(SamplePath, TraceReceiver), String> {
        let (trace, receiver) = trace_queue(TRACE_QUEUE);
        let parts = CycleParts {
            gate: self.gate.clone(),
            progress: self.progress.clone(),
            ledger: self.ledger.clone(),
            trace,
        };
        let on_peer = {
            let inbox = self.inbox.clone();
            move |change| inbox.peer(Side::Mic, change)
        };
        let events = Box::new(StreamNotes(self.inbox.clone()));
        let on_state = {
            let inbox = self.inbox.clone();
            move || inbox.ask()
        };
        let path = SamplePath::connect(&self.core, channels, parts, events, on_peer, on_state)?;
        Ok((path, receiver))
    }
}

impl Plan {
    /// Makes and connects the silent source.
    pub(super) fn build_aside(&self) -> Result<(SilentSource, TraceReceiver), String> {
        let (trace, receiver) = trace_queue(TRACE_QUEUE);
        let on_peer = {
            let inbox = self.inbox.clone();
            move |change| inbox.peer(Side::Aside, change)
        };
        let events = Box::new(AsideNotes(self.inbox.clone()));
        let source =
            SilentSource::connect(&self.core, self.ledger.clone(), trace, events, on_peer)?;
        Ok((source, receiver))
    }
}

/// Of the silent source a failure matters, and that a turn looks whether it runs; its mute flag means nothing.
struct AsideNotes(Rc<Inbox>);

impl SourceEvents for AsideNotes {
    fn state(&self, _streaming: bool, error: Option<String>) {
        match error {
            Some(error) => self.0.put(Note::Lost(format!(
                "the source for muted apps failed: {error}"
            ))),
            None => self.0.ask(),
        }
    }

    fn muted_by_desktop(&self, _muted: bool) {}
}

struct StreamNotes(Rc<Inbox>);

impl SourceEvents for StreamNotes {
    fn state(&self, streaming: bool, error: Option<String>) {
        self.0.put(Note::Stream { streaming, error });
    }

    fn muted_by_desktop(&self, muted: bool) {
        self.0.put(Note::DesktopMute(muted));
    }
}
