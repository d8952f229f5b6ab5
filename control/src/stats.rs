//! Figures: turns what the backend and the history counted into the contract's [`Stats`], and says what a client did while
//! muted. Grouping by app and tables for people are [`crate::report`]'s matter.

mod csv;
mod since;

use truemute_core::observed::{self, Client, CountedBy, Tally, Who};

use crate::clock;
use crate::protocol::{
    Behaviour, Bypass, BypassPath, ClientStats, Connected, Figures, IntervalUs, SCHEMA, Stats,
    Unattributed,
};
use crate::store::{BypassRecord, ClientRecord, ConnectedNs};

pub use self::csv::write_csv;
pub use self::since::{SinceError, parse_since};

/// Share of the muted time, in percent, that pulls must span to count as continuous.
const CONTINUOUS_PERCENT: u128 = 95;

/// The contract's form of what was counted in a window of time (both ends in nanoseconds since 1970), the clients with the
/// most pulls while muted first.
pub fn of_records(
    mut records: Vec<ClientRecord>,
    unattributed: Tally,
    mut bypasses: Vec<BypassRecord>,
    since_ns: u64,
    until_ns: u64,
) -> Stats {
    records.sort_by_key(|record| {
        let counts = &record.client.counts;
        let pulls = (counts.muted.pulls, counts.live.pulls);
        (std::cmp::Reverse(pulls), record.instance, record.client.id)
    });
    bypasses.sort_by_key(|record| {
        let bypass = &record.bypass;
        (
            std::cmp::Reverse(bypass.since_ns),
            record.instance,
            bypass.id,
        )
    });
    Stats {
        schema: SCHEMA,
        since: clock::rfc3339(since_ns),
        until: clock::rfc3339(until_ns),
        clients: records.iter().map(of_record).collect(),
        unattributed: Unattributed {
            pulls: unattributed.pulls,
            frames: unattributed.frames,
        },
        bypasses: bypasses
            .iter()
            .map(|record| of_bypass(record.instance, &record.bypass))
            .collect(),
    }
}

/// One client's figures.
pub fn of_record(record: &ClientRecord) -> ClientStats {
    let Client {
        id,
        ref who,
        state,
        app_muted,
        counted_by,
        counts,
        offers,
        first_seen_ns,
        last_pull_ns,
    } = record.client;
    let counted_exactly = matches!(counted_by, CountedBy::ActivationRecord | CountedBy::Driver);
    ClientStats {
        id,
        instance: record.instance,
        who: presentable(who),
        state,
        app_muted,
        live: figures(&counts.live),
        muted: figures(&counts.muted),
        exact: counted_exactly && counts.lost == 0 && counts.xruns == 0,
        counted_by,
        xruns: counts.xruns,
        lost: counts.lost,
        first_seen: clock::rfc3339(first_seen_ns),
        last_pull: last_pull_ns.map(clock::rfc3339),
        interval_us: IntervalUs {
            p50: counts.intervals.p50_us,
            p99: counts.intervals.p99_us,
            max: counts.intervals.max_us,
        },
        connected: Connected {
            live_seconds: seconds(record.connected.live),
            muted_seconds: seconds(record.connected.muted),
        },
        behaviour_while_muted: behaviour(&counts.muted, record.connected),
        offers,
    }
}

/// One bypass, as the contract writes it.
pub fn of_bypass(instance: u64, bypass: &observed::Bypass) -> Bypass {
    let observed::Bypass {
        id,
        ref who,
        state,
        ref real_mic,
        ref through,
        since_ns,
        until_ns,
        duration_ns,
        frames,
        frames_exact,
        done,
        cuts,
    } = *bypass;
    Bypass {
        id,
        instance,
        who: presentable(who),
        state,
        real_mic: real_mic.clone(),
        path: if through.is_empty() {
            BypassPath::Direct
        } else {
            BypassPath::Indirect
        },
        through: through.clone(),
        since: clock::rfc3339(since_ns),
        until: until_ns.map(clock::rfc3339),
        seconds: seconds(duration_ns),
        frames,
        frames_exact,
        done,
        cuts,
    }
}

/// A path that is not UTF-8 cannot be written as JSON and must not spoil the report, or end the trace.
pub(crate) fn presentable(who: &Who) -> Who {
    let executable = who.executable.as_deref();
    Who {
        executable: executable.map(|path| path.to_string_lossy().into_owned().into()),
        ..who.clone()
    }
}

/// What a client did while the gate was muted.
pub fn behaviour(muted: &Tally, connected: ConnectedNs) -> Behaviour {
    if muted.pulls == 0 {
        return if connected.muted == 0 {
            Behaviour::None
        } else {
            Behaviour::Paused
        };
    }
    let pulled = u128::from(muted.nanoseconds) * 100;
    if pulled >= u128::from(connected.muted) * CONTINUOUS_PERCENT {
        Behaviour::Continuous
    } else {
        Behaviour::Intermittent
    }
}

/// Pulls and frames as they are, time in seconds.
pub fn figures(tally: &Tally) -> Figures {
    Figures {
        pulls: tally.pulls,
        frames: tally.frames,
        seconds: seconds(tally.nanoseconds),
    }
}

