//! The report for people: docs/reliability.md.

use std::fmt::Write as _;
use std::time::Duration;

use truemute_tests::attempts::ATTEMPTS;
use truemute_tests::listening::Kind;

use crate::outcome::{Cell, Row};
use crate::ways::Column;
use crate::{Report, Table};

/// The part of the file that is not written here.
const KEPT: &str = "## In a virtual machine";

const HEAD: &str = "\
# Reliability

Written by `cargo xtask faults`; do not edit (except the section \"In a virtual machine\"). To repeat it:

    cargo xtask faults --write docs/reliability.md
";

const FAULTS: &str = "
## Faults
Each fault is inflicted on a private audio server with a simulated mic, while a client of each kind records from TrueMute
Microphone. The mic plays a ramp that is never zero, and every sample of every client is looked at.

A cell has three figures: **samples that were not zero although they had to be** / the longest time in which the client got
nothing, in ms (one cycle of the graph is 21 ms; a page is told every 43 ms) / how long after what was broken ran again TrueMute
counted the client's pulls again, in ms. What ends is away for two seconds before it is started again, and the longest gap has
these two seconds where the sound needs what was away. After each fault an unmute has to be heard by every client and a
mute has to silence it; a client that heard nothing is marked *deaf*, one that was not counted again within 25 s has `never`.
† marks a client that neither ended nor got anything for 5 seconds (a browser: 10), so that a person had to start it again.

Muted: the gate was muted when it happened, and nothing may be heard until the unmute at the end. Live: sound that the mic
played after the fault may not be heard before somebody unmutes; where a row says `-`, going on to hear the mic is right.
";

const WAYS: &str = "
## Ways round the virtual mic
What an ordinary client of the same user gets of the real mic while TrueMute is muted: samples that were not zero, in at most three
seconds for each way. Without the guard the ways work, which shows that they are ways.

| way |";

pub(crate) fn of(report: &Report) -> String {
    let mut text = HEAD.to_owned();
    if report.quick {
        text.push_str("\n**This was a quick run: the long faults were short.**\n");
    }
    if !report.tables.is_empty() {
        faults(&mut text, &report.tables);
    }
    if !report.ways.is_empty() {
        ways(&mut text, &report.ways);
    }
    text
}

fn faults(text: &mut String, tables: &[Table]) {
    text.push_str(FAULTS);
    for table in tables {
        let _ = write!(text, "\n### {}\n\n| fault |", table.server);
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
}

fn ways(text: &mut String, columns: &[Column]) {
    text.push_str(WAYS);
    for column in columns {
        let _ = write!(text, " {} |", column.title);
    }
    let _ = writeln!(text, "\n|---|{}", "---|".repeat(columns.len()));
    for attempt in ATTEMPTS {
        let _ = write!(text, "| {} |", attempt.name);
        for column in columns {
            let got = match column.heard.get(attempt.name) {
                Some(Ok(heard)) if heard.sound > 0 && column.guarded => {
                    format!("**{}**", heard.sound)
                }
                Some(Ok(heard)) => heard.sound.to_string(),
                Some(Err(why)) => why.lines().next().unwrap_or_default().to_owned(),
                None => "not tried".to_owned(),
            };
            let _ = write!(text, " {got} |");
        }
        text.push('\n');
    }
}

/// A row of the table of faults.
pub(crate) fn cells(row: &Row) -> String {
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
    let by_hand = if it.by_hand { "†" } else { "" };
    format!(
        "{leaked} / {} / {recovered}{by_hand}{deaf}",
        milliseconds(it.gap)
    )
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
