//! What a fault did to each client: sound that must not have come, the longest gap, and when TrueMute served it again.

use std::time::{Duration, Instant};

use truemute::protocol::GateState;
use truemute_tests::listening::{Kind, Listener, Log};
use truemute_tests::recorder::wait_until;
use truemute_tests::tape::monotonic_ns;

use crate::Result;
use crate::fault::{Before, Fault};
use crate::field::Field;

/// How long a client may take to come back.
const RECOVERED_WITHIN: Duration = Duration::from_secs(25);
/// How long everything is watched after the last client has recovered.
const AFTERWARDS: Duration = Duration::from_millis(1500);
/// Frames by which a sample may have been played after a fault that ends the sound, and still be from before: the position
/// of the mic is estimated, and a page's samples have 16 bits.
const MARGIN: i64 = 4800;
/// Period of the simulated mic's ramp, and its rate.
const PERIOD: i64 = (1 << 23) - 1;
const RATE: i64 = 48_000;

/// One fault on one server.
pub(crate) struct Row {
    pub(crate) fault: &'static str,
    /// Whether anything had to be silent.
    pub(crate) judged: bool,
    pub(crate) cells: Vec<Cell>,
    /// Why the rest could not be seen.
    pub(crate) failed: Option<String>,
}

/// One client.
pub(crate) struct Cell {
    pub(crate) kind: Kind,
    /// Samples that were not zero and should have been.
    pub(crate) leaked: u64,
    /// Longest time without a sample.
    pub(crate) gap: Duration,
    /// From the moment when what was broken ran again until the daemon counted this client's pulls again.
    pub(crate) recovered: Option<Duration>,
    /// It had to be started again by hand.
    pub(crate) by_hand: bool,
    /// In the end an unmute was heard.
    pub(crate) hears: bool,
}

impl Row {
    /// Samples that should have been zero, of all clients.
    pub(crate) fn leaked(&self) -> u64 {
        self.cells.iter().map(|cell| cell.leaked).sum()
    }

    /// Nothing leaked, and every client is served as before.
    pub(crate) fn is_well(&self) -> bool {
        let served = |cell: &Cell| cell.leaked == 0 && cell.recovered.is_some() && cell.hears;
        self.failed.is_none() && self.cells.iter().all(served)
    }
}

/// Inflicts the fault and watches.
pub(crate) fn observe(fault: &Fault, field: &mut Field) -> Row {
    let mut row = Row {
        fault: fault.name,
        judged: fault.silences,
        cells: Vec::new(),
        failed: None,
    };
    if let Err(error) = watch(fault, field, &mut row) {
        row.failed = Some(error.to_string());
    }
    row
}

fn watch(fault: &Fault, field: &mut Field, row: &mut Row) -> Result<()> {
    if let deaf @ [_, ..] = &field.unmute()?[..] {
        return Err(format!("before the fault these heard nothing: {deaf:?}").into());
    }
    if fault.before == Before::Muted {
        field.daemon.mute()?;
        field.wait_until_silent()?;
    }
    let given_up: Vec<_> = field
        .listeners
        .iter()
        .map(|it| it.log().times_given_up())
        .collect();
    let start_ns = monotonic_ns();
    let mic = position_of_mic(field, start_ns);
    let inflicted = (fault.inflict)(field);
    if inflicted.is_ok() && field.mended_ns.is_none() {
        field.mended_ns = Some(start_ns);
    }
    let struck_ns = field.struck_ns.unwrap_or(start_ns);
    let mic_then = mic.map(|mic| mic + frames_in(struck_ns - start_ns));
    let recovered = recoveries(field);
    crate::field::outage(AFTERWARDS);
    let end_ns = monotonic_ns();
    let live = field
        .daemon
        .status()
        .is_ok_and(|it| it.gate == GateState::Live);
    let heard = if inflicted.is_ok() {
        field.unmute()
    } else {
        Ok(Vec::new())
    };
    for ((listener, recovered), given_up) in field.listeners.iter().zip(recovered).zip(given_up) {
        let kind = listener.kind();
        let log = listener.log();
        let leaked = match fault.before {
            _ if !fault.silences => 0,
            Before::Muted => log.nonzero(start_ns, end_ns),
            Before::Live if !live => played_after(log, mic_then, struck_ns, end_ns),
            Before::Live => 0,
        };
        if leaked > 0 {
            tell(listener, mic_then, struck_ns, end_ns, "the fault began");
        }
        row.cells.push(Cell {
            kind,
            leaked,
            gap: Duration::from_nanos(log.longest_gap(start_ns, end_ns)),
            recovered,
            by_hand: log.times_given_up() > given_up,
            hears: heard.as_ref().is_ok_and(|deaf| !deaf.contains(&kind)),
        });
    }
    inflicted?;
    heard?;
    silent_again(field, row)
}

