//! What the engine is told between two turns: commands of the daemon, and what callbacks noticed.

use truemute_core::observed::Event;

use super::{Engine, MIRROR_GRACE_NS, Parts};
use crate::{
    count::peers_feed::PeerChange,
    engine::{
        Command, Failure,
        clock::wall_ns,
        inbox::Note,
        sides::{Side, Tables},
        switch::{Pending, Wanted},
    },
    monotonic::monotonic_ns,
};

impl Engine {
    pub(super) fn hear(&mut self, note: Note) -> bool {
        match note {
            Note::Command(command) => return self.obey(command),
            Note::Stream { streaming, error } => {
                self.streaming = streaming;
                if let Some(error) = error {
                    // Without its stream there is no virtual mic; the daemon starts again from the connection on.
                    self.parts
                        .plan
                        .inbox
                        .put(Note::Lost(format!("the stream failed: {error}")));
                }
            }
            Note::DesktopMute(muted) => {
                self.parts.path.tell_flag();
                if muted {
                    // Whoever mutes, mutes at once; the daemon is told and agrees.
                    self.parts.plan.gate.mute();
                } else {
                    self.mirror_due_ns = Some(monotonic_ns().saturating_add(MIRROR_GRACE_NS));
                }
                (self.parts.events)(Event::DesktopMute(muted));
            }
            Note::Peer(side, change) => self.peer(side, change),
            Note::Profile(message) => self.parts.clients.profile(&message),
            Note::Lost(reason) => {
                self.parts.plan.gate.mute();
                self.lost = true;
                (self.parts.events)(Event::ServerLost(reason));
            }
        }
        false
    }

    fn obey(&mut self, command: Command) -> bool {
        match command {
            Command::Muted {
                epoch,
                asked_ns,
                reply,
            } => {
                self.parts.path.show_muted(true);
                self.pending.push(Pending {
                    wanted: Wanted::Muted,
                    epoch,
                    asked_ns,
                    reply,
                });
            }
            Command::Unmute {
                seen,
                asked_ns,
                reply,
            } => {
                // What came through the short way must not be undone by a command from before it.
                if self.parts.plan.gate.state().0 != seen {
                    let _ = reply.send(Err(Failure::Overtaken));
                    return false;
                }
                self.parts.path.show_muted(false);
                let epoch = self.parts.plan.gate.unmute(monotonic_ns());
                let wanted = Wanted::Live {
                    mic: self.following.is_some(),
                };
                self.pending.push(Pending {
                    wanted,
                    epoch,
                    asked_ns,
                    reply,
                });
            }
            Command::Snapshot { reply } => {
                let snapshot = self.snapshot();
                let _ = reply.send(snapshot);
            }
            Command::SwitchApp {
                which,
                muted,
                asked_ns,
                reply,
            } => self.with_keeper(|keeper, around| match muted {
                true => keeper.mute(&which, asked_ns, reply, around),
                false => keeper.unmute(&which, asked_ns, reply, around),
            }),
            Command::RestoreApps(apps) => {
                self.keeper.restore(apps);
                self.with_keeper(|keeper, around| keeper.guard(around));
            }
            Command::ForgetGone { clients, bypasses } => {
                // Their last pulls are still in the queue, and belong to nobody afterwards.
                self.hand_on_pulls();
                self.parts.clients.forget_gone(&clients);
                self.parts.guard.forget_gone(&bypasses);
            }
            Command::SetTracing(on) => {
                self.parts.trace.switch(on);
                if let Some(trace) = self.parts.clients.estimated_trace() {
                    trace.switch(on);
                }
                self.keeper.set_tracing(on);
                self.single_pulls.set_wanted(on);
            }
            Command::Answer { number, answered } => self.parts.data_loop.answer(number, answered),
            Command::Stop => return true,
        }
        false
    }

    /// A peer of a source of ours came or went.
    pub(in crate::engine) fn peer(&mut self, side: Side, change: PeerChange) {
        let Parts {
            clients,
            data_loop,
            model,
            plan,
            ..
        } = &mut self.parts;
        let tables = Tables {
            mic: data_loop,
            aside: self.keeper.data_loop(),
        };
        match change {
            PeerChange::Joined {
                node_id,
                record,
                joined_ns,
            } => {
                let record = (record, joined_ns);
                clients.joined(node_id, side, record, &model.borrow(), &tables);
            }
            PeerChange::Left { node_id } => {
                clients.recognise(node_id, &model.borrow(), wall_ns());
                clients.left(node_id, side, &tables);
            }
            // That of the silent source would tell no more: one server makes them all.
            PeerChange::Own(record) if side == Side::Mic => {
                drop(data_loop.run(|cycle| cycle.set_own_record(record)));
            }
            PeerChange::Own(_) => {}
            PeerChange::Unreadable { error, .. } if error.is_of_connection() => {
                plan.inbox.put(Note::Lost(error.to_string()));
            }
            PeerChange::Unreadable { node_id, error } => {
                tracing::warn!(node_id, %error, "a client cannot be counted from its activation record");
            }
        }
        if side == Side::Mic {
            self.with_keeper(|keeper, around| keeper.guard(around));
        }
    }
}