fn seconds(nanoseconds: u64) -> f64 {
    // Whole microseconds: exact in an f64 for 285 years, and short as text.
    (nanoseconds / 1000) as f64 / 1e6
}

#[cfg(test)]
pub(crate) mod tests {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;
    use std::path::PathBuf;

    use truemute_core::observed::{Api, ClientState, Counts, Identity, Intervals, Puller, Purpose};

    use super::*;

    /// 2026-11-22T09:00:00Z.
    pub(crate) const T0: u64 = 1_795_338_000_000_000_000;
    pub(crate) const SECOND: u64 = 1_000_000_000;

    pub(crate) fn tally(pulls: u64) -> Tally {
        Tally {
            pulls,
            frames: pulls * 480,
            nanoseconds: pulls * 10_000_000,
        }
    }

    pub(crate) fn client(id: u64, app: &str) -> Client {
        Client {
            id,
            who: Who {
                app: app.into(),
                stream: "capture".into(),
                pid: Some(4242),
                executable: Some(format!("/usr/bin/{app}").into()),
                identity: Identity::Verified,
                puller: Some(Puller {
                    pid: 4242,
                    name: app.into(),
                }),
                api: Api::Pipewire,
                purpose: Purpose::Recording,
            },
            state: ClientState::Running,
            app_muted: false,
            counted_by: CountedBy::ActivationRecord,
            counts: Counts::default(),
            offers: None,
            first_seen_ns: T0,
            last_pull_ns: None,
        }
    }

    pub(crate) fn some_stats() -> Stats {
        let mut zoom = client(7, "zoom");
        zoom.counts = Counts {
            live: tally(100),
            muted: tally(6000),
            xruns: 0,
            lost: 0,
            intervals: Intervals {
                p50_us: 10_000,
                p99_us: 10_400,
                max_us: 21_000,
            },
        };
        zoom.last_pull_ns = Some(T0 + 61 * SECOND + 123_456_789);
        let mut meet = client(8, "firefox");
        meet.who.api = Api::Pulse;
        meet.who.identity = Identity::Corroborated;
        meet.counts.live = tally(6100);
        meet.counts.xruns = 1;
        meet.state = ClientState::Corked;
        let mut evil = client(9, "=HYPERLINK(\"http://x\")");
        evil.who.stream = "a,b\"c\nd".into();
        evil.who.executable = None;
        evil.who.pid = None;
        evil.who.puller = None;
        evil.who.identity = Identity::Claimed;
        let connected = ConnectedNs {
            live: SECOND,
            muted: 60 * SECOND,
        };
        let records = [evil, meet, zoom].map(|client| ClientRecord {
            instance: 1,
            client,
            connected,
        });
        of_records(records.to_vec(), tally(3), Vec::new(), T0, T0 + 61 * SECOND)
    }

    #[test]
    fn most_pulls_while_muted_come_first() {
        let stats = some_stats();
        let ids: Vec<u64> = stats.clients.iter().map(|client| client.id).collect();
        assert_eq!(ids, [7, 8, 9]);
    }

    #[test]
    fn json_is_the_contract() {
        insta::assert_snapshot!(serde_json::to_string_pretty(&some_stats()).unwrap());
    }

    #[test]
    fn only_clean_counts_from_activation_records_are_exact() {
        let exact = |change: &dyn Fn(&mut Client)| {
            let mut client = client(1, "app");
            change(&mut client);
            let connected = ConnectedNs::default();
            of_record(&ClientRecord {
                instance: 1,
                client,
                connected,
            })
            .exact
        };
        assert!(exact(&|_| ()));
        assert!(!exact(&|client| client.counts.xruns = 1));
        assert!(!exact(&|client| client.counts.lost = 1));
        for estimate in [
            CountedBy::Profiler,
            CountedBy::Session,
            CountedBy::Events,
            CountedBy::Written,
        ] {
            assert!(
                !exact(&|client| client.counted_by = estimate),
                "{estimate:?}"
            );
        }
    }

    #[test]
    fn behaviour_follows_the_share_of_muted_time() {
        let connected = |muted| ConnectedNs { live: 5, muted };
        let of = |pulls, muted| behaviour(&tally(pulls), connected(muted));
        assert_eq!(of(0, 0), Behaviour::None);
        assert_eq!(of(0, SECOND), Behaviour::Paused);
        assert_eq!(of(94, SECOND), Behaviour::Intermittent);
        assert_eq!(of(95, SECOND), Behaviour::Continuous);
        assert_eq!(of(101, SECOND), Behaviour::Continuous);
        assert_eq!(of(1, 0), Behaviour::Continuous);
    }

    #[test]
    fn a_path_that_is_not_utf8_does_not_spoil_the_report() {
        let mut client = client(1, "app");
        client.who.executable = Some(PathBuf::from(OsString::from_vec(b"/tmp/\xff".to_vec())));
        let connected = ConnectedNs::default();
        let stats = of_record(&ClientRecord {
            instance: 1,
            client,
            connected,
        });
        assert!(
            serde_json::to_string(&stats)
                .unwrap()
                .contains("/tmp/\u{fffd}")
        );
    }
}
