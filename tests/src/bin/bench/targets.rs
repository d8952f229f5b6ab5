//! What was aimed at, held against what was measured. Only a statement: no target makes the benchmark fail.

use std::fmt;

use serde::Serialize;

use crate::Report;
use crate::figures::{Estimate, Spread, mean, median};
use crate::load::Cell;
use crate::macos;
use crate::process::Memory;
use crate::rival::Way;
use crate::switching::{Mic, Row};
use crate::windows::Costs;

/// What TrueMute may take more than pw-loopback, per client and cycle.
const NS_PER_CLIENT: f64 = 60.0;
/// What the daemon may occupy with 256 clients.
const MEMORY: u64 = 16 << 20;
/// Tries from which a 99th percentile means something.
const TRIES: usize = 200;

/// One target.
#[derive(Debug, Serialize)]
pub(crate) struct Target {
    pub(crate) what: String,
    pub(crate) wanted: String,
    pub(crate) measured: String,
    pub(crate) verdict: Verdict,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    Met,
    NotMet,
    /// The interval of the figure lies on both sides of the target.
    CannotBeTold,
    /// And why.
    NotJudged(String),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Met => f.write_str("met"),
            Verdict::NotMet => f.write_str("**not met**"),
            Verdict::CannotBeTold => f.write_str("cannot be told"),
            Verdict::NotJudged(why) => write!(f, "not judged: {why}"),
        }
    }
}

impl From<bool> for Verdict {
    fn from(met: bool) -> Self {
        if met { Verdict::Met } else { Verdict::NotMet }
    }
}

pub(crate) fn judge(report: &Report) -> Vec<Target> {
    let mut targets = Vec::new();
    for row in report.latency.iter().filter(|row| row.way == Way::TrueMute) {
        let added = row.added.as_ref();
        targets.push(Target {
            what: format!("added latency, q={}", row.quantum),
            wanted: "0 frames".to_owned(),
            measured: added.map_or("nothing".to_owned(), |it| {
                format!(
                    "{} to {} frames in {} blocks",
                    it.lowest, it.highest, it.count
                )
            }),
            verdict: added
                .is_some_and(|it| it.lowest == 0.0 && it.highest == 0.0 && row.changed == 0)
                .into(),
        });
    }
    for cell in &report.load {
        let busy = cell.more_than_loopback(|round| round.busy_ns);
        let cpu = cell.more_than_loopback(|round| round.cpu_ns);
        targets.push(beside_loopback(cell, "time per cycle", &busy, median));
        // What is done once a second may be in fewer than half of the rounds: the median would not show it.
        targets.push(beside_loopback(cell, "CPU per cycle", &cpu, mean));
        if cell.clients == 256 {
            targets.extend(memory(cell));
        }
    }
    for row in &report.switching {
        targets.extend(switching(row));
    }
    if let Some(own) = report.commands.as_ref().and_then(|it| it.own.as_ref()) {
        targets.push(at_most("a command of its own", own, 10.0, "10 ms"));
    }
    targets.extend(report.macos.iter().map(macos));
    targets.extend(
        [true, false]
            .into_iter()
            .filter_map(|live| growth(&report.macos, live)),
    );
    targets.extend(report.windows.iter().flat_map(windows));
    targets
}

/// Of the driver's work in a period of 10 ms, in nanoseconds.
const PERIOD: f64 = 2000.0;

fn windows(costs: &Costs) -> [Target; 2] {
    [
        Target {
            what: "a period of 10 ms in the Windows driver, live".to_owned(),
            wanted: "2 us".to_owned(),
            measured: format!(
                "{:.2} us ({:+.2} beside memcpy)",
                costs.live.median / 1e3,
                costs.more.median / 1e3
            ),
            verdict: (costs.live.median <= PERIOD).into(),
        },
        Target {
            what: "the Windows driver's buffer after one mute".to_owned(),
            wanted: "zeros".to_owned(),
            measured: format!(
                "zeros after {} of {} mutes",
                costs.mutes - costs.filled_after_mute,
                costs.mutes
            ),
            verdict: (costs.filled_after_mute == 0).into(),
        },
    ]
}

/// How much more the dearest read is than with one client. Flat is what stays within the noise of the rounds: their 99th percentile
/// less their 10th, at one client.
fn growth(rows: &[macos::Row], live: bool) -> Option<Target> {
    let more = |row: &macos::Row| row.more.median;
    let rows = || rows.iter().filter(|row| row.live == live);
    let one = rows().find(|row| row.clients == 1)?;
    let most = rows().map(more).max_by(f64::total_cmp)?;
    let noise = one.more.p99 - one.more.p10;
    let state = if live { "live" } else { "muted" };
    Some(Target {
        what: format!("read on macOS' interface, {state}, growth with clients"),
        wanted: format!("none beyond the noise with one ({noise:.0} ns)"),
        measured: format!("{:+.0} ns", most - more(one)),
        verdict: (most - more(one) <= noise).into(),
    })
}

