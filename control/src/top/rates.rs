//! Pulls per second of each client, from two successive counts. No rate is shown where two counts cannot be compared.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::protocol::{ClientStats, Stats};

/// Pulls per second in the two states of the gate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rate {
    pub(super) live: f64,
    pub(super) muted: f64,
}

/// A client's number is only its own within one instance of the backend.
type Name = (u64, u64);

/// The last counts, and the rates that led to them.
#[derive(Clone, Debug, Default)]
pub(super) struct Rates {
    at: Option<Timestamp>,
    pulls: BTreeMap<Name, (u64, u64)>,
    rates: BTreeMap<Name, Rate>,
}

impl Rates {
    /// Takes in the next counts. Clients that are no longer listed are forgotten.
    pub(super) fn add(&mut self, stats: &Stats) {
        let until = stats.until.parse::<Timestamp>().ok();
        let seconds = match (self.at, until) {
            (Some(before), Some(now)) => now.duration_since(before).as_secs_f64(),
            _ => 0.0,
        };
        let mut pulls = BTreeMap::new();
        let mut rates = BTreeMap::new();
        for client in &stats.clients {
            let name = name(client);
            let counts = (client.live.pulls, client.muted.pulls);
            if let Some(rate) = self
                .pulls
                .get(&name)
                .and_then(|&before| rate(before, counts, seconds))
            {
                rates.insert(name, rate);
            }
            pulls.insert(name, counts);
        }
        *self = Self {
            at: until,
            pulls,
            rates,
        };
    }

    /// The rate of `client` between the last two counts, if it was in both.
    pub(super) fn of(&self, client: &ClientStats) -> Option<Rate> {
        self.rates.get(&name(client)).copied()
    }
}

fn name(client: &ClientStats) -> Name {
    (client.instance, client.id)
}

fn rate(before: (u64, u64), now: (u64, u64), seconds: f64) -> Option<Rate> {
    let live = now.0.checked_sub(before.0)?;
    let muted = now.1.checked_sub(before.1)?;
    (seconds > 0.0).then(|| Rate {
        live: live as f64 / seconds,
        muted: muted as f64 / seconds,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    fn counts(until: &str, live: u64, muted: u64) -> Stats {
        let mut client = samples::client(1, "app", "stream");
        client.live.pulls = live;
        client.muted.pulls = muted;
        Stats {
            until: until.into(),
            clients: vec![client],
            ..samples::nobody()
        }
    }

    #[test]
    fn a_rate_needs_two_counts() {
        let mut rates = Rates::default();
        let first = counts("2026-11-22T08:00:00Z", 100, 10);
        rates.add(&first);
        assert_eq!(rates.of(&first.clients[0]), None);
        rates.add(&counts("2026-11-22T08:00:00.5Z", 100, 33));
        assert_eq!(
            rates.of(&first.clients[0]),
            Some(Rate {
                live: 0.0,
                muted: 46.0
            })
        );
    }

    #[test]
    fn counts_that_fell_or_a_clock_that_stands_give_no_rate() {
        let mut rates = Rates::default();
        let first = counts("2026-11-22T08:00:00Z", 100, 10);
        rates.add(&first);
        rates.add(&counts("2026-11-22T08:00:01Z", 5, 10));
        assert_eq!(rates.of(&first.clients[0]), None);
        rates.add(&counts("2026-11-22T08:00:01Z", 50, 10));
        assert_eq!(rates.of(&first.clients[0]), None);
    }
}
