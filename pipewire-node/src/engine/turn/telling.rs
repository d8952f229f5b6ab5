//! What the engine shows of itself: a whole snapshot when asked, and an event when anything but counts has changed in it.

use truemute_core::observed::{
    Bypass, ClientState, Event, MicState, MutedApp, RealMic, Snapshot, VirtualMic,
};

use super::Engine;
use crate::sample::NODE_NAME;

/// What a snapshot shows besides the counts: a change of it is an event.
#[derive(PartialEq)]
pub(super) struct Shown {
    real_mic: RealMic,
    virtual_mic: VirtualMic,
    clients: Vec<(u64, ClientState)>,
    bypasses: Vec<Bypass>,
    muted_apps: Vec<MutedApp>,
    running: bool,
}

impl Engine {
    pub(super) fn tell_changes(&mut self) {
        let shown = Shown {
            real_mic: self.real_mic(),
            virtual_mic: self.virtual_mic(),
            clients: self.parts.clients.summary(),
            bypasses: self.parts.guard.summary(),
            muted_apps: self.keeper.apps().to_vec(),
            running: self.streaming,
        };
        if self.shown.as_ref() != Some(&shown) {
            self.shown = Some(shown);
            (self.parts.events)(Event::Changed);
        }
    }

    pub(super) fn snapshot(&mut self) -> Snapshot {
        let now = Self::now();
        let at_ns = now.wall_ns;
        Snapshot {
            instance: self.parts.plan.ledger.instance(),
            at_ns,
            real_mic: self.real_mic(),
            virtual_mic: self.virtual_mic(),
            clients: self
                .parts
                .clients
                .observe(at_ns, |who| self.keeper.is_muted(who)),
            bypasses: self.parts.guard.observe(now),
            muted_apps: self.keeper.apps().to_vec(),
            unattributed: self.parts.plan.ledger.unattributed(),
            warnings: Vec::new(),
            running: self.streaming,
        }
    }

    fn real_mic(&self) -> RealMic {
        let model = self.parts.model.borrow();
        let node = self.following.and_then(|id| model.nodes.get(&id));
        let state = match (node, self.following) {
            (None, _) | (_, None) => MicState::Missing,
            (Some(_), mic) if self.mic.capturing() == mic => MicState::Capturing,
            _ => MicState::Released,
        };
        RealMic {
            name: node.map_or("", |n| n.prop("node.name")).to_owned(),
            description: node.map_or("", |n| n.prop("node.description")).to_owned(),
            state,
        }
    }

    fn virtual_mic(&self) -> VirtualMic {
        let seen = self.parts.plan.progress.read();
        VirtualMic {
            name: NODE_NAME.to_owned(),
            rate: seen.rate,
            channels: self.parts.path.channels().len() as u32,
            quantum: seen.quantum,
        }
    }
}