/// Waits until the daemon counts pulls of each client again; when that was, after the mending.
fn recoveries(field: &Field) -> Vec<Option<Duration>> {
    let mut found: Vec<Option<Duration>> = vec![None; field.listeners.len()];
    let mut former: Vec<Option<u64>> = vec![None; field.listeners.len()];
    let Some(mended_ns) = field.mended_ns else {
        return found;
    };
    let deadline = Instant::now() + RECOVERED_WITHIN;
    wait_until(RECOVERED_WITHIN, || {
        for (index, listener) in field.listeners.iter().enumerate() {
            if found[index].is_some() || Instant::now() >= deadline {
                continue;
            }
            let Some(client) = field.client(listener.kind()) else {
                continue;
            };
            let pulls = client.live.pulls + client.muted.pulls;
            if former[index].is_some_and(|former| pulls > former) {
                found[index] = Some(Duration::from_nanos(monotonic_ns() - mended_ns));
            }
            former[index] = Some(pulls);
        }
        found.iter().all(Option::is_some)
    });
    found
}

/// A mute after everything silences each client; what comes then counts as well.
fn silent_again(field: &Field, row: &mut Row) -> Result<()> {
    field.daemon.mute()?;
    let muted_ns = monotonic_ns();
    let mic = position_of_mic(field, muted_ns);
    crate::field::outage(AFTERWARDS);
    let end_ns = monotonic_ns();
    for (listener, cell) in field.listeners.iter().zip(&mut row.cells) {
        let leaked = played_after(listener.log(), mic, muted_ns, end_ns);
        if leaked > 0 {
            tell(listener, mic, muted_ns, end_ns, "the mute after it");
        }
        cell.leaked += leaked;
    }
    Ok(())
}

/// Says on stderr when what should have been silent came, and when the mic had played it.
fn tell(listener: &Listener, mic: Option<i64>, start_ns: u64, end_ns: u64, since: &str) {
    let pieces = listener.log().pieces_from(0);
    let inside = |at_ns| (start_ns..end_ns).contains(&at_ns);
    let loud = pieces
        .iter()
        .filter(|it| it.nonzero > 0 && inside(it.at_ns));
    for piece in loud {
        let came = (piece.at_ns - start_ns) / 1_000_000;
        let ahead =
            |mic: i64| (phase(piece.last) - mic + PERIOD / 2).rem_euclid(PERIOD) - PERIOD / 2;
        let played = mic.map(|mic| ahead(mic) * 1000 / RATE);
        eprintln!(
            "  {}: {} samples came {came} ms after {since}; the last was played {played:?} ms after it",
            listener.kind().name(),
            piece.nonzero
        );
    }
}

/// The ramp's phase that the mic plays at a time, by what the clients got last.
fn position_of_mic(field: &Field, now_ns: u64) -> Option<i64> {
    let native = |listener: &&Listener| matches!(listener.kind(), Kind::Explicit | Kind::Default);
    let listener = field
        .listeners
        .iter()
        .find(native)
        .or(field.listeners.first())?;
    let pieces = listener.log().pieces_from(0);
    let piece = pieces.iter().rev().find(|piece| piece.nonzero > 0)?;
    Some(phase(piece.last) + frames_in(now_ns.saturating_sub(piece.at_ns)))
}

/// Frames that the mic plays in so many nanoseconds.
fn frames_in(ns: u64) -> i64 {
    i64::try_from(ns / 1000).unwrap_or(i64::MAX / RATE) * RATE / 1_000_000
}

fn phase(sample: f32) -> i64 {
    (f64::from(sample) * f64::from(1 << 23)) as i64
}

/// Samples that were not zero and that the mic played after `start_ns`, when it was at the phase `mic`. (What a client had in
/// its buffers then may come much later: a stopped graph delivers nothing.)
fn played_after(log: &Log, mic: Option<i64>, start_ns: u64, end_ns: u64) -> u64 {
    let pieces = log.pieces_from(0);
    let suspect = pieces.iter().filter(|piece| {
        let later = mic.is_none_or(|mic| {
            let ahead = (phase(piece.last) - mic).rem_euclid(PERIOD);
            (MARGIN..PERIOD / 2).contains(&ahead)
        });
        (start_ns..end_ns).contains(&piece.at_ns) && later
    });
    suspect.map(|piece| u64::from(piece.nonzero)).sum()
}
