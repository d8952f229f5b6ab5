//! The report for people: docs/reliability.md.

use std::fmt::Write as _;
use std::time::Duration;

use truemute_tests::attempts::ATTEMPTS;
use truemute_tests::listening::Kind;

use crate::outcome::{Cell, Row};
use crate::ways::Column;
use crate::{Report, Table};

/// The file's sections, in their order; the last four are not written here.
const SECTIONS: [&str; 6] = [
    "## Faults",
    "## Ways round the virtual mic",
    "## Soak",
    "## Under AddressSanitizer",
    "## How soon the real mic is let go of",
    "## In a virtual machine",
];

const HEAD: &str = "\
# Reliability

Written by `cargo xtask faults`; do not edit (except \"Soak\" and what follows it). To repeat it:

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

WirePlumber 0.4.13 (with 0.3.65), ended and started again alone, links nothing any more, also where TrueMute never ran
([known issues](known-issues.md)): those rows are *deaf*, and show that silence holds.

\"Clock jump\" is what a suspend and resume is to the graph: all programs of the server, the daemon, its supervisor and every app are
stopped (SIGSTOP) together, the monotonic clock runs on, and all go on (SIGCONT). A real suspend is tried in the virtual machine.
A step of the wall clock alone is not tried: nothing between the mic and the apps reads that clock.
";

const WAYS: &str = "
## Ways round the virtual mic
What an ordinary client of the same user gets of the real mic while TrueMute is muted: samples that were not zero, in at most three
seconds for each way. Without the guard the ways work, which shows that they are ways; there nobody listens on after the first sound.

Where the server checks links (1.4.2), it refuses those of the guard. Where it does not (0.3.65), the daemon cuts them, and while
muted it mutes the mic itself: that column shows both together, and is 0 for who is trusted, too. What slips through before a
cut when the mic itself is not mute is in [known issues](known-issues.md).

| way |";

pub(crate) fn of(report: &Report) -> String {
    let mut text = HEAD.to_owned();
    if report.quick {
        text.push_str("\n**This was a quick run: the long faults were short.**\n");
    }
    if !report.tables.is_empty() {
        text.push_str(FAULTS);
        let _ = writeln!(text, "\n{}", report.conditions);
        faults(&mut text, &report.tables);
    }
    if !report.ways.is_empty() {
        ways(&mut text, &report.ways);
    }
    text
}

fn faults(text: &mut String, tables: &[Table]) {
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
                Some(Ok(heard)) if heard.sound > 0 && column.tight => {
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

/// `text` with those sections of the `old` file that it has not.
pub(crate) fn with_kept_sections(text: &str, old: &str) -> String {
    let (head, _) = split(text, "");
    let mut whole = head.trim_end().to_owned();
    for title in SECTIONS {
        let section = split(text, title).1.or(split(old, title).1);
        if let Some(section) = section {
            let _ = write!(whole, "\n\n{}", section.trim_end());
        }
    }
    whole.push('\n');
    whole
}

/// What stands before the first section, and the section of this title.
fn split<'a>(text: &'a str, title: &str) -> (&'a str, Option<&'a str>) {
    const MARK: &str = "\n## ";
    let head = text.find(MARK).map_or(text, |end| &text[..end]);
    let section = text.find(&format!("\n{title}\n")).map(|start| {
        let section = &text[start + 1..];
        section.find(MARK).map_or(section, |end| &section[..end])
    });
    (head, section)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_that_were_not_run_stay() {
        let old = "# A\nold\n\n## Faults\nf1\n### x\n\n## Ways round the virtual mic\nw1\n\n## In a virtual machine\nv1\n";
        let new = "# A\nnew\n\n## Ways round the virtual mic\nw2\n";
        assert_eq!(
            with_kept_sections(new, old),
            old.replace("old", "new").replace("w1", "w2")
        );
        assert_eq!(with_kept_sections(new, ""), new);
        let without = "# A\nnew\n";
        assert_eq!(with_kept_sections(without, old), old.replace("old", "new"));
    }
}
