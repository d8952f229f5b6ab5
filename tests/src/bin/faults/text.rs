//! The report for people: docs/reliability.md.

use std::fmt::Write as _;
use std::time::Duration;

use truemute_tests::listening::Kind;

use crate::Table;
use crate::outcome::{Cell, Row};

/// The part of the file that is not written here.
const KEPT: &str = "## In a virtual machine";

const HEAD: &str = "\
# Reliability

Written by `cargo xtask faults`; do not edit (except the section \"In a virtual machine\"). To repeat it:

    cargo xtask faults --write docs/reliability.md

Each fault is inflicted on a private audio server with a simulated mic, while a client of each kind records from TrueMute
Microphone. The mic plays a ramp that is never zero, and every sample of every client is looked at.

A cell has three figures: **samples that were not zero although they had to be** / the longest time in which the client got
nothing, in ms (one cycle of the graph is 21 ms; a page is told every 43 ms) / how long after what was broken ran again TrueMute
counted the client's pulls again, in ms. What ends is away for two seconds before it is started again, and the longest gap has
these two seconds where the sound needs what was away. After each fault an unmute has to be heard by every client and a
mute has to silence it; a client that heard nothing is marked *deaf*, one that was not counted again within 30 s has `never`.

Muted: the gate was muted when it happened, and nothing may be heard until the unmute at the end. Live: sound that the mic
played after the fault may not be heard before somebody unmutes; where a row says `-`, going on to hear the mic is right.
";

pub(crate) fn of(tables: &[Table], quick: bool) -> String {
    let mut text = HEAD.to_owned();
    if quick {
        text.push_str("\n**This was a quick run: the long faults were short.**\n");
    }
    text.push_str("\n## Faults\n");
    for table in tables {
        let _ = write!(text, "\n### {}\n\n", table.server);
        text.push_str("| fault |");
        let kinds: Vec<Kind> = table
            .rows
            .first()
            .map_or_else(Vec::new, |row| row.cells.iter().map(|it| it.kind).collect());
        for kind in &kinds {
            let _ = write!(text, " {} |", kind.name());
        }
        let _ = writeln!(text, "\n|---|{}", "---|".repeat(kinds.len()));
        for row in &table.rows {
            let _ = writeln!(text, "{}", cells(row));
        }
    }
    text
}

fn cells(row: &Row) -> String {
    let mut text = format!("| {} |", row.fault);
    for it in &row.cells {
        let _ = write!(text, " {} |", cell(row, it));
    }
    if let Some(error) = &row.failed {
        let first = error.lines().next().unwrap_or_default();
        let _ = write!(text, " **failed**: {first} |");
    }
    text
}

fn cell(row: &Row, it: &Cell) -> String {
    let leaked = match (row.judged, it.leaked) {
        (false, _) => "-".to_owned(),
        (true, 0) => "0".to_owned(),
        (true, leaked) => format!("**{leaked}**"),
    };
    let recovered = it
        .recovered
        .map_or_else(|| "never".to_owned(), |time| milliseconds(time).to_string());
    let deaf = if it.hears { "" } else { " *deaf*" };
    format!("{leaked} / {} / {recovered}{deaf}", milliseconds(it.gap))
}

/// A row on one line, for whoever waits.
pub(crate) fn line(server: &str, row: &Row) -> String {
    format!("  {server}: {}", cells(row))
}

fn milliseconds(time: Duration) -> u128 {
    time.as_millis()
}

/// `text` with the sections of the `old` file that are not written here.
pub(crate) fn with_kept_sections(text: &str, old: &str) -> String {
    let Some(start) = old.find(KEPT) else {
        return text.to_owned();
    };
    let section = &old[start..];
    let next = section[KEPT.len()..].find("\n## ");
    let section = next.map_or(section, |next| &section[..KEPT.len() + next + 1]);
    format!("{text}\n{}\n", section.trim_end())
}
