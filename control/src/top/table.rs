//! The table of streams in `truemute top`: which columns fit, in what order the rows come. After an app's name comes a
//! word of ours, so that right-to-left letters in a name cannot move figures on terminals that reorder lines.

use std::cmp::Ordering;

use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Text};
use ratatui::widgets::{Cell, Row, Table};
use truemute_core::observed::{ClientState, CountedBy, Identity, Purpose};

use super::model::{Model, Sort};
use super::rates::Rates;
use crate::protocol::ClientStats;
use crate::report::{Page, clean, when, words};

/// Narrowest name of an app.
const APP: u16 = 6;

struct Column {
    heading: &'static str,
    width: u16,
    alignment: Alignment,
    sort: Option<Sort>,
    /// Columns with a lower rank stay longer when the screen is narrow.
    rank: u8,
    cell: fn(&ClientStats, &Rates, &Page) -> String,
}

/// All columns after the app's name, as they stand on the screen.
const COLUMNS: [Column; 10] = [
    Column {
        heading: "state",
        width: 7,
        alignment: Alignment::Left,
        sort: Some(Sort::State),
        rank: 0,
        cell: |client, _, _| state(client).into(),
    },
    Column {
        heading: "pid",
        width: 7,
        alignment: Alignment::Right,
        sort: None,
        rank: 3,
        cell: |client, _, _| {
            client
                .who
                .pid
                .map_or_else(|| "-".into(), |pid| pid.to_string())
        },
    },
    Column {
        heading: "live/s",
        width: 7,
        alignment: Alignment::Right,
        sort: Some(Sort::LiveRate),
        rank: 0,
        cell: |client, rates, _| rate(rates.of(client).map(|rate| rate.live)),
    },
    Column {
        heading: "muted/s",
        width: 8,
        alignment: Alignment::Right,
        sort: Some(Sort::MutedRate),
        rank: 0,
        cell: |client, rates, _| rate(rates.of(client).map(|rate| rate.muted)),
    },
    Column {
        heading: "live pulls",
        width: 11,
        alignment: Alignment::Right,
        sort: None,
        rank: 6,
        cell: |client, _, _| fitted(client.live.pulls, 11),
    },
    Column {
        heading: "muted pulls",
        width: 11,
        alignment: Alignment::Right,
        sort: None,
        rank: 6,
        cell: |client, _, _| fitted(client.muted.pulls, 11),
    },
    Column {
        heading: "frames",
        width: 10,
        alignment: Alignment::Right,
        sort: Some(Sort::Frames),
        rank: 4,
        cell: |client, _, _| fitted(frames(client), 10),
    },
    Column {
        heading: "last",
        width: 5,
        alignment: Alignment::Right,
        sort: Some(Sort::LastPull),
        rank: 2,
        cell: |client, _, page| last(client, page),
    },
    Column {
        heading: "counts",
        width: 9,
        alignment: Alignment::Left,
        sort: None,
        rank: 1,
        cell: |client, _, _| counts(client),
    },
    Column {
        heading: "identity",
        width: 8,
        alignment: Alignment::Left,
        sort: None,
        rank: 5,
        cell: |client, _, _| identity(client).into(),
    },
];

/// Draws the streams of `model`.
pub(super) fn draw(model: &Model, page: &Page, frame: &mut Frame<'_>, area: Rect) {
    let Some(stats) = model.stats() else { return };
    let columns = fitting(area.width);
    let taken: u16 = columns.iter().map(|column| column.width + 1).sum();
    let app = area.width.saturating_sub(taken);
    let (sort, descending) = model.sort();

    let mut clients: Vec<&ClientStats> = stats.clients.iter().collect();
    clients.sort_by(|one, other| {
        let order = order(sort, one, other, model.rates());
        let order = if descending { order.reverse() } else { order };
        order.then_with(|| (one.instance, one.id).cmp(&(other.instance, other.id)))
    });

    let arrow = |of: Option<Sort>| match (of == Some(sort), descending) {
        (true, true) => "↓",
        (true, false) => "↑",
        (false, _) => "",
    };
    let head = [Cell::new(format!("app{}", arrow(Some(Sort::App))))]
        .into_iter()
        .chain(columns.iter().map(|column| {
            aligned(
                format!("{}{}", column.heading, arrow(column.sort)),
                column.alignment,
            )
        }));
    let room = usize::from(area.height.saturating_sub(1));
    let first = model.first_row().min(clients.len().saturating_sub(room));
    let rows = clients.iter().skip(first).take(room).map(|client| {
        let name = Cell::new(clean(&client.who.app, usize::from(app)));
        let cells = columns
            .iter()
            .map(|column| aligned((column.cell)(client, model.rates(), page), column.alignment));
        let style = match client.state {
            ClientState::Running => Style::new(),
            ClientState::Corked | ClientState::Gone => Style::new().add_modifier(Modifier::DIM),
        };
        Row::new([name].into_iter().chain(cells)).style(style)
    });
    let widths = [Constraint::Length(app)].into_iter().chain(
        columns
            .iter()
            .map(|column| Constraint::Length(column.width)),
    );
    let table = Table::new(rows, widths)
        .header(
            Row::new(head).style(Style::new().add_modifier(Modifier::BOLD | Modifier::UNDERLINED)),
        )
        .column_spacing(1);
    if clients.is_empty() {
        frame.render_widget(Line::raw("No app is connected to the virtual mic."), area);
    } else {
        frame.render_widget(table, area);
    }
}

