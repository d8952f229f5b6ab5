//! The virtual mic's clients in the words of every backend. The audio engine is the one that the driver counts, exactly: it pulls
//! once for all apps. Each app's session on the endpoint is a client too, of which only the presence is exact: what it got is
//! estimated, in `app`. The two kinds are never added up ([`Purpose::Engine`]).

mod app;

use truemute_agent::driver::When;
use truemute_agent::system::System;
use truemute_core::observed::{
    Api, Client, ClientState, CountedBy, Counts, Identity, Intervals, Purpose, Tally, Who,
};
use truemute_windows_interface::RATE;
use truemute_windows_interface::record::Snapshot;

use crate::events::processes::Processes;
use crate::sessions::Session;
use app::App;

/// The engine's number among the clients.
const ENGINE: u64 = 1;

/// The engine's period where it fetches no packets, in frames: 10 ms, the default of shared mode (audioclient.h,
/// `IAudioClient::GetDevicePeriod`).
const PERIOD: u64 = RATE as u64 / 100;

/// The clients of one instance of the driver.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    /// When the engine's stream was first seen, in nanoseconds of the wall clock.
    engine_since_ns: Option<u64>,
    apps: Vec<App>,
    last_id: u64,
    /// What the engine had got at the last look.
    before: Option<Got>,
}

/// What the engine got since the driver's start.
#[derive(Clone, Copy, Debug, Default)]
struct Got {
    live: Tally,
    muted: Tally,
}

/// How long so many frames sound.
fn nanoseconds(frames: u64) -> u64 {
    let ns = u128::from(frames) * 1_000_000_000 / u128::from(RATE);
    u64::try_from(ns).unwrap_or(u64::MAX)
}

/// From what the engine's part is known. Windows decides once whether the engine fetches packets of this driver: where it does, they are
/// counted; where it does not, that anybody read what was written for it, nothing shows. A second without a packet decides.
fn counted_by(snapshot: &Snapshot) -> CountedBy {
    let pulls = snapshot.live_pulls + snapshot.muted_pulls + snapshot.lost_pulls;
    let frames = snapshot.live_frames + snapshot.muted_frames;
    match pulls == 0 && frames > u64::from(RATE) {
        true => CountedBy::Written,
        false => CountedBy::Driver,
    }
}

impl Got {
    fn of(snapshot: &Snapshot) -> Self {
        let tally = |pulls, frames| Tally {
            pulls,
            frames,
            nanoseconds: nanoseconds(frames),
        };
        match counted_by(snapshot) {
            CountedBy::Written => Self {
                live: tally(0, snapshot.live_frames),
                muted: tally(0, snapshot.muted_frames),
            },
            _ => Self {
                live: tally(snapshot.live_pulls, snapshot.live_pull_frames),
                muted: tally(snapshot.muted_pulls, snapshot.muted_pull_frames),
            },
        }
    }

    fn since(self, before: Self) -> Self {
        let tally = |now: Tally, then: Tally| {
            let frames = now.frames.saturating_sub(then.frames);
            let pulls = now.pulls.saturating_sub(then.pulls);
            // Without packets nobody counts the engine's fetches: its period says how many there were.
            let pulls = if pulls == 0 { frames / PERIOD } else { pulls };
            Tally {
                pulls,
                frames,
                nanoseconds: nanoseconds(frames),
            }
        };
        Self {
            live: tally(self.live, before.live),
            muted: tally(self.muted, before.muted),
        }
    }
}

impl Clients {
    /// A look: what the driver counted, who has a session on the endpoint `ours`, or nothing if that cannot be told now, and what
    /// events said of processes.
    pub(crate) fn look(
        &mut self,
        snapshot: &Snapshot,
        (sessions, ours): (Option<&[Session]>, &[String]),
        processes: &Processes,
        system: &dyn System,
        now: When,
    ) {
        let got = Got::of(snapshot);
        let news = got.since(self.before.replace(got).unwrap_or(got));
        if snapshot.opened > 0 {
            self.engine_since_ns.get_or_insert(now.wall_ns);
        }
        let Some(sessions) = sessions else { return };
        let there = |session: &&Session| {
            ours.contains(&session.endpoint) && session.pid != Some(std::process::id())
        };
        for app in &mut self.apps {
            let session = sessions
                .iter()
                .filter(there)
                .find(|session| session.id == app.session);
            let state = match session {
                Some(session) if session.active => ClientState::Running,
                Some(_) => ClientState::Corked,
                None => ClientState::Gone,
            };
            let of_process = |session: &&Session| session.pid == app.client.who.pid;
            let alone = sessions.iter().filter(there).filter(of_process).count() < 2;
            app.add(state, news, now);
            app.hear(processes, alone);
        }
        for session in sessions.iter().filter(there) {
            if self.apps.iter().any(|app| app.session == session.id) {
                continue;
            }
            self.last_id += 1;
            self.apps.push(App::new(
                ENGINE + self.last_id,
                session,
                processes,
                system,
                now,
            ));
        }
    }

    /// All of them.
    pub(crate) fn all(&self, snapshot: &Snapshot, now: When) -> Vec<Client> {
        let engine = self
            .engine_since_ns
            .map(|since_ns| engine(snapshot, since_ns, now));
        let apps = self.apps.iter().map(|app| app.client.clone());
        engine.into_iter().chain(apps).collect()
    }

    /// Drops the apps among these that left. The engine never does.
    pub(crate) fn forget(&mut self, gone: &[u64]) {
        self.apps
            .retain(|app| app.client.state != ClientState::Gone || !gone.contains(&app.client.id));
    }
}

