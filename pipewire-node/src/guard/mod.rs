//! The guard: who gets a real mic's sound past the gate, and what is done about it. [`reach`] finds them in the graph,
//! [`bypasses`] keeps their accounts, [`cut`] decides how they are cut off, [`silence`] which real mics are mute meanwhile ([`list`] keeps them);
//! [`checks`] tells whether the server itself refuses links; [`devices`] looks at what goes round the audio server altogether,
//! and [`hold`] keeps that out.

mod bypasses;
pub(crate) mod checks;
mod cut;
mod devices;
mod hold;
mod list;
mod reach;
mod silence;

use std::collections::BTreeSet;
use std::os::fd::BorrowedFd;

use truemute_core::observed::Bypass;

pub(crate) use self::bypasses::Now;
#[cfg(fuzzing)]
pub(crate) use self::devices::parse_status;
pub(crate) use self::silence::Silence;
use self::{
    bypasses::Bypasses,
    cut::{Cutter, Order},
    devices::{Devices, Roots},
    hold::Hold,
};
use crate::{
    GuardMode, Options, ServerFacts,
    graph::{
        flow::Graph,
        model::{Model, Node, NodeState},
        watch::Watch,
    },
    monotonic::monotonic_ns,
    who::system::System,
};

/// The sample rate of a server that does not say its own: PipeWire's default.
const USUAL_RATE: u32 = 48_000;

/// The guard's state on the engine's thread.
pub(crate) struct Guard {
    mode: GuardMode,
    bypasses: Bypasses,
    cutter: Cutter,
    devices: Devices,
    /// Absent if the mic's device is not to be held.
    hold: Option<Hold>,
    mute_hardware: bool,
    /// All real mics, if they are to be muted.
    mics: BTreeSet<u32>,
    silence: Silence,
    /// Sample rate by which frames are estimated.
    rate: u32,
}

impl Guard {
    pub(crate) fn new(options: &Options, world: System, server: &ServerFacts) -> Self {
        let watched = server.process.filter(|_| options.guard != GuardMode::Off);
        Self {
            mode: options.guard,
            mute_hardware: options.mute_hardware,
            bypasses: Bypasses::new(world, &options.trusted_processors),
            cutter: Cutter::default(),
            hold: options.hold_device.then(|| Hold::new(Roots::default().dev)),
            devices: Devices::watch(Roots::default(), watched),
            mics: BTreeSet::new(),
            silence: Silence::remembered(options.muted_mics.clone()),
            rate: server.rate.unwrap_or(USUAL_RATE),
        }
    }

    /// Mutes the real mics themselves while the gate is `shut`, and undoes it.
    pub(crate) fn keep_silence(
        &mut self,
        shut: bool,
        followed: Option<u32>,
        model: &Model,
        watch: &Watch,
    ) {
        let enforced = self.mode == GuardMode::Enforce;
        let mut wanted = BTreeSet::new();
        if shut && enforced {
            wanted.extend(self.mics.iter().copied());
        }
        if shut && self.mute_hardware {
            wanted.extend(followed.filter(|mic| model.route(*mic).is_some()));
        }
        for order in self.silence.keep(&wanted, model, monotonic_ns()) {
            watch.mute(order.node, order.muted, model);
        }
    }

    /// Readable when [`Guard::keep_silence`] can go on.
    pub(crate) fn mics_listed(&self) -> Option<BorrowedFd<'_>> {
        self.silence.listed()
    }

    /// Unmutes what was muted here. Says whether an answer of the server is still awaited.
    pub(crate) fn let_mics_go(&mut self, model: &Model, watch: &Watch) -> bool {
        for order in self.silence.keep(&BTreeSet::new(), model, monotonic_ns()) {
            watch.mute(order.node, order.muted, model);
        }
        self.silence.holds_any()
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
            self.mics = reach::mics(graph);
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

    /// Keeps the device of a mic that is let go of busy, once the server has closed it (`None`: no mic is).
    pub(crate) fn hold(&mut self, released: Option<u32>, model: &Model) {
        let Some(hold) = &mut self.hold else { return };
        let closed = |node: &&Node| node.state == NodeState::Suspended;
        let node = released
            .and_then(|mic| model.nodes.get(&mic))
            .filter(closed);
        let number = |key| node?.prop(key).parse().ok();
        hold.keep(number("alsa.card").zip(number("alsa.device")));
    }

    /// Looks who holds a sound device, if it is worth a look.
    pub(crate) fn look_at_devices(&mut self, now: Now) {
        self.devices.look(&mut self.bypasses, now);
    }

    /// Readable when somebody opened or closed a sound device.
    pub(crate) fn device_opened(&self) -> Option<BorrowedFd<'_>> {
        self.devices.opened()
    }

    /// When to look again without having been asked, monotonic nanoseconds.
    pub(crate) fn due_ns(&self) -> Option<u64> {
        self.devices.due_ns()
    }

    /// All bypasses with their figures, those that ended included.
    pub(crate) fn observe(&mut self, now: Now) -> Vec<Bypass> {
        let mut bypasses = self.bypasses.observe(now, self.rate);
        bypasses.extend(self.devices.records().cloned());
        bypasses
    }

    /// What of the bypasses is worth an event when it changes.
    pub(crate) fn summary(&self) -> Vec<Bypass> {
        let still = |record: &Bypass| Bypass {
            duration_ns: 0,
            frames: 0,
            ..record.clone()
        };
        let mut summary = self.bypasses.summary();
        summary.extend(self.devices.records().map(still));
        summary
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
