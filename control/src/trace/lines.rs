//! The daemon's side of the trace: turns one listener's feed into lines. The feed bounds what waits and counts what it had to
//! drop; nothing here touches a socket or a file.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use truemute_core::observed::{Applied, Bypass, Client, Counts, Pull, Snapshot};

use crate::clock::{Stamp, rfc3339, rfc3339_us};
use crate::daemon::GateChange;
use crate::daemon::feed::{Feed, Item, Note, Quiet};
use crate::protocol::{SCHEMA, TraceClient, TraceLine};
use crate::stats::{figures, of_bypass, presentable};

/// One listener's lines. Dropping it ends its trace.
#[derive(Debug)]
pub struct Lines {
    feed: Feed,
    ready: VecDeque<TraceLine>,
    /// Pulls that are not lines yet, with the clocks as they were when these pulls were taken from the feed.
    pulls: Option<(Arc<Vec<Pull>>, usize, Stamp)>,
    instance: Option<u64>,
    /// As last told, by id.
    clients: BTreeMap<u64, Client>,
    bypasses: BTreeMap<u64, Bypass>,
    pulls_told: u64,
    lost: u64,
    over: bool,
}

/// What [`Lines::next`] found.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// The next line.
    Line(TraceLine),
    /// Nothing happened in the given time.
    Idle,
    /// The trace is over; the line before was its end line.
    Over,
}

impl Lines {
    /// The lines of a feed of [`Topic::Trace`](crate::daemon::feed::Topic::Trace). The first one is the start line; the
    /// gate and the clients that are connected follow.
    pub fn new(feed: Feed) -> Lines {
        let mut lines = Lines {
            feed,
            ready: VecDeque::new(),
            pulls: None,
            instance: None,
            clients: BTreeMap::new(),
            bypasses: BTreeMap::new(),
            pulls_told: 0,
            lost: 0,
            over: false,
        };
        lines.begin();
        lines
    }

    /// The feed starts with the gate and, where a backend runs, a look. The start line comes before both and names the
    /// look's instance.
    fn begin(&mut self) {
        let mut first = Vec::new();
        while let Ok(item) = self.feed.next(Duration::ZERO) {
            let gate = matches!(item, Item::Note(Note::Gate(_)));
            first.push(item);
            if !gate {
                break;
            }
        }
        let instance = first.iter().find_map(|item| match item {
            Item::Note(Note::Look(look)) => Some(look.instance),
            _ => None,
        });
        self.instance = instance;
        self.start(instance.unwrap_or(0));
        for item in first {
            self.take(item);
        }
    }

    /// The next line; waits for it, at most `timeout`.
    pub fn next(&mut self, timeout: Duration) -> Next {
        // Notes that become no line must not make the caller wait for ever.
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(line) = self.ready.pop_front().or_else(|| self.next_pull()) {
                return Next::Line(line);
            }
            if self.over {
                return Next::Over;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.feed.next(left) {
                Ok(item) => self.take(item),
                Err(Quiet::Timeout) => return Next::Idle,
                Err(Quiet::Closed) => {
                    self.over = true;
                    self.ready.push_back(end_line(self.pulls_told, self.lost));
                }
            }
        }
    }

    fn take(&mut self, item: Item) {
        match item {
            Item::Lost(lines) => self.lose(lines),
            Item::Note(Note::Pulls(pulls, lost)) => {
                self.lose(lost);
                self.pulls = Some((pulls, 0, Stamp::now()));
            }
            Item::Note(Note::Gate(change)) => self.ready.push_back(gate_line(&change)),
            Item::Note(Note::Look(look)) => self.look(&look),
            Item::Note(Note::State(_)) => {}
        }
    }

    fn lose(&mut self, lines: u64) {
        if lines > 0 {
            self.lost += lines;
            self.ready.push_back(TraceLine::Lost { lines });
        }
    }

    fn next_pull(&mut self) -> Option<TraceLine> {
        let (pulls, at, anchor) = self.pulls.as_mut()?;
        let Some(pull) = pulls.get(*at) else {
            self.pulls = None;
            return None;
        };
        *at += 1;
        self.pulls_told += 1;
        Some(TraceLine::Pull {
            monotonic_ns: pull.monotonic_ns,
            time: rfc3339_us(anchor.wall_of(pull.monotonic_ns)),
            client: pull.client,
            position: pull.position,
            frames: pull.frames,
            live: pull.live,
            flagged: pull.flagged,
        })
    }