fn macos(row: &macos::Row) -> Target {
    let (beside, allowed) = if row.live {
        ("memcpy", 250.0)
    } else {
        ("memset", 150.0)
    };
    let state = if row.live { "live" } else { "muted" };
    Target {
        what: format!(
            "read on macOS' interface, {state}, clients: {}",
            row.clients
        ),
        wanted: format!("{beside} + {allowed:.0} ns"),
        measured: format!(
            "{:+.0} ns (10th percentile of the rounds: {:+.0})",
            row.more.median, row.more.p10
        ),
        verdict: (row.more.median <= allowed).into(),
    }
}

fn beside_loopback(
    cell: &Cell,
    what: &str,
    differences: &[f64],
    statistic: fn(&mut [f64]) -> f64,
) -> Target {
    let allowed = NS_PER_CLIENT * cell.clients as f64;
    let half = cell.quantum_ns() / 2.0;
    let busiest = [Way::TrueMute, Way::PwLoopback]
        .into_iter()
        .filter_map(|way| cell.of(way))
        .map(|load| load.median(|round| round.busy_ns))
        .fold(0.0, f64::max);
    let more = Estimate::of(differences, statistic);
    let verdict = match &more {
        None => Verdict::NotJudged("too few rounds".to_owned()),
        Some(_) if busiest > half => {
            Verdict::NotJudged("the driver is busy for more than half the quantum".to_owned())
        }
        Some(more) => beside(more, allowed),
    };
    Target {
        what: format!("{what}, q={}, clients: {}", cell.quantum, cell.clients),
        wanted: format!("pw-loopback + {:.2} us", allowed / 1e3),
        measured: more.map_or("nothing".to_owned(), |more| {
            let us = |ns: f64| ns / 1e3;
            format!(
                "{:+.1} us (95 %: {:+.1} to {:+.1})",
                us(more.value),
                us(more.low),
                us(more.high)
            )
        }),
        verdict,
    }
}

/// An estimate beside the most that is allowed.
fn beside(estimate: &Estimate, allowed: f64) -> Verdict {
    if estimate.high <= allowed {
        Verdict::Met
    } else if estimate.low > allowed {
        Verdict::NotMet
    } else {
        Verdict::CannotBeTold
    }
}

fn memory(cell: &Cell) -> Option<Target> {
    let Memory { now, files, most } = cell.of(Way::TrueMute)?.memory;
    let megabytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    Some(Target {
        what: "memory of the daemon, 256 clients".to_owned(),
        wanted: "16 MB".to_owned(),
        measured: format!(
            "{:.1} MB, at most {:.1} MB; {:.1} MB are pages of files",
            megabytes(now),
            megabytes(most),
            megabytes(files)
        ),
        verdict: (most <= MEMORY).into(),
    })
}

fn switching(row: &Row) -> Vec<Target> {
    let quantum = row.quantum_ms();
    let place = |what: &str| format!("{what}, q={}, mic {}", row.quantum, row.mic.name());
    let mut targets = Vec::new();
    if let Some(quanta) = &row.mute_quanta {
        targets.push(Target {
            what: place("mute by position"),
            wanted: "always at most 1 quantum".to_owned(),
            measured: format!(
                "at most {:.2} quanta in {} tries",
                quanta.highest, quanta.count
            ),
            verdict: (quanta.highest <= 1.0 && row.broken_promises == 0).into(),
        });
    }
    if let Some(reply) = &row.mute_reply {
        let what = place("mute by the wall");
        targets.push(at_most(&what, reply, quantum + 2.0, "a quantum + 2 ms"));
    }
    if let Some(sound) = &row.unmute_sound {
        let (limit, words) = match row.mic {
            Mic::Held => (3.0 * quantum, "3 quanta"),
            Mic::Idle => (25.0, "25 ms"),
            Mic::Suspended => (80.0, "80 ms"),
        };
        let mut target = at_most(&place("unmute"), sound, limit, words);
        // Only a block whose capture began after the unmute may be heard (P3): it begins up to a quantum later, and is there
        // a quantum after it began.
        let physics = 2.0 * quantum;
        if physics > limit {
            let out_of_reach =
                format!("; a block that begins after the unmute takes up to {physics:.1} ms");
            target.wanted.push_str(&out_of_reach);
        }
        targets.push(target);
    }
    targets
}

/// A 99th percentile in milliseconds.
fn at_most(what: &str, spread: &Spread, limit: f64, words: &str) -> Target {
    let verdict = if spread.count < TRIES {
        Verdict::NotJudged(format!("{} tries are too few", spread.count))
    } else {
        (spread.p99 <= limit).into()
    };
    let number = format!("{limit:.1} ms");
    Target {
        what: what.to_owned(),
        wanted: if number.trim_end_matches(".0 ms") == words.trim_end_matches(" ms") {
            format!("p99 {words}")
        } else {
            format!("p99 {words} ({number})")
        },
        measured: format!("p99 {:.1} ms, median {:.1} ms", spread.p99, spread.median),
        verdict,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_around_the_target_tells_nothing() {
        let verdict = |low, high| {
            let value = f64::midpoint(low, high);
            beside(&Estimate { value, low, high }, 60.0)
        };
        assert_eq!(verdict(-500.0, 60.0), Verdict::Met);
        assert_eq!(verdict(61.0, 900.0), Verdict::NotMet);
        assert_eq!(verdict(-500.0, 61.0), Verdict::CannotBeTold);
        assert_eq!(verdict(60.0, 900.0), Verdict::CannotBeTold);
    }
}
