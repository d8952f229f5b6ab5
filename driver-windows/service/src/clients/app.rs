//! One app's session on the virtual mic, and what the app got, estimated from the better of two: Windows' events about packets for its
//! process ([`CountedBy::Events`]), as long as they are heard without a break and agree with the session; else what the engine got while
//! the session was active ([`CountedBy::Session`]). What the events mean Microsoft does not say: a process also plays, and its packets
//! may be of that.

use std::path::PathBuf;

use truemute_agent::bypass::{identity, name};
use truemute_agent::driver::When;
use truemute_agent::system::System;
use truemute_core::observed::{
    Api, Client, ClientState, CountedBy, Counts, Offers, Purpose, Tally, Who,
};
use truemute_windows_interface::RATE;

use super::{Got, nanoseconds};
use crate::events::processes::{Process, Processes};
use crate::sessions::Session;

/// How far the frames of events may be behind those of the session, or before them, and still agree with it: Windows hands events over
/// once a second, and sessions are looked at about as often.
const SLACK: u64 = 3 * RATE as u64;

/// An app's session.
#[derive(Debug)]
pub(super) struct App {
    /// What Windows calls the session.
    pub(super) session: String,
    pub(super) client: Client,
    /// What the engine got while it was active.
    by_session: Got,
    /// What the events had said when the app came, if they were heard then.
    before: Option<Before>,
}

#[derive(Clone, Copy, Debug)]
struct Before {
    process: Process,
    lost: u64,
    beginnings: u64,
}

impl App {
    /// Who it is, is asked once: its process may end before it is seen again, and its number go to another one.
    pub(super) fn new(
        id: u64,
        session: &Session,
        processes: &Processes,
        system: &dyn System,
        now: When,
    ) -> Self {
        let executable: Option<PathBuf> = session.pid.and_then(|pid| system.executable(pid));
        let label = Some(session.name.as_str()).filter(|name| !name.is_empty());
        let app = match session.pid {
            Some(pid) => name(executable.as_deref(), label, pid),
            None => label.unwrap_or("several processes").to_owned(),
        };
        let before = session
            .pid
            .filter(|_| processes.hears)
            .map(|pid| Before::of(processes, pid));
        Self {
            session: session.id.clone(),
            by_session: Got::default(),
            client: Client {
                id,
                who: Who {
                    app,
                    stream: session.name.clone(),
                    pid: session.pid,
                    identity: identity(executable.as_ref()),
                    executable,
                    puller: None,
                    api: Api::Wasapi,
                    purpose: Purpose::Recording,
                },
                state: match session.active {
                    true => ClientState::Running,
                    false => ClientState::Corked,
                },
                app_muted: false,
                counted_by: match before {
                    Some(_) => CountedBy::Events,
                    None => CountedBy::Session,
                },
                counts: Counts::default(),
                offers: before.map(|_| Offers::default()),
                first_seen_ns: now.wall_ns,
                last_pull_ns: None,
            },
            before,
        }
    }

    /// It is now in `state`, and since the last look the engine got `news`: all of it counts for who was active at both looks, and
    /// half of it, on average, for who began or ended in between.
    pub(super) fn add(&mut self, state: ClientState, news: Got, now: When) {
        let was = std::mem::replace(&mut self.client.state, state);
        let share = match (was == ClientState::Running, state == ClientState::Running) {
            (true, true) => 1,
            (true, false) | (false, true) => 2,
            (false, false) => return,
        };
        let Got { live, muted } = &mut self.by_session;
        for (tally, news) in [(live, news.live), (muted, news.muted)] {
            tally.pulls += news.pulls / share;
            tally.frames += news.frames / share;
            tally.nanoseconds = nanoseconds(tally.frames);
        }
        if news.live.frames + news.muted.frames > 0 {
            self.client.last_pull_ns = Some(now.wall_ns);
        }
    }

    /// What the events say now, and whether this is its process's only session on the virtual mic. Figures only grow, also where
    /// they change over from events to the session, which they do once.
    pub(super) fn hear(&mut self, processes: &Processes, alone: bool) {
        let counts = &mut self.client.counts;
        let heard = self.before.zip(self.client.who.pid).map(|(before, pid)| {
            let process = processes.of(pid).since(before.process);
            (process, before, processes.lost.saturating_sub(before.lost))
        });
        let mut told = self.by_session;
        if let Some((process, before, lost)) = heard {
            let breaks = processes.beginnings.saturating_sub(before.beginnings);
            self.client.offers = Some(Offers {
                count: process.offers,
                lost: lost + breaks,
            });
            let whole = processes.hears && breaks == 0 && alone;
            if self.client.counted_by == CountedBy::Events {
                match whole && agree(process.frames, self.by_session) {
                    true => {
                        counts.lost = lost;
                        told = split(process, self.by_session);
                    }
                    false => {
                        counts.lost = 0;
                        self.client.counted_by = CountedBy::Session;
                    }
                }
            }
        }
        grow(&mut counts.live, told.live);
        grow(&mut counts.muted, told.muted);
    }
}

impl Before {
    fn of(processes: &Processes, pid: u32) -> Self {
        Self {
            process: processes.of(pid),
            lost: processes.lost,
            beginnings: processes.beginnings,
        }
    }
}

/// Whether so many frames in events can be what a session got.
fn agree(frames: u64, session: Got) -> bool {
    frames.abs_diff(session.live.frames + session.muted.frames) <= SLACK
}