    /// Tells of clients and bypasses that are new, changed or gone; counts alone are no change.
    fn look(&mut self, look: &Snapshot) {
        if self.instance != Some(look.instance) {
            self.clients.clear();
            self.bypasses.clear();
            self.instance = Some(look.instance);
            self.start(look.instance);
        }
        // The counts are as old as the look, which the line's times must say.
        let seen = Stamp::now().at_wall(look.at_ns);
        for client in &look.clients {
            let who = Client {
                counts: Counts::default(),
                last_pull_ns: None,
                ..client.clone()
            };
            if self.clients.get(&client.id) != Some(&who) {
                self.ready.push_back(client_line(client, seen));
                self.clients.insert(client.id, who);
            }
        }
        // A gone client stays in the looks until the backend was told to forget it.
        self.clients
            .retain(|id, _| look.clients.iter().any(|client| client.id == *id));
        for bypass in &look.bypasses {
            let who = Bypass {
                duration_ns: 0,
                frames: 0,
                ..bypass.clone()
            };
            if self.bypasses.get(&bypass.id) != Some(&who) {
                self.ready.push_back(TraceLine::Bypass {
                    monotonic_ns: seen.monotonic_ns,
                    time: rfc3339_us(seen.wall_ns),
                    bypass: Box::new(of_bypass(look.instance, bypass)),
                });
                self.bypasses.insert(bypass.id, who);
            }
        }
        self.bypasses
            .retain(|id, _| look.bypasses.iter().any(|bypass| bypass.id == *id));
    }

    fn start(&mut self, instance: u64) {
        let now = Stamp::now();
        self.ready.push_back(TraceLine::Start {
            schema: SCHEMA,
            monotonic_ns: now.monotonic_ns,
            time: rfc3339_us(now.wall_ns),
            version: env!("CARGO_PKG_VERSION").into(),
            instance,
        });
    }
}

fn gate_line(change: &GateChange) -> TraceLine {
    let (clock, position) = match &change.applied {
        Some(Applied::Cycle {
            clock, position, ..
        }) => (Some(clock.clone()), Some(*position)),
        Some(Applied::Idle { .. }) | None => (None, None),
    };
    TraceLine::Gate {
        monotonic_ns: change.monotonic_ns,
        time: rfc3339_us(change.wall_ns),
        gate: change.gate,
        reason: change.reason.clone(),
        clock,
        position,
    }
}

fn client_line(client: &Client, seen: Stamp) -> TraceLine {
    TraceLine::Client {
        monotonic_ns: seen.monotonic_ns,
        time: rfc3339_us(seen.wall_ns),
        client: Box::new(TraceClient {
            id: client.id,
            who: presentable(&client.who),
            state: client.state,
            app_muted: client.app_muted,
            live: figures(&client.counts.live),
            muted: figures(&client.counts.muted),
            counted_by: client.counted_by,
            xruns: client.counts.xruns,
            lost: client.counts.lost,
            first_seen: rfc3339(client.first_seen_ns),
        }),
    }
}

