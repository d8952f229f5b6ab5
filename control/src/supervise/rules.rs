//! When a supervised daemon counts as hung, and what follows from how it ended. Pure, with time as a parameter.

use std::time::{Duration, Instant};

use super::notify::Told;
use super::{STOP, WATCHDOG};

/// How long a daemon may take until it is ready. It does not wait for the audio server.
const START: Duration = Duration::from_secs(30);

/// A daemon that ran for this long was well: the next pause is a short one again.
const WELL: Duration = Duration::from_secs(10);

/// First pause before another start.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// Longest pause before another start.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How a daemon ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// By itself, with this code.
    Exit(i32),
    /// By a signal, ours or another.
    Killed,
}

/// One daemon from its start to its end.
#[derive(Clone, Debug)]
pub(super) struct Run {
    begun: Instant,
    /// It was ready once.
    pub(super) ready: bool,
    /// We, or somebody else, told it to end.
    pub(super) told_to_end: bool,
    /// How long it may be silent.
    limit: Duration,
    /// When it hangs unless it is heard of again; none once it is killed.
    deadline: Option<Instant>,
    /// What we wait for until then, and since when.
    waiting: Option<Instant>,
    pub(super) end: Option<End>,
    pub(super) ended_at: Instant,
}

impl Run {
    /// It was started at `now`.
    pub(super) fn begun(now: Instant) -> Self {
        Self {
            begun: now,
            ready: false,
            told_to_end: false,
            limit: WATCHDOG,
            deadline: Some(now + START),
            waiting: None,
            end: None,
            ended_at: now,
        }
    }

    /// It told something.
    pub(super) fn heard(&mut self, told: Told, now: Instant) {
        match told {
            Told::Stopping => self.told_to_end(now),
            Told::Ready | Told::Watchdog | Told::Patience(_) if self.told_to_end => {}
            Told::Ready => {
                self.ready = true;
                self.deadline = Some(now + self.limit);
            }
            Told::Patience(limit) if self.ready => {
                self.limit = limit;
                self.deadline = Some(now + limit);
            }
            Told::Watchdog if self.ready => self.deadline = Some(now + self.limit),
            // Not yet serving: the limit of the start holds.
            Told::Watchdog | Told::Patience(_) => {}
        }
    }

    /// It was told to end.
    pub(super) fn told_to_end(&mut self, now: Instant) {
        if !self.told_to_end {
            self.told_to_end = true;
            self.deadline = Some(now + STOP);
        }
    }

    /// How long to wait for its next word; none if nothing but its end can come.
    pub(super) fn patience(&mut self, now: Instant) -> Option<Duration> {
        self.waiting = self.deadline.map(|deadline| deadline.max(now));
        Some(self.waiting? - now)
    }

    /// Whether it hangs, as nothing came within [`Run::patience`]. True once. Where we ourselves wake up much later than we
    /// wanted, the machine stood still and not the daemon alone: it gets another chance.
    pub(super) fn is_hung(&mut self, now: Instant) -> bool {
        let late = self
            .waiting
            .map_or(Duration::ZERO, |until| now.saturating_duration_since(until));
        if late > WATCHDOG / 4 {
            self.deadline = Some(now + self.limit);
            return false;
        }
        self.deadline.take_if(|deadline| *deadline <= now).is_some()
    }
}

/// What to do after an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// All is in order.
    End,
    /// All is over, and not in order.
    Fail,
    /// Start another, after a pause.
    StartAgain(Duration),
}

/// What was learnt from former daemons.
#[derive(Clone, Debug, Default)]
pub(super) struct Rules {
    ever_ready: bool,
    pause: Option<Duration>,
}

