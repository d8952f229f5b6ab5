//! Whether the activation records of this server mean what we think: judged on our own record, whose truth we know.
//! Other nodes' records have the same layout, for one server makes them all. Only the judging is here; reading is
//! `activation.rs`.

use super::activation::Reading;

/// Cycles in a row that must fit before the layout is believed.
const CONFIRMATIONS: u32 = 4;
/// Cycles after which a layout that never fitted is refused: xruns at start-up spoil some, never all.
const TRIES: u32 = 64;

/// What is known about the layout so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Not enough cycles seen.
    Open,
    /// The records can be counted from.
    Trusted,
    /// They cannot; the first check that failed most recently says why.
    Refused(Misfit),
}

/// A way in which our own record contradicts what we saw ourselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Misfit {
    /// Not one of the five states.
    #[error("the state is none of those known")]
    Status,
    /// We were not signalled within the last two cycles.
    #[error("the time of the signal is not within the last two cycles")]
    Signal,
    /// We did not wake within the last two cycles, or before the signal.
    #[error("the time of waking is not within the last two cycles, or before the signal")]
    Awake,
    /// Our last cycle did not end between its callback and the next one.
    #[error("the time of finishing is not between the last callback and this one")]
    Finish,
    /// Waking and finishing are the same field.
    #[error("waking and finishing have the same time")]
    NoDuration,
}

/// Compares our own record with the times at which our own callback ran.
#[derive(Debug)]
pub(crate) struct LayoutCheck {
    /// When our last callback began, and the one before.
    began_ns: [Option<u64>; 2],
    fitted: u32,
    tried: u32,
    verdict: Verdict,
}

impl LayoutCheck {
    pub(crate) fn new() -> Self {
        LayoutCheck {
            began_ns: [None; 2],
            fitted: 0,
            tried: 0,
            verdict: Verdict::Open,
        }
    }

    /// Takes the reading of our own record at the start of our process callback, at `now_ns` of the monotonic clock.
    /// Real-time thread, once a cycle; returns the verdict, which changes at most once.
    pub(crate) fn cycle(&mut self, own: Reading, now_ns: u64) -> Verdict {
        if self.verdict != Verdict::Open {
            return self.verdict;
        }
        let [last, before] = self.began_ns;
        self.began_ns = [Some(now_ns), last];
        let (Some(last), Some(before)) = (last, before) else {
            return Verdict::Open;
        };
        self.tried += 1;
        match fits(own, before, last, now_ns) {
            Ok(()) => {
                self.fitted += 1;
                if self.fitted == CONFIRMATIONS {
                    self.verdict = Verdict::Trusted;
                }
            }
            Err(misfit) => {
                self.fitted = 0;
                if self.tried >= TRIES {
                    self.verdict = Verdict::Refused(misfit);
                }
            }
        }
        self.verdict
    }
}

/// `before`, `last` and `now` are the starts of three callbacks in a row.
///
/// Who writes our record differs: 0.3.65 hands a triggered stream's cycle to the server, which writes signal and wake
/// with one time after the callback; 1.4 writes them in our process, before it. Common to both are the windows below.
/// They also tell the three neighbouring times apart: read 8 bytes too early, the signal is a pair of small counters;
/// 8 too late, the finish is a time of signalling, never after the last callback's start.
fn fits(own: Reading, before: u64, last: u64, now: u64) -> Result<(), Misfit> {
    if own.status > 4 {
        Err(Misfit::Status)
    } else if !(before..=now).contains(&own.signal_ns) {
        Err(Misfit::Signal)
    } else if !(own.signal_ns..=now).contains(&own.awake_ns) {
        Err(Misfit::Awake)
    } else if !(last..=now).contains(&own.finish_ns) {
        Err(Misfit::Finish)
    } else if own.awake_ns == own.finish_ns {
        Err(Misfit::NoDuration)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CYCLE: u64 = 1_333_333;
    const START: u64 = 90_000_000_000_000;

    /// What 0.3.65 writes for a triggered stream: everything after the callback of the cycle before.
    fn written_by_server(now: u64) -> Reading {
        let last = now - CYCLE;
        Reading {
            status: 0,
            signal_ns: last + 9_000,
            awake_ns: last + 9_000,
            finish_ns: last + 9_400,
            xruns: 0,
        }
    }

    /// What 1.4 writes: signal and wake of this cycle, finish of the last.
    fn written_by_us(now: u64) -> Reading {
        Reading {
            status: 2,
            signal_ns: now - 20_000,
            awake_ns: now - 4_000,
            finish_ns: now - CYCLE + 8_000,
            xruns: 0,
        }
    }

    fn after(cycles: u32, own: impl Fn(u64) -> Reading) -> Verdict {
        let mut check = LayoutCheck::new();
        (0..cycles)
            .map(|n| START + u64::from(n) * CYCLE)
            .map(|now| check.cycle(own(now), now))
            .last()
            .unwrap()
    }

    #[test]
    fn trusts_what_both_versions_write_after_six_cycles() {
        for own in [written_by_server, written_by_us] {
            assert_eq!(after(5, own), Verdict::Open);
            assert_eq!(after(6, own), Verdict::Trusted);
            assert_eq!(after(500, own), Verdict::Trusted);
        }
    }

    #[test]
    fn refuses_fields_that_moved_by_one() {
        for own in [written_by_server, written_by_us] {
            let earlier = |now| {
                let r: Reading = own(now);
                Reading {
                    signal_ns: 0x1_0000_0002,
                    awake_ns: r.signal_ns,
                    finish_ns: r.awake_ns,
                    ..r
                }
            };
            let later = |now| {
                let r: Reading = own(now);
                let before = own(now - CYCLE);
                Reading {
                    signal_ns: r.awake_ns,
                    awake_ns: r.finish_ns,
                    finish_ns: before.signal_ns,
                    ..r
                }
            };
            assert!(matches!(after(100, earlier), Verdict::Refused(_)));
            assert!(matches!(after(100, later), Verdict::Refused(_)));
        }
    }

    #[test]
    fn refuses_each_contradiction_by_its_name() {
        type Spoil = fn(&mut Reading, u64);
        let cases: [(Spoil, Misfit); 8] = [
            (|r, _| r.status = 5, Misfit::Status),
            (|r, _| r.signal_ns = 0, Misfit::Signal),
            (|r, now| r.signal_ns = now + 1, Misfit::Signal),
            (|r, now| r.awake_ns = now + 1, Misfit::Awake),
            (|r, _| r.awake_ns = r.signal_ns - 1, Misfit::Awake),
            (|r, now| r.finish_ns = now + 1, Misfit::Finish),
            (|r, now| r.finish_ns = now - CYCLE - 1, Misfit::Finish),
            (|r, _| r.finish_ns = r.awake_ns, Misfit::NoDuration),
        ];
        for (spoil, misfit) in cases {
            let own = |now| {
                let mut reading = written_by_server(now);
                spoil(&mut reading, now);
                reading
            };
            assert_eq!(after(200, own), Verdict::Refused(misfit));
        }
    }

    #[test]
    fn refuses_a_record_that_never_changes() {
        assert_eq!(
            after(200, |_| written_by_us(START)),
            Verdict::Refused(Misfit::Signal)
        );
        assert!(matches!(
            after(200, |_| Reading::default()),
            Verdict::Refused(_)
        ));
    }

    #[test]
    fn bears_xruns_among_the_first_cycles() {
        let own = |now: u64| {
            if (now / CYCLE).is_multiple_of(7) {
                Reading::default()
            } else {
                written_by_us(now)
            }
        };
        assert_eq!(after(30, own), Verdict::Trusted);
    }
}