/// The last line of a trace that ends in order.
pub(super) fn end_line(pulls: u64, lost: u64) -> TraceLine {
    let now = Stamp::now();
    TraceLine::End {
        monotonic_ns: now.monotonic_ns,
        time: rfc3339_us(now.wall_ns),
        pulls,
        lost,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use truemute_core::observed::ClientState;

    use super::*;
    use crate::daemon::feed::{Publisher, Topic};
    use crate::protocol::GateState;
    use crate::stats::tests::{client, tally};
    use crate::store::bypass_tests::bypass;
    use crate::store::tests::snapshot;

    const NO_WAIT: Duration = Duration::ZERO;

    fn pull(position: u64) -> Pull {
        Pull {
            client: 7,
            monotonic_ns: Stamp::now().monotonic_ns,
            position,
            frames: 480,
            live: false,
            flagged: false,
        }
    }

    fn pulls(positions: impl IntoIterator<Item = u64>, lost: u64) -> Note {
        Note::Pulls(Arc::new(positions.into_iter().map(pull).collect()), lost)
    }

    fn muted() -> Note {
        let now = Stamp::now();
        Note::Gate(Arc::new(GateChange {
            gate: GateState::Muted,
            reason: "cli".into(),
            monotonic_ns: now.monotonic_ns,
            wall_ns: now.wall_ns,
            applied: Some(Applied::Cycle {
                clock: "clock.system.monotonic".into(),
                position: 4800,
                took_us: 3,
            }),
        }))
    }

    fn look(instance: u64, clients: &[Client]) -> Note {
        Note::Look(Arc::new(snapshot(instance, Stamp::now().wall_ns, clients)))
    }

    fn rest(lines: &mut Lines) -> Vec<TraceLine> {
        let mut found = Vec::new();
        while let Next::Line(line) = lines.next(NO_WAIT) {
            found.push(line);
        }
        found
    }

    /// Names of the events, with what tells them apart.
    fn shape(lines: &[TraceLine]) -> Vec<String> {
        let shape = |line: &TraceLine| match line {
            TraceLine::Start { instance, .. } => format!("start {instance}"),
            TraceLine::Client { client, .. } => format!("client {} {:?}", client.id, client.state),
            TraceLine::Bypass { bypass, .. } => format!("bypass {} {:?}", bypass.id, bypass.state),
            TraceLine::Gate { position, .. } => format!("gate {position:?}"),
            TraceLine::Pull { position, .. } => format!("pull {position}"),
            TraceLine::Lost { lines } => format!("lost {lines}"),
            TraceLine::End { pulls, lost, .. } => format!("end {pulls} {lost}"),
        };
        lines.iter().map(shape).collect()
    }

    #[test]
    fn a_trace_tells_the_state_then_what_happens_then_the_end() {
        let publisher = Publisher::default();
        let mut app = client(7, "app");
        let feed =
            publisher.subscribe(Topic::Trace, [muted(), look(1, std::slice::from_ref(&app))]);
        let mut lines = Lines::new(feed);
        publisher.publish(&pulls([0, 480], 0));
        publisher.publish(&pulls([1440], 1));
        app.counts.muted = tally(3);
        publisher.publish(&look(1, std::slice::from_ref(&app)));
        app.state = ClientState::Gone;
        publisher.publish(&look(1, &[app.clone()]));
        publisher.publish(&look(1, &[app]));
        publisher.publish(&look(1, &[]));
        publisher.publish(&look(2, &[]));
        publisher.publish(&muted());
        publisher.close();
        let found = rest(&mut lines);
        assert_eq!(
            shape(&found),
            [
                "start 1",
                "gate Some(4800)",
                "client 7 Running",
                "pull 0",
                "pull 480",
                "lost 1",
                "pull 1440",
                "client 7 Gone",
                "start 2",
                "gate Some(4800)",
                "end 3 1",
            ]
        );
        assert_eq!(lines.next(NO_WAIT), Next::Over);
        let TraceLine::Client { client, .. } = &found[7] else {
            panic!("{:?}", found[7])
        };
        assert_eq!(
            client.muted.pulls, 3,
            "the last line of a client has its final counts"
        );
    }

    #[test]
    fn a_bypass_is_told_when_it_comes_changes_and_goes() {
        let publisher = Publisher::default();
        let mut lines = Lines::new(publisher.subscribe(Topic::Trace, [look(1, &[])]));
        let mut spy = bypass(9);
        let tell = |spies: &[Bypass]| {
            let mut look = snapshot(1, Stamp::now().wall_ns, &[]);
            look.bypasses = spies.to_vec();
            publisher.publish(&Note::Look(Arc::new(look)));
        };
        tell(std::slice::from_ref(&spy));
        // That it got more is no news.
        spy.frames += 480;
        spy.duration_ns += 10_000_000;
        tell(std::slice::from_ref(&spy));
        spy.state = ClientState::Corked;
        tell(std::slice::from_ref(&spy));
        spy.state = ClientState::Gone;
        spy.frames += 480;
        tell(std::slice::from_ref(&spy));
        tell(&[]);
        let found = rest(&mut lines);
        let told = [
            "start 1",
            "bypass 9 Running",
            "bypass 9 Corked",
            "bypass 9 Gone",
        ];
        assert_eq!(shape(&found), told);
        let Some(TraceLine::Bypass { bypass, .. }) = found.last() else {
            panic!("{found:?}")
        };
        assert_eq!(**bypass, of_bypass(1, &spy), "the last has all it got");
    }

    #[test]
    fn without_a_backend_there_is_a_start_line_too() {
        let publisher = Publisher::default();
        let mut lines = Lines::new(publisher.subscribe(Topic::Trace, [muted()]));
        assert_eq!(shape(&rest(&mut lines)), ["start 0", "gate Some(4800)"]);
        assert_eq!(lines.next(NO_WAIT), Next::Idle);
    }

    #[test]
    fn notes_without_news_do_not_hold_the_reader() {
        let publisher = Arc::new(Publisher::default());
        let mut lines = Lines::new(publisher.subscribe(Topic::Trace, [look(1, &[])]));
        rest(&mut lines);
        let telling = std::thread::spawn({
            let publisher = Arc::clone(&publisher);
            move || {
                while publisher.listeners_of(Topic::Trace) > 0 {
                    publisher.publish(&look(1, &[]));
                }
            }
        });
        assert_eq!(lines.next(Duration::from_millis(5)), Next::Idle);
        drop(lines);
        telling.join().unwrap();
    }

    #[test]
    fn a_clients_line_has_the_time_at_which_it_was_counted() {
        let publisher = Publisher::default();
        let second = 1_000_000_000;
        let old = snapshot(1, Stamp::now().wall_ns - second, &[client(7, "app")]);
        let mut lines = Lines::new(publisher.subscribe(Topic::Trace, [Note::Look(Arc::new(old))]));
        let found = rest(&mut lines);
        match &found[..] {
            [
                TraceLine::Start {
                    monotonic_ns: start,
                    ..
                },
                TraceLine::Client {
                    monotonic_ns: counted,
                    ..
                },
            ] => {
                assert!(*counted + second * 9 / 10 < *start);
            }
            found => panic!("{found:?}"),
        }
    }

    #[test]
    fn the_wall_time_of_a_pull_lies_between_two_readings_of_the_wall_clock() {
        let publisher = Publisher::default();
        let mut lines = Lines::new(publisher.subscribe(Topic::Trace, []));
        let before = rfc3339_us(Stamp::now().wall_ns - 1000);
        publisher.publish(&pulls([0], 0));
        let after = rfc3339_us(Stamp::now().wall_ns + 1000);
        match &rest(&mut lines)[1] {
            TraceLine::Pull { time, .. } => assert!(before <= *time && *time <= after),
            line => panic!("not a pull: {line:?}"),
        }
    }

    #[test]
    fn the_example_in_the_documentation_is_a_trace() {
        let papers = include_str!("../../../docs/trace.md");
        let (_, example) = papers.rsplit_once("```json\n").unwrap();
        let (example, _) = example.split_once("```").unwrap();
        let mut events = Vec::new();
        for line in example.lines() {
            let parsed: TraceLine = serde_json::from_str(line).unwrap();
            let again = serde_json::to_value(&parsed).unwrap();
            assert_eq!(
                again,
                serde_json::from_str::<serde_json::Value>(line).unwrap()
            );
            events.push(again["event"].as_str().unwrap().to_owned());
        }
        let all = ["start", "gate", "client", "pull", "lost", "pull", "end"];
        assert_eq!(
            events, all,
            "one of each, and each event has a row in the table"
        );
        assert!(
            all.iter()
                .all(|event| papers.contains(&format!("| `{event}` |")))
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

        /// Whatever is published and read in whatever order: each line is read, or counted as lost at its place.
        #[test]
        fn nothing_is_lost_without_being_counted(
            steps in prop::collection::vec((0_u64..30_000, 0_usize..40_000, 0_u64..3), 1..12),
        ) {
            let publisher = Publisher::default();
            let mut lines = Lines::new(publisher.subscribe(Topic::Trace, []));
            let (mut next, mut read) = (0, Vec::new());
            for (count, taken, lost) in steps {
                publisher.publish(&pulls(next + lost..next + lost + count, lost));
                next += lost + count;
                read.extend((0..taken).map_while(|_| match lines.next(NO_WAIT) {
                    Next::Line(line) => Some(line),
                    Next::Idle | Next::Over => None,
                }));
            }
            publisher.close();
            read.extend(rest(&mut lines));
            let (mut expected, mut pulls_read, mut lines_lost) = (0, 0, 0);
            for line in read {
                match line {
                    TraceLine::Start { .. } => {}
                    TraceLine::Pull { position, .. } => {
                        prop_assert_eq!(position, expected);
                        expected += 1;
                        pulls_read += 1;
                    }
                    TraceLine::Lost { lines } => {
                        expected += lines;
                        lines_lost += lines;
                    }
                    TraceLine::End { pulls, lost, .. } => {
                        prop_assert_eq!((pulls, lost), (pulls_read, lines_lost));
                    }
                    line => prop_assert!(false, "unexpected {:?}", line),
                }
            }
            prop_assert_eq!(expected, next);
        }
    }
}