impl Rules {
    /// What follows from a run that has ended.
    pub(super) fn next(&mut self, run: &Run) -> Next {
        self.ever_ready |= run.ready;
        match run.end {
            Some(End::Exit(0)) => return Next::End,
            _ if run.told_to_end => return Next::Fail,
            // Its configuration or another daemon stands against it, and it has said so.
            Some(End::Exit(_)) if !self.ever_ready => return Next::Fail,
            _ => {}
        }
        let was_well = run.ready && run.ended_at.saturating_duration_since(run.begun) >= WELL;
        let pause = self.pause.filter(|_| !was_well);
        let pause = pause.map_or(FIRST_PAUSE, |last| (last * 2).min(LONGEST_PAUSE));
        self.pause = Some(pause);
        Next::StartAgain(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: Duration = Duration::from_millis(1);

    fn ready(now: Instant) -> Run {
        let mut run = Run::begun(now);
        run.heard(Told::Ready, now);
        run
    }

    fn ended(mut run: Run, end: End, now: Instant) -> Run {
        run.end = Some(end);
        run.ended_at = now;
        run
    }

    #[test]
    fn a_daemon_that_falls_silent_hangs_once() {
        let start = Instant::now();
        let mut run = ready(start);
        let fed = start + WATCHDOG - MS;
        run.heard(Told::Watchdog, fed);
        assert_eq!(run.patience(fed), Some(WATCHDOG));
        assert!(!run.is_hung(fed + WATCHDOG - MS));
        assert!(run.is_hung(fed + WATCHDOG + MS));
        assert!(!run.is_hung(fed + WATCHDOG + MS));
        assert_eq!(run.patience(fed + WATCHDOG + MS), None);
    }

    #[test]
    fn whoever_slept_himself_does_not_blame_the_daemon() {
        let start = Instant::now();
        let mut run = ready(start);
        run.patience(start);
        let woken = start + Duration::from_secs(60);
        assert!(!run.is_hung(woken));
        assert_eq!(run.patience(woken), Some(WATCHDOG));
        assert!(run.is_hung(woken + WATCHDOG));
    }

    #[test]
    fn it_may_ask_for_more_time() {
        let start = Instant::now();
        let mut run = ready(start);
        run.heard(Told::Patience(WATCHDOG * 20), start);
        assert_eq!(run.patience(start), Some(WATCHDOG * 20));
        let later = start + WATCHDOG * 2;
        run.heard(Told::Watchdog, later);
        assert_eq!(run.patience(later), Some(WATCHDOG * 20));
        run.heard(Told::Patience(WATCHDOG), later);
        assert_eq!(run.patience(later), Some(WATCHDOG));
        assert!(run.is_hung(later + WATCHDOG));
    }

    #[test]
    fn starting_and_ending_have_limits_of_their_own() {
        let start = Instant::now();
        let mut run = Run::begun(start);
        run.heard(Told::Watchdog, start);
        assert_eq!(run.patience(start), Some(START));
        let mut run = ready(start);
        run.heard(Told::Stopping, start);
        run.heard(Told::Watchdog, start);
        assert_eq!(run.patience(start), Some(STOP));
    }

    #[test]
    fn only_what_never_served_and_gave_up_is_not_started_again() {
        let now = Instant::now();
        let mut rules = Rules::default();
        assert_eq!(rules.next(&ended(ready(now), End::Exit(0), now)), Next::End);
        let mut rules = Rules::default();
        let refused = ended(Run::begun(now), End::Exit(1), now);
        assert_eq!(rules.next(&refused), Next::Fail);
        let mut asked = ready(now);
        asked.told_to_end(now);
        assert_eq!(rules.next(&ended(asked, End::Killed, now)), Next::Fail);
        let killed = ended(Run::begun(now), End::Killed, now);
        assert_eq!(rules.next(&killed), Next::StartAgain(FIRST_PAUSE));
        rules.next(&ended(ready(now), End::Exit(1), now));
        assert!(matches!(rules.next(&refused), Next::StartAgain(_)));
    }

    proptest! {
        /// Pauses grow up to the longest, and are short again after a daemon that was well.
        #[test]
        fn pauses_grow_and_are_bounded(seconds in prop::collection::vec(0u64..20, 1..40)) {
            let now = Instant::now();
            let mut rules = Rules::default();
            let mut last = Duration::ZERO;
            for seconds in seconds {
                let run = ended(ready(now), End::Killed, now + Duration::from_secs(seconds));
                let Next::StartAgain(pause) = rules.next(&run) else { panic!() };
                prop_assert!((FIRST_PAUSE..=LONGEST_PAUSE).contains(&pause));
                if Duration::from_secs(seconds) >= WELL {
                    prop_assert_eq!(pause, FIRST_PAUSE);
                } else {
                    prop_assert!(pause >= last);
                }
                last = pause;
            }
        }
    }
}
