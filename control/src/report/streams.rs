//! The replies to `clients` and `stats` for people: streams in a table, grouped under the app that they belong to.
//!
//! A stranger's text never stands before figures on a line: an app's name has a line of its own, in quotes, and the
//! stream's name is the last column. So neither spaces nor right-to-left letters in a name can move a figure.

use std::fmt::Write as _;
use std::path::Path;

use anstyle::Style;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use textwrap::core::display_width;
use truemute_core::observed::{ClientState, Identity};

use super::{Page, clean, when, words};
use crate::protocol::{ClientStats, Stats};

/// Longest name of an app or path that is printed in a heading.
const NAME: usize = 200;
/// Spaces between two columns.
const GAP: usize = 2;
/// Columns kept for the stream's name before figures give way.
const STREAM: usize = 12;

/// Reply to `clients` as text: who is connected now.
pub fn clients(stats: &Stats, page: &Page) -> String {
    if stats.clients.is_empty() {
        return "No app is connected to the virtual mic.\n".into();
    }
    let columns = [
        column("state", Keep::Always, |client, _| words::state(client)),
        column("since", Keep::First, |client, page| {
            when::ago(&client.first_seen, page.now)
        }),
        column("last pull", Keep::Second, last_pull),
        column("pulled by", Keep::Fourth, puller),
        column("api", Keep::Third, |client, _| {
            words::api(client.who.api).into()
        }),
    ];
    grouped(stats, &columns, page)
}

/// Reply to `stats` as text: per client, pulls and frames while live and while muted, intervals and exactness.
pub fn stats(stats: &Stats, page: &Page) -> String {
    let mut out = String::new();
    page.lines(
        &mut out,
        "",
        "",
        &when::period(&stats.since, &stats.until, page),
    );
    out.push('\n');
    if stats.clients.is_empty() {
        out.push_str("No app was connected to the virtual mic.\n");
    } else {
        let mut columns = vec![
            column("state", Keep::Always, |client, _| words::state(client)),
            figure("live pulls", Keep::Always, |client, page| {
                page.figure(client.live.pulls)
            }),
            figure("live frames", Keep::Third, |client, page| {
                page.figure(client.live.frames)
            }),
            figure("live pulls/s", Keep::Third, |client, _| {
                rate(client.live.pulls, client.connected.live_seconds)
            }),
            figure("live s", Keep::Fourth, |client, _| {
                format!("{:.1}", client.live.seconds)
            }),
            figure("muted pulls", Keep::Always, |client, page| {
                page.figure(client.muted.pulls)
            }),
            figure("muted frames", Keep::Third, |client, page| {
                page.figure(client.muted.frames)
            }),
            figure("muted pulls/s", Keep::Third, |client, _| {
                rate(client.muted.pulls, client.connected.muted_seconds)
            }),
            figure("muted s", Keep::Fourth, |client, _| {
                format!("{:.1}", client.muted.seconds)
            }),
            figure("p50 µs", Keep::Fifth, |client, page| {
                page.figure(client.interval_us.p50)
            }),
            figure("p99 µs", Keep::Fifth, |client, page| {
                page.figure(client.interval_us.p99)
            }),
            figure("max µs", Keep::Fifth, |client, page| {
                page.figure(client.interval_us.max)
            }),
            column("while muted", Keep::Second, |client, _| {
                words::behaviour(client.behaviour_while_muted).into()
            }),
            column("counts", Keep::Always, |client, _| words::exactness(client)),
            column("last pull", Keep::Sixth, last_pull),
            column("api", Keep::Sixth, |client, _| {
                words::api(client.who.api).into()
            }),
        ];
        if stats.clients.iter().any(|client| client.offers.is_some()) {
            // Beside the pulls, and never among them: an offer is not known to be taken.
            columns.push(column("offers", Keep::Second, offers));
        }
        out.push_str(&grouped(stats, &columns, page));
    }
    let nobody = stats.unattributed;
    if nobody.pulls > 0 {
        let text = format!(
            "Unattributed: {} pulls, {} frames that happened and could not be given to any client.",
            page.figure(nobody.pulls),
            page.figure(nobody.frames)
        );
        out.push('\n');
        page.lines(&mut out, "", "", &text);
    }
    out
}

/// How long a column stays when the page is narrow: the lower, the longer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Keep {
    Always,
    First,
    Second,
    Third,
    Fourth,
    Fifth,
    Sixth,
}

struct Column {
    heading: &'static str,
    keep: Keep,
    alignment: CellAlignment,
    cell: fn(&ClientStats, &Page) -> String,
}

fn column(heading: &'static str, keep: Keep, cell: fn(&ClientStats, &Page) -> String) -> Column {
    Column {
        heading,
        keep,
        alignment: CellAlignment::Left,
        cell,
    }
}

fn figure(heading: &'static str, keep: Keep, cell: fn(&ClientStats, &Page) -> String) -> Column {
    Column {
        heading,
        keep,
        alignment: CellAlignment::Right,
        cell,
    }
}