/// The packets of the events, as live and muted as what the engine got while the session was active.
fn split(process: Process, session: Got) -> Got {
    let whole = u128::from(session.live.frames + session.muted.frames).max(1);
    let live = |number: u64| {
        let live = u128::from(number) * u128::from(session.live.frames) / whole;
        u64::try_from(live).unwrap_or(number).min(number)
    };
    let tally = |pulls, frames| Tally {
        pulls,
        frames,
        nanoseconds: nanoseconds(frames),
    };
    let (pulls, frames) = (live(process.packets), live(process.frames));
    Got {
        live: tally(pulls, frames),
        muted: tally(process.packets - pulls, process.frames - frames),
    }
}

fn grow(tally: &mut Tally, told: Tally) {
    tally.pulls = tally.pulls.max(told.pulls);
    tally.frames = tally.frames.max(told.frames);
    tally.nanoseconds = tally.nanoseconds.max(told.nanoseconds);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::decode::tests::{offer, packet};
    use crate::events::{Events, Heard, RawEvent};
    use std::sync::Mutex;
    use truemute_agent::simulated::Simulated;

    const PID: u32 = 70_001;

    /// Events that are replayed at the next look.
    #[derive(Default)]
    struct Replays(Mutex<Heard>);

    impl Replays {
        fn of(hears: bool, beginnings: u64, lost: u64, events: Vec<RawEvent>) -> Self {
            Self(Mutex::new(Heard {
                hears,
                beginnings,
                lost,
                events,
            }))
        }
    }

    impl Events for Replays {
        fn heard(&self) -> Heard {
            self.0.lock().unwrap().clone()
        }
    }

    fn now() -> When {
        When {
            host_ns: 0,
            wall_ns: 1,
        }
    }

    fn app(processes: &Processes) -> App {
        let session = Session {
            id: "s".into(),
            pid: Some(PID),
            name: "Meeting".into(),
            endpoint: "mic".into(),
            active: true,
        };
        App::new(2, &session, processes, &Simulated::new(Vec::new()), now())
    }

    fn got(live: u64, muted: u64) -> Got {
        let tally = |pulls| Tally {
            pulls,
            frames: pulls * 480,
            nanoseconds: 0,
        };
        Got {
            live: tally(live),
            muted: tally(muted),
        }
    }

    fn seconds(packets: u64, frames: u32) -> Vec<RawEvent> {
        (0..packets)
            .flat_map(|_| [offer(900, 1, PID), packet(900, 1, frames)])
            .collect()
    }

    fn pulls(app: &App) -> (u64, u64) {
        let counts = app.client.counts;
        (counts.live.pulls, counts.muted.pulls)
    }

    #[test]
    fn events_that_agree_with_the_session_are_the_estimate_with_their_losses_and_offers_stand_beside()
     {
        let mut processes = Processes::default();
        // What was before it came is not its own.
        processes.listen(&Replays::of(true, 1, 7, seconds(50, 480)));
        let mut app = app(&processes);
        assert_eq!(app.client.counted_by, CountedBy::Events);
        app.add(ClientState::Running, got(300, 100), now());
        processes.listen(&Replays::of(true, 1, 2, seconds(200, 960)));
        app.hear(&processes, true);
        // Packets of 20 ms, three quarters of them while live.
        assert_eq!(pulls(&app), (150, 50));
        assert_eq!(app.client.counts.live.frames, 150 * 960);
        assert_eq!(app.client.counts.lost, 2);
        let offers = app.client.offers.unwrap();
        assert_eq!((offers.count, offers.lost), (200, 2));
    }

    #[test]
    fn events_that_do_not_agree_are_no_estimate_and_the_session_is_for_good() {
        let mut processes = Processes::default();
        processes.listen(&Replays::of(true, 1, 0, Vec::new()));
        let mut app = app(&processes);
        // Twice what the engine got: it plays as well.
        app.add(ClientState::Running, got(1000, 0), now());
        processes.listen(&Replays::of(true, 1, 0, seconds(2000, 480)));
        app.hear(&processes, true);
        assert_eq!(app.client.counted_by, CountedBy::Session);
        assert_eq!(pulls(&app), (1000, 0));
        app.add(ClientState::Running, got(1000, 0), now());
        app.hear(&processes, true);
        assert_eq!(app.client.counted_by, CountedBy::Session);
        assert_eq!(pulls(&app), (2000, 0));
        assert_eq!(app.client.offers.unwrap().count, 2000);
    }

    #[test]
    fn a_break_or_a_second_session_of_its_process_leaves_the_session_and_figures_never_fall() {
        let heard = |beginnings, alone| {
            let mut processes = Processes::default();
            processes.listen(&Replays::of(true, 1, 0, Vec::new()));
            let mut app = app(&processes);
            app.add(ClientState::Running, got(100, 0), now());
            processes.listen(&Replays::of(true, 1, 0, seconds(110, 480)));
            app.hear(&processes, true);
            assert_eq!(pulls(&app), (110, 0));
            processes.listen(&Replays::of(true, beginnings, 0, Vec::new()));
            app.hear(&processes, alone);
            app
        };
        for app in [heard(2, true), heard(1, false)] {
            assert_eq!(app.client.counted_by, CountedBy::Session);
            assert_eq!(pulls(&app), (110, 0));
        }
        assert_eq!(heard(2, true).client.offers.unwrap().lost, 1);
        assert_eq!(heard(1, true).client.counted_by, CountedBy::Events);
        // Nothing is heard when it comes: the session, and no offers.
        let app = app(&Processes::default());
        assert_eq!(app.client.counted_by, CountedBy::Session);
        assert_eq!(app.client.offers, None);
    }
}
