//! One turn of the backend's thread: take what happened, bring links, clients and mute flag in line with it, answer the
//! commands that have taken effect. Everything here is on the main-loop thread. What happened is taken in in [`hearing`]; what
//! the engine shows of itself is in [`telling`], single pulls for the trace in [`single_pulls`], and from what pulls are
//! counted in [`counter`].

mod counter;
mod hearing;
mod single_pulls;
mod telling;

use std::{cell::RefCell, os::fd::BorrowedFd, rc::Rc};

use truemute_core::observed::Event;

use self::{single_pulls::SinglePulls, telling::Shown};
use super::{
    Options, WhileMuted,
    clients::Clients,
    clock::{Timer, wall_ns},
    data_loop::DataLoop,
    following::{Facts as GraphFacts, follow},
    inbox::Note,
    keeper::{Around, Keeper},
    mic::{MicKeeper, channels_of},
    plan::Plan,
    sides::{Side, Tables},
    stopped::Stopped,
    switch::{Facts, Pending, Wanted},
};
use crate::{
    count::{books::TraceReceiver, layout::Verdict},
    graph::{model::Model, watch::Watch},
    guard::{Guard, Now},
    monotonic::monotonic_ns,
    sample::{Cycle, MAX_CHANNELS, Progress, SamplePath, VIRTUAL_SETTLES},
};

/// How long a mirror may say "unmuted" while the gate is silent, before it is set right: time for the daemon to unmute if
/// its configuration lets the desktop do so.
const MIRROR_GRACE_NS: u64 = 300_000_000;

/// What an [`Engine`] is made of.
pub(super) struct Parts {
    pub(super) options: Options,
    pub(super) plan: Plan,
    pub(super) watch: Rc<Watch>,
    pub(super) model: Rc<RefCell<Model>>,
    pub(super) clients: Clients,
    pub(super) guard: Guard,
    pub(super) trace: TraceReceiver,
    pub(super) data_loop: DataLoop<Cycle>,
    pub(super) path: SamplePath,
    pub(super) events: Box<dyn Fn(Event)>,
}

/// The backend's state on its thread.
pub(super) struct Engine {
    parts: Parts,
    mic: MicKeeper,
    keeper: Keeper,
    /// The mic that is followed, linked or not.
    following: Option<u32>,
    pending: Vec<Pending>,
    streaming: bool,
    stopped: Stopped,
    model_version: u64,
    mirror_due_ns: Option<u64>,
    single_pulls: SinglePulls,
    shown: Option<Shown>,
    timer: Timer,
    verdict: Verdict,
    /// Whether the server has shown both our nodes.
    published: bool,
    lost: bool,
}

impl Engine {
    pub(super) fn new(parts: Parts) -> std::io::Result<Self> {
        Ok(Self {
            keeper: Keeper::new(parts.data_loop.context().clone()),
            parts,
            mic: MicKeeper::default(),
            following: None,
            pending: Vec::new(),
            streaming: false,
            stopped: Stopped::default(),
            model_version: 0,
            mirror_due_ns: None,
            single_pulls: SinglePulls::default(),
            shown: None,
            timer: Timer::new()?,
            verdict: Verdict::Open,
            published: false,
            lost: false,
        })
    }

    pub(super) fn progress(&self) -> &Progress {
        &self.parts.plan.progress
    }

    pub(super) fn timer(&self) -> &Timer {
        &self.timer
    }