fn aligned(text: String, alignment: Alignment) -> Cell<'static> {
    Cell::new(Text::from(text).alignment(alignment))
}

/// The columns that fit beside a name of at least [`APP`] columns; wider names before further columns.
fn fitting(width: u16) -> Vec<&'static Column> {
    let mut ranks: Vec<u8> = COLUMNS.iter().map(|column| column.rank).collect();
    ranks.sort_unstable();
    ranks.dedup();
    let of = |rank: u8| COLUMNS.iter().filter(move |column| column.rank <= rank);
    let fits = |rank: u8| of(rank).map(|column| column.width + 1).sum::<u16>() + APP <= width;
    let best = ranks.into_iter().take_while(|&rank| fits(rank)).last();
    best.map_or_else(Vec::new, |rank| of(rank).collect())
}

fn order(sort: Sort, one: &ClientStats, other: &ClientStats, rates: &Rates) -> Ordering {
    let live = |client| rates.of(client).map_or(-1.0, |rate| rate.live);
    let muted = |client| rates.of(client).map_or(-1.0, |rate| rate.muted);
    match sort {
        Sort::App => one
            .who
            .app
            .to_lowercase()
            .cmp(&other.who.app.to_lowercase()),
        Sort::State => state(one).cmp(state(other)),
        Sort::LiveRate => live(one).total_cmp(&live(other)),
        Sort::MutedRate => muted(one).total_cmp(&muted(other)),
        Sort::Frames => frames(one).cmp(&frames(other)),
        Sort::LastPull => one.last_pull.cmp(&other.last_pull),
    }
}

/// A meter or monitor is not a listener: that is worth more than whether it runs, which the rates show.
fn state(client: &ClientStats) -> &'static str {
    match (client.state, client.who.purpose) {
        (ClientState::Gone, _) => "gone",
        _ if client.app_muted => "muted",
        (_, Purpose::Meter) => "meter",
        (_, Purpose::Monitor) => "monitor",
        (_, Purpose::Engine) => "mixer",
        (ClientState::Running, Purpose::Recording) => "running",
        (ClientState::Corked, Purpose::Recording) => "corked",
    }
}

fn rate(rate: Option<f64>) -> String {
    rate.map_or_else(|| "-".into(), |rate| format!("{rate:.1}"))
}

/// `number` in at most `width` columns: a figure that lost digits at the edge would be misread, so it goes on in
/// thousands or millions, with the letter that says so.
fn fitted(number: u64, width: usize) -> String {
    let units = [
        (1, ""),
        (1_000, "k"),
        (1_000_000, "M"),
        (1_000_000_000, "G"),
    ];
    let texts = units.map(|(divisor, unit)| format!("{}{unit}", number / divisor));
    let fits = texts.iter().find(|text| text.len() <= width);
    fits.unwrap_or(&texts[3]).clone()
}

fn frames(client: &ClientStats) -> u64 {
    client.live.frames.saturating_add(client.muted.frames)
}

fn last(client: &ClientStats, page: &Page) -> String {
    let Some(at) = &client.last_pull else {
        return "never".into();
    };
    let ago = when::ago(at, page.now);
    // The larger unit is enough here.
    ago.split(' ')
        .take(2)
        .collect::<Vec<_>>()
        .join(" ")
        .replace(" min", " m")
}

fn counts(client: &ClientStats) -> String {
    match (client.counted_by, client.lost, client.xruns) {
        (CountedBy::Profiler | CountedBy::Events | CountedBy::Unattributed, _, _) => {
            words::exactness(client)
        }
        (_, 0, 0) => words::exactness(client),
        (_, 0, flagged) => format!("{flagged} flagged"),
        (_, lost, _) => format!("{lost} lost"),
    }
}

fn identity(client: &ClientStats) -> &'static str {
    match client.who.identity {
        Identity::Corroborated => "corrob.",
        other => words::identity(other),
    }
}