/// Pulls for each second that the client was connected, corked or not; `-` where there was no such time.
fn rate(pulls: u64, seconds: f64) -> String {
    if seconds > 0.0 {
        format!("{:.1}", pulls as f64 / seconds)
    } else {
        "-".into()
    }
}

fn last_pull(client: &ClientStats, page: &Page) -> String {
    client.last_pull.as_deref().map_or_else(
        || "never".into(),
        |at| format!("{} ago", when::ago(at, page.now)),
    )
}

/// How often the system offered sound, and how many of its events are lost.
fn offers(client: &ClientStats, page: &Page) -> String {
    match client.offers {
        Some(offers) if offers.lost > 0 => format!(
            "{}, {} lost",
            page.figure(offers.count),
            page.figure(offers.lost)
        ),
        Some(offers) => page.figure(offers.count),
        None => "-".into(),
    }
}

fn puller(client: &ClientStats, _: &Page) -> String {
    match &client.who.puller {
        Some(puller) if Some(puller.pid) != client.who.pid => {
            format!("{} {}", clean(&puller.name, 20), puller.pid)
        }
        _ => "itself".into(),
    }
}

/// The streams under a heading for each app: as a table, or as a list where not even the first columns fit.
fn grouped(stats: &Stats, columns: &[Column], page: &Page) -> String {
    let groups = by_app(&stats.clients);
    let streams: Vec<&ClientStats> = groups.iter().flatten().copied().collect();
    let Some((shown, hidden)) = fitting(columns, &streams, page) else {
        return listed(&groups, columns, page);
    };
    let mut lines = lines(&shown, &streams, page).into_iter();

    let bold = Style::new().bold();
    let dim = Style::new().dimmed();
    let mut out = String::new();
    if let Some(headings) = lines.next() {
        let _ = writeln!(out, "{bold}{headings}{bold:#}");
    }
    for group in groups {
        out.push_str(
            &group
                .first()
                .map(|first| heading(first, page))
                .unwrap_or_default(),
        );
        for (client, line) in group.iter().zip(&mut lines) {
            let style = if client.state == ClientState::Running {
                Style::new()
            } else {
                dim
            };
            let _ = writeln!(out, "{style}{line}{style:#}");
        }
    }
    if !hidden.is_empty() {
        let note = format!(
            "Not shown for want of width: {}. A wider terminal or --json shows everything.",
            hidden.join(", ")
        );
        out.push('\n');
        page.lines(&mut out, "", "", &note);
    }
    out
}

/// Each stream as a list of facts.
fn listed(groups: &[Vec<&ClientStats>], columns: &[Column], page: &Page) -> String {
    let mut out = String::new();
    for group in groups {
        out.push_str(
            &group
                .first()
                .map(|first| heading(first, page))
                .unwrap_or_default(),
        );
        for client in group {
            out.push('\n');
            page.fact(&mut out, "  stream", &clean(&client.who.stream, NAME));
            for column in columns {
                page.fact(
                    &mut out,
                    &format!("  {}", column.heading),
                    &(column.cell)(client, page),
                );
            }
        }
    }
    out
}

/// Streams of one app together, apps in the order of their first stream.
fn by_app(clients: &[ClientStats]) -> Vec<Vec<&ClientStats>> {
    let mut groups: Vec<Vec<&ClientStats>> = Vec::new();
    for client in clients {
        let same = |group: &&mut Vec<&ClientStats>| {
            group
                .first()
                .is_some_and(|first| app_key(first) == app_key(client))
        };
        match groups.iter_mut().find(same) {
            Some(group) => group.push(client),
            None => groups.push(vec![client]),
        }
    }
    groups
}

fn app_key(client: &ClientStats) -> (&str, Option<u32>, Option<&Path>, Identity) {
    (
        &client.who.app,
        client.who.pid,
        client.who.executable.as_deref(),
        client.who.identity,
    )
}

/// The app, its process and how far both can be believed.
fn heading(client: &ClientStats, page: &Page) -> String {
    let bold = Style::new().bold();
    let width = page.columns().min(NAME);
    let name = clean(&client.who.app, width.saturating_sub(2)).replace('"', "'");
    let mut about = client
        .who
        .pid
        .map_or_else(|| "no pid".into(), |pid| format!("pid {pid}"));
    let _ = write!(about, "  {}", words::identity(client.who.identity));
    if let Some(executable) = &client.who.executable {
        let _ = write!(about, "  {}", clean(&executable.to_string_lossy(), NAME));
    }
    if display_width(&name) + 2 + GAP + display_width(&about) <= page.columns() {
        return format!("{bold}\"{name}\"{bold:#}  {about}\n");
    }
    let mut out = format!("{bold}\"{name}\"{bold:#}\n");
    page.lines(&mut out, "  ", "  ", &about);
    out
}