fn engine(snapshot: &Snapshot, since_ns: u64, now: When) -> Client {
    /// `KSSTATE_RUN`.
    const RUN: u32 = 3;
    let got = Got::of(snapshot);
    let last_ns = snapshot.last_pull_ns;
    Client {
        id: ENGINE,
        who: Who {
            app: "Windows audio engine".into(),
            stream: String::new(),
            pid: None,
            executable: None,
            // Only Windows itself opens the driver's pin; which process of it, the driver is not told.
            identity: Identity::Claimed,
            puller: None,
            api: Api::Wasapi,
            purpose: Purpose::Engine,
        },
        state: match snapshot.state {
            RUN => ClientState::Running,
            _ => ClientState::Corked,
        },
        app_muted: false,
        counted_by: counted_by(snapshot),
        counts: Counts {
            live: got.live,
            muted: got.muted,
            xruns: 0,
            lost: snapshot.lost_pulls,
            intervals: Intervals {
                p50_us: snapshot.interval_p50_ns / 1000,
                p99_us: snapshot.interval_p99_ns / 1000,
                max_us: snapshot.interval_max_ns / 1000,
            },
        },
        offers: None,
        first_seen_ns: since_ns,
        last_pull_ns: (last_ns > 0).then(|| {
            now.wall_ns
                .saturating_sub(now.host_ns.saturating_sub(last_ns))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use truemute_agent::simulated::Simulated;

    const OURS: &str = "{truemute}";

    fn session(id: &str, active: bool) -> Session {
        Session {
            id: id.into(),
            pid: Some(70_000),
            name: id.into(),
            endpoint: OURS.into(),
            active,
        }
    }

    fn at(second: u64) -> When {
        When {
            host_ns: second * 1_000_000_000,
            wall_ns: (1000 + second) * 1_000_000_000,
        }
    }

    fn snapshot(live: u64, muted: u64) -> Snapshot {
        Snapshot {
            opened: 1,
            state: 3,
            live_pulls: live,
            live_pull_frames: live * 480,
            muted_pulls: muted,
            muted_pull_frames: muted * 480,
            ..Snapshot::default()
        }
    }

    #[test]
    fn apps_get_what_the_engine_got_while_they_were_active_and_the_engine_what_it_got() {
        let system = Simulated::new(Vec::new());
        let mut clients = Clients::default();
        let mut look = |live, muted, sessions: Option<&[Session]>, second| {
            let (snapshot, now) = (snapshot(live, muted), at(second));
            let none = Processes::default();
            clients.look(&snapshot, (sessions, &[OURS.into()]), &none, &system, now);
            clients.all(&snapshot, now)
        };
        let elsewhere = Session {
            endpoint: "{headset}".into(),
            ..session("c", true)
        };
        let both = [session("a", true), session("b", false), elsewhere];
        let seen = look(1000, 0, Some(&both), 0);
        let of: Vec<_> = seen
            .iter()
            .map(|it| {
                (
                    it.who.app.as_str(),
                    it.state,
                    it.counted_by,
                    it.counts.live.pulls,
                )
            })
            .collect();
        assert_eq!(
            of,
            [
                (
                    "Windows audio engine",
                    ClientState::Running,
                    CountedBy::Driver,
                    1000
                ),
                // What was before it came is not its own.
                ("a", ClientState::Running, CountedBy::Session, 0),
                ("b", ClientState::Corked, CountedBy::Session, 0),
            ]
        );
        // Both for a second; and the gate was closed for the last half.
        let seen = look(1050, 50, Some(&[session("a", true), session("b", true)]), 1);
        let pulls = |of: &Client| (of.counts.live.pulls, of.counts.muted.pulls);
        assert_eq!(pulls(&seen[1]), (50, 50));
        assert_eq!(pulls(&seen[2]), (25, 25), "it began in between");
        assert_eq!(seen[1].counts.live.frames, 50 * 480);
        assert_eq!(seen[1].last_pull_ns, Some(at(1).wall_ns));
        // The list cannot be had: nothing is made up, and nobody is gone.
        let seen = look(1060, 50, None, 2);
        assert_eq!(pulls(&seen[1]), (50, 50));
        assert_eq!(seen[1].state, ClientState::Running);
        let seen = look(1060, 60, Some(&[session("b", true)]), 3);
        assert_eq!(
            (pulls(&seen[1]), seen[1].state),
            ((50, 55), ClientState::Gone)
        );
        assert_eq!(pulls(&seen[2]), (25, 35));
        clients.forget(&[1, 2, 3]);
        let now = at(4);
        let left = clients.all(&snapshot(1060, 60), now);
        let left: Vec<_> = left.iter().map(|it| it.id).collect();
        assert_eq!(left, [1, 3], "the engine and who is still there");
    }

    #[test]
    fn without_packets_the_period_says_how_many_fetches_there_were() {
        let then = Got::of(&snapshot(0, 0));
        let mut now = snapshot(0, 0);
        now.live_frames = 96_000;
        let news = Got::of(&now).since(then);
        assert_eq!((news.live.pulls, news.live.frames), (200, 96_000));
        // Nothing shows that anybody read them.
        assert_eq!(engine(&now, 0, at(0)).counted_by, CountedBy::Written);
        // A stream that has just begun is not judged, and has got nothing that could be told.
        now.live_frames = 48_000;
        let young = engine(&now, 0, at(0));
        assert_eq!(young.counted_by, CountedBy::Driver);
        assert_eq!(young.counts, Counts::default());
        now.muted_pulls = 1;
        assert_eq!(engine(&now, 0, at(0)).counted_by, CountedBy::Driver);
    }
}