    pub(super) fn device_opened(&self) -> Option<BorrowedFd<'_>> {
        self.parts.guard.device_opened()
    }

    pub(super) fn mics_listed(&self) -> Option<BorrowedFd<'_>> {
        self.parts.guard.mics_listed()
    }

    /// Does what there is to do; `true` when the thread shall end.
    pub(super) fn turn(&mut self) -> bool {
        self.parts.plan.inbox.begin();
        self.parts.plan.progress.acknowledge();
        while let Some(note) = self.parts.plan.inbox.take() {
            if self.hear(note) {
                return true;
            }
        }
        if self.lost {
            // Nothing of this connection works any more; the daemon drops the handle, which ends the thread.
            self.pending.clear();
            return false;
        }
        let version = self.parts.model.borrow().version;
        if version != self.model_version {
            self.model_version = version;
            self.miss_nodes();
            self.learn();
            self.fit_channels();
        }
        self.keep_running();
        self.choose_counter();
        self.parts.clients.settle(monotonic_ns());
        self.answer();
        self.keep_apps();
        self.keep_mic();
        self.keep_silence();
        self.parts.guard.look_at_devices(Self::now());
        self.mirror();
        self.hand_on_pulls_in_time();
        self.tell_changes();
        self.arm();
        false
    }

    fn with_keeper<T: Default>(
        &mut self,
        work: impl FnOnce(&mut Keeper, &mut Around<'_>) -> T,
    ) -> T {
        let Some(virtual_mic) = self.parts.path.source_node() else {
            return T::default();
        };
        let model = self.parts.model.borrow();
        let mut around = Around {
            model: &model,
            clients: &mut self.parts.clients,
            watch: &self.parts.watch,
            plan: &self.parts.plan,
            mic: &self.parts.data_loop,
            virtual_mic,
            now_ns: monotonic_ns(),
        };
        work(&mut self.keeper, &mut around)
    }

    /// Keeps the streams of muted apps where they belong.
    fn keep_apps(&mut self) {
        let failed = self.with_keeper(|keeper, around| keeper.keep(around).err());
        if let Some(error) = failed {
            // Without it a muted app would be on the virtual mic, and everybody silent.
            let reason = format!("the source for muted apps cannot be made: {error}");
            self.parts.plan.inbox.put(Note::Lost(reason));
        }
    }

    /// Notices that somebody destroyed a node of ours, which no callback tells: then nothing delivers any more, and clients
    /// go to other mics.
    fn miss_nodes(&mut self) {
        let model = self.parts.model.borrow();
        let path = &self.parts.path;
        let there = [path.source_node(), path.capture_node()]
            .iter()
            .all(|node| node.is_some_and(|node| model.nodes.contains_key(&node)));
        let lost_aside = self.keeper.has_lost_node(&model);
        if (self.published && !there) || lost_aside {
            let reason = "somebody removed a node of the virtual microphone".to_owned();
            self.parts.plan.inbox.put(Note::Lost(reason));
        }
        self.published = there;
    }

    /// Starts nodes of ours again that another client has stopped.
    fn keep_running(&mut self) {
        let Parts {
            path, model, watch, ..
        } = &self.parts;
        let nodes = path.stopped().chain(self.keeper.stopped());
        let overdue = self.stopped.overdue(nodes, &model.borrow(), monotonic_ns());
        for node in overdue {
            tracing::warn!(
                node,
                "somebody paused a node of the virtual microphone; it is started again"
            );
            watch.start_again(node);
        }
    }

    fn now() -> Now {
        Now {
            monotonic_ns: monotonic_ns(),
            wall_ns: wall_ns(),
        }
    }

    /// Takes over what the registry told.
    fn learn(&mut self) {
        let now = Self::now();
        let Some(virtual_mic) = self.parts.path.source_node() else {
            return;
        };
        let Parts {
            clients,
            data_loop,
            guard,
            model,
            options,
            watch,
            ..
        } = &mut self.parts;
        let model = model.borrow();
        let tables = Tables {
            mic: data_loop,
            aside: self.keeper.data_loop(),
        };
        let sources = [Some(virtual_mic), self.keeper.node()];
        clients.update(
            &model,
            sources.into_iter().flatten(),
            |node| self.keeper.moves(node),
            now.wall_ns,
            &tables,
        );
        let facts = GraphFacts::of(&model, Some(virtual_mic));
        self.following = follow(facts.graph(), &model, options);
        guard.learn(facts.graph(), &model, watch, virtual_mic, now);
    }

    /// Gives the virtual mic the channels of the real one that is followed now, unless somebody is connected or the
    /// configuration fixes them: a format that changes under a client is worse than a channel that repeats.
    fn fit_channels(&mut self) {
        let parts = &mut self.parts;
        let wanted = {
            let model = parts.model.borrow();
            let Some(mic) = self.following.filter(|_| parts.options.channels.is_none()) else {
                return;
            };
            let ports = channels_of(&model, mic);
            // Ports come one by one.
            let announced = model
                .nodes
                .get(&mic)
                .and_then(|node| node.prop("audio.channels").parse().ok());
            let whole = announced.is_none_or(|count: usize| ports.len() >= count.min(MAX_CHANNELS));
            let idle = parts
                .path
                .source_node()
                .is_some_and(|node| model.readers(node).is_empty());
            ports
                .first()
                .is_some_and(|_| {
                    whole && idle && !parts.clients.any_on_mic() && ports != parts.path.channels()
                })
                .then_some(ports)
        };
        let Some(channels) = wanted else { return };
        self.mic = MicKeeper::default();
        let tables = Tables {
            mic: &parts.data_loop,
            aside: self.keeper.data_loop(),
        };
        parts.clients.leave_side(Side::Mic, &tables);
        let built = parts.plan.build(channels);
        match built {
            Ok((path, trace)) => {
                path.show_muted(!parts.plan.gate.state().1);
                trace.switch(self.single_pulls.are_wanted());
                parts.data_loop = DataLoop::new(parts.data_loop.context().clone(), path.cycle());
                parts.clients.enter_path(&parts.data_loop);
                parts.path = path;
                self.published = false;
                parts.trace = trace;
                self.streaming = false;
            }
            Err(error) => parts.plan.inbox.put(Note::Lost(error)),
        }
    }

    /// Answers the commands that have taken effect.
    fn answer(&mut self) {
        let seen = self.parts.plan.progress.read();
        let now_ns = monotonic_ns();
        let (gate, streaming) = (&self.parts.plan.gate, self.streaming);
        self.pending.retain(|pending| {
            let settled = gate.settled(pending.epoch);
            match pending.judge(Facts {
                seen: &seen,
                streaming,
                settled,
                now_ns,
            }) {
                Some(reply) => {
                    if let Err(failure) = &reply {
                        tracing::warn!(wanted = ?pending.wanted, epoch = pending.epoch.get(), ?seen, now_ns, "{failure}");
                    }
                    let _ = pending.reply.send(reply);
                    false
                }
                None => true,
            }
        });
    }

    /// Mutes real mics themselves while the gate is shut, if the guard is to.
    fn keep_silence(&mut self) {
        let shut = !self.parts.plan.gate.state().1;
        let parts = &mut self.parts;
        let (model, followed) = (parts.model.borrow(), self.following);
        parts
            .guard
            .keep_silence(shut, followed, &model, &parts.watch);
    }

    /// Asks for every mic that was muted by us to be unmuted, and writes down those that are. Says whether there are any left.
    pub(super) fn let_mics_go(&mut self) -> bool {
        let parts = &mut self.parts;
        !self.lost && parts.guard.let_mics_go(&parts.model.borrow(), &parts.watch)
    }

    /// Links or lets go of the real mic.
    fn keep_mic(&mut self) {
        let Some(capture) = self.parts.path.capture_node() else {
            return;
        };
        let open = self.parts.plan.gate.state().1;
        let holds = self.parts.options.while_muted == WhileMuted::Hold;
        // While a mute waits for its acknowledgement the mic stays: letting go changes the driver, and the first cycle
        // of the next one would come later than the mic's own next cycle.
        let acknowledging = self.pending.iter().any(|p| p.wanted == Wanted::Muted);
        let wanted = self.parts.clients.any_running()
            && (open || holds || (acknowledging && self.mic.mic().is_some()));
        let closes = !open && !holds;
        let mic = self.following.filter(|_| wanted);
        let Parts {
            plan,
            watch,
            data_loop,
            guard,
            model,
            ..
        } = &mut self.parts;
        let model = model.borrow();
        // Let go of before the server is asked for it.
        guard.hold(self.following.filter(|_| mic.is_none()), &model);
        let settle = || {
            let node = mic.and_then(|mic| model.nodes.get(&mic));
            let hardware = node.is_some_and(|node| node.props.contains_key("device.id"));
            let blocks = if hardware { 0 } else { VIRTUAL_SETTLES };
            data_loop.run(|cycle| cycle.expect_mic(mic.unwrap_or(u32::MAX), blocks));
        };
        if let Err(error) = self.mic.keep(mic, capture, &model, &plan.core, settle) {
            tracing::warn!(%error, "the real microphone could not be linked");
        }
        self.mic
            .close(self.following.filter(|_| closes), capture, &model, watch);
        if let Some(mixed) = self.mic.cut_foreign(capture, &model, watch) {
            data_loop.run(|cycle| cycle.distrust(mixed));
        }
    }

    /// Sets a mirror right that says "unmuted" while the gate is silent.
    fn mirror(&mut self) {
        let due = self.mirror_due_ns.is_some_and(|due| monotonic_ns() >= due);
        if due {
            self.mirror_due_ns = None;
        }
        if due && !self.parts.plan.gate.state().1 {
            self.parts.path.show_muted(true);
        }
    }

    fn arm(&mut self) {
        let due = self
            .pending
            .iter()
            .map(Pending::deadline_ns)
            .chain(self.mirror_due_ns)
            .chain(self.single_pulls.due_ns())
            .chain(self.parts.guard.due_ns())
            .chain(self.parts.clients.settles_at_ns())
            .chain(self.keeper.due_ns())
            .chain(self.stopped.due_ns())
            .min();
        self.timer.set(due);
    }
}