/// The columns that fit on the page beside the stream's name, and the headings of those that do not; nothing if not
/// even the columns fit that no table may lack.
fn fitting<'a>(
    columns: &'a [Column],
    streams: &[&ClientStats],
    page: &Page,
) -> Option<(Vec<&'a Column>, Vec<&'static str>)> {
    let width = |column: &Column| {
        let cells = streams
            .iter()
            .map(|client| display_width(&(column.cell)(client, page)));
        cells
            .chain([display_width(column.heading)])
            .max()
            .unwrap_or(0)
            + GAP
    };
    let mut by_rank: Vec<&Column> = columns.iter().collect();
    by_rank.sort_by_key(|column| column.keep);
    let mut left = page.columns().checked_sub(GAP + STREAM)?;
    let mut kept = Vec::new();
    for column in by_rank {
        match (left.checked_sub(width(column)), column.keep) {
            (Some(rest), _) => left = rest,
            (None, Keep::Always) => return None,
            (None, _) => break,
        }
        kept.push(column.heading);
    }
    let (shown, hidden): (Vec<_>, Vec<_>) = columns
        .iter()
        .partition(|column| kept.contains(&column.heading));
    Some((
        shown,
        hidden.into_iter().map(|column| column.heading).collect(),
    ))
}

/// Headings and one line for each stream, aligned, cut at the page's width.
fn lines(columns: &[&Column], streams: &[&ClientStats], page: &Page) -> Vec<String> {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(
        columns
            .iter()
            .map(|column| column.heading)
            .chain(["stream"]),
    );
    for client in streams {
        let cells = columns.iter().map(|column| (column.cell)(client, page));
        table.add_row(cells.chain([clean(&client.who.stream, NAME)]));
    }
    for (drawn, column) in table.column_iter_mut().zip(columns) {
        drawn.set_cell_alignment(column.alignment);
    }
    for drawn in table.column_iter_mut() {
        drawn.set_padding((GAP as u16, 0));
    }
    let width = page.columns();
    table
        .lines()
        .map(|line| cut(line.trim_end(), width))
        .collect()
}

/// `line` cut at `width` columns, with `…` where something is missing.
fn cut(line: &str, width: usize) -> String {
    if display_width(line) <= width {
        return line.into();
    }
    let mut short = line.to_owned();
    while display_width(&short) + 1 > width && short.pop().is_some() {}
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use textwrap::core::display_width;
    use truemute_core::observed::Offers;

    use super::super::samples::{self, page, plain};
    use super::{clients, stats};

    #[test]
    fn stats_wide() {
        insta::assert_snapshot!(plain(&stats(&samples::stats(), &page(Some(180)))));
    }

    #[test]
    fn stats_at_80_columns() {
        let text = plain(&stats(&samples::stats(), &page(Some(80))));
        assert!(text.lines().all(|line| display_width(line) <= 80));
        insta::assert_snapshot!(text);
    }

    #[test]
    fn stats_at_40_columns() {
        insta::assert_snapshot!(plain(&stats(&samples::stats(), &page(Some(40)))));
    }

    #[test]
    fn offers_have_a_column_of_their_own_where_the_system_tells_them() {
        let mut told = samples::stats();
        told.clients[0].offers = Some(Offers {
            count: 1234,
            lost: 5,
        });
        let text = plain(&stats(&told, &page(Some(200))));
        assert!(
            text.contains("offers") && text.contains("1234, 5 lost"),
            "{text}"
        );
        let silent = plain(&stats(&samples::stats(), &page(Some(200))));
        assert!(!silent.contains("offers"), "{silent}");
    }

    #[test]
    fn stats_piped() {
        let text = plain(&stats(&samples::stats(), &page(None)));
        assert!(!text.contains('\t'));
        insta::assert_snapshot!(text);
    }

    #[test]
    fn clients_wide() {
        insta::assert_snapshot!(plain(&clients(&samples::stats(), &page(Some(120)))));
    }

    #[test]
    fn clients_narrow() {
        insta::assert_snapshot!(plain(&clients(&samples::stats(), &page(Some(40)))));
    }

    #[test]
    fn nobody() {
        insta::assert_snapshot!(plain(&clients(&samples::nobody(), &page(Some(80)))));
        insta::assert_snapshot!(plain(&stats(&samples::nobody(), &page(Some(80)))));
    }

    #[test]
    fn hostile_names_stay_in_their_place() {
        let text = plain(&stats(&samples::hostile(), &page(Some(80))));
        assert!(!text.contains('\u{1b}') && !text.contains('\u{202E}'));
        insta::assert_snapshot!(text);
    }

    #[test]
    fn figures_line_up_whatever_the_names_are() {
        let text = plain(&stats(&samples::many(256), &page(Some(100))));
        let ends: std::collections::BTreeSet<usize> = text
            .lines()
            .filter(|line| line.starts_with("  running"))
            .filter_map(|line| line.find("exact"))
            .collect();
        assert_eq!(
            ends.len(),
            1,
            "the column of exactness begins at one place: {ends:?}"
        );
        assert_eq!(
            text.lines()
                .filter(|line| line.starts_with("  running"))
                .count(),
            256
        );
    }
}
