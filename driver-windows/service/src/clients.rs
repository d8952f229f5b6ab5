//! The virtual mic's clients in the words of every backend. The audio engine is the one that the driver counts, exactly: it pulls
//! once for all apps. Each app's session on the endpoint is a client too, of which only the presence is exact: what it got is
//! estimated, as what the engine got while the session was active. The two kinds are never added up
//! ([`Purpose::Engine`], [`CountedBy::Session`]).

use std::path::PathBuf;

use truemute_agent::bypass::{identity, name};
use truemute_agent::driver::When;
use truemute_agent::system::System;
use truemute_core::observed::{
    Api, Client, ClientState, CountedBy, Counts, Identity, Intervals, Purpose, Tally, Who,
};
use truemute_windows_interface::RATE;
use truemute_windows_interface::record::Snapshot;

use crate::sessions::Session;

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

#[derive(Debug)]
struct App {
    session: String,
    client: Client,
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

impl Got {
    fn of(snapshot: &Snapshot) -> Self {
        let tally = |pulls, frames| Tally {
            pulls,
            frames,
            nanoseconds: nanoseconds(frames),
        };
        // Where the engine fetches packets, their frames; where it does not, which Windows decides once, those that were written for it.
        match snapshot.live_pulls + snapshot.muted_pulls {
            0 => Self {
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
    /// A look: what the driver counted, and who has a session on the endpoint `ours`; nothing if that cannot be told now.
    pub(crate) fn look(
        &mut self,
        snapshot: &Snapshot,
        sessions: Option<&[Session]>,
        ours: &[String],
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
            app.add(state, news, now);
        }
        for session in sessions.iter().filter(there) {
            if self.apps.iter().any(|app| app.session == session.id) {
                continue;
            }
            self.last_id += 1;
            let client = first_sight(ENGINE + self.last_id, session, system, now);
            self.apps.push(App {
                session: session.id.clone(),
                client,
            });
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

impl App {
    /// It is now in `state`, and since the last look the engine got `news`: all of it counts for who was active at both looks, and
    /// half of it, on average, for who began or ended in between.
    fn add(&mut self, state: ClientState, news: Got, now: When) {
        let was = std::mem::replace(&mut self.client.state, state);
        let share = match (was == ClientState::Running, state == ClientState::Running) {
            (true, true) => 1,
            (true, false) | (false, true) => 2,
            (false, false) => return,
        };
        let counts = &mut self.client.counts;
        for (tally, news) in [
            (&mut counts.live, news.live),
            (&mut counts.muted, news.muted),
        ] {
            tally.pulls += news.pulls / share;
            tally.frames += news.frames / share;
            tally.nanoseconds = nanoseconds(tally.frames);
        }
        if news.live.frames + news.muted.frames > 0 {
            self.client.last_pull_ns = Some(now.wall_ns);
        }
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
        counted_by: CountedBy::Driver,
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
        first_seen_ns: since_ns,
        last_pull_ns: (last_ns > 0).then(|| {
            now.wall_ns
                .saturating_sub(now.host_ns.saturating_sub(last_ns))
        }),
    }
}

/// Who it is, is asked once: its process may end before it is seen again, and its number go to another one.
fn first_sight(id: u64, session: &Session, system: &dyn System, now: When) -> Client {
    let executable: Option<PathBuf> = session.pid.and_then(|pid| system.executable(pid));
    let label = Some(session.name.as_str()).filter(|name| !name.is_empty());
    let app = match session.pid {
        Some(pid) => name(executable.as_deref(), label, pid),
        None => label.unwrap_or("several processes").to_owned(),
    };
    Client {
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
        counted_by: CountedBy::Session,
        counts: Counts::default(),
        first_seen_ns: now.wall_ns,
        last_pull_ns: None,
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
            clients.look(&snapshot, sessions, &[OURS.into()], &system, now);
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
        now.live_frames = 48_000;
        let news = Got::of(&now).since(then);
        assert_eq!((news.live.pulls, news.live.frames), (100, 48_000));
    }
}
