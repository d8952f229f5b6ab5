//! Draws a [`Model`]. The gate has the whole first line, with a word, a mark and a colour; everything else gives way to
//! it on a small screen.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Text};
use ratatui::widgets::{Block, Clear, Paragraph, Wrap};

use super::model::Model;
use super::table;
use crate::protocol::Status;
use crate::report::words::{self, Shown};
use crate::report::{Page, clean, when};
use crate::system;

const KEYS: &str = "m mute/unmute  ←→ sort  r reverse  ↑↓ scroll  ? help  q quit";

/// For narrow screens.
const FEW_KEYS: &str = "m mute/unmute  ? help  q quit";

const HELP: &str = "\
m        mute if LIVE is shown, unmute if MUTED is shown
left, right  choose the column to sort by
r        reverse the order
up, down, PgUp, PgDn  scroll
?        this help
q, Esc, Ctrl-C  quit

live/s, muted/s  pulls a second while live and while muted
frames   samples of one channel that were delivered in all
last     time since the last pull
counts   exact; N flagged: exact but for N doubtful cycles; estimated
identity how far app and pid can be believed";

/// Draws `model` on the whole of `frame`.
pub(super) fn draw(model: &Model, page: &Page, frame: &mut Frame<'_>) {
    let area = frame.area();
    let facts = facts(model, page, area);
    let footer = footer(model, area);
    let banner_height = if area.height >= 16 { 3 } else { 1 };
    let footer_height = (footer.len() as u16).min(area.height.saturating_sub(banner_height));
    let facts_height = (facts.len() as u16).min(
        area.height
            .saturating_sub(banner_height + footer_height + 3),
    );
    let [banner_area, facts_area, table_area, footer_area] = Layout::vertical([
        Constraint::Length(banner_height),
        Constraint::Length(facts_height),
        Constraint::Min(0),
        Constraint::Length(footer_height),
    ])
    .areas(area);

    banner(model, page, frame, banner_area);
    frame.render_widget(Paragraph::new(facts), facts_area);
    if model.shown() != Shown::Unknown || model.stats().is_some() {
        table::draw(model, page, frame, table_area);
    }
    frame.render_widget(Paragraph::new(footer), footer_area);
    if model.help() {
        help(frame, area);
    }
}

/// A mark that differs in shape, made of characters that every terminal has: sound going out, a crossed box, questions.
fn mark(shown: Shown, leaky: bool) -> &'static str {
    match shown {
        Shown::Live => ")))",
        Shown::Muted if leaky => "[!]",
        Shown::Muted => "[X]",
        Shown::Unknown => "???",
    }
}

/// Blue is only for a mute that holds for everybody.
fn colours(shown: Shown, leaky: bool) -> Style {
    let (letters, ground) = match shown {
        Shown::Live => (Color::Black, Color::LightYellow),
        Shown::Muted if !leaky => (Color::White, Color::Blue),
        Shown::Muted | Shown::Unknown => (Color::White, Color::Red),
    };
    Style::new()
        .fg(letters)
        .bg(ground)
        .add_modifier(Modifier::BOLD)
}

fn banner(model: &Model, page: &Page, frame: &mut Frame<'_>, area: Rect) {
    let shown = model.shown();
    let leaky = model.status().is_some_and(words::is_leaky);
    let (word, mark) = (shown.word(), mark(shown, leaky));
    let (meaning, since) = match model.status() {
        Some(status) if shown != Shown::Unknown => (
            words::meaning(status),
            format!(" for {} ", when::ago(&status.since, page.now)),
        ),
        _ if model.is_gone() => (
            format!("no daemon: state unknown, {}", shown.meaning()),
            String::new(),
        ),
        _ => ("asking the daemon".into(), String::new()),
    };
    let style = colours(shown, leaky);
    let middle = Rect {
        y: area.y + area.height / 2,
        height: area.height.min(1),
        ..area
    };
    frame.render_widget(Block::new().style(style), area);
    frame.render_widget(
        Line::styled(format!(" {mark} {word} {mark}  {meaning}"), style),
        middle,
    );
    let left = 12 + word.len() + meaning.chars().count();
    if left + since.len() <= usize::from(area.width) {
        frame.render_widget(Line::styled(since, style).right_aligned(), middle);
    }
}

/// The lines between the banner and the table.
fn facts(model: &Model, page: &Page, area: Rect) -> Vec<Line<'static>> {
    let width = usize::from(area.width);
    match model.status() {
        Some(status) => known(status, page, width),
        None => {
            let mut lines = vec![Line::raw(clean(model.trouble(), width))];
            if model.is_gone() {
                lines.push(Line::raw(format!(
                    "Trying again. To start it: {}",
                    system::START
                )));
            }
            lines
        }
    }
}

fn known(status: &Status, page: &Page, width: usize) -> Vec<Line<'static>> {
    let alarm = Style::new()
        .fg(Color::White)
        .bg(Color::Red)
        .add_modifier(Modifier::BOLD);
    let mut lines = Vec::new();
    for bypass in &status.bypasses {
        let pid = bypass
            .who
            .pid
            .map_or_else(String::new, |pid| format!(" (pid {pid})"));
        let text = format!(
            "BYPASS{pid} {} records from {}",
            clean(&bypass.who.app, 40),
            clean(&bypass.real_mic, 80)
        );
        lines.push(Line::styled(clean(&text, width), alarm));
    }
    let why = format!(
        "{}, since {}",
        words::reason(&status.reason),
        when::since(&status.since, page)
    );
    lines.push(Line::raw(clean(&why, width)));
    let mic = &status.real_mic;
    let name = if mic.description.is_empty() {
        &mic.name
    } else {
        &mic.description
    };
    let name = if name.is_empty() {
        String::new()
    } else {
        format!(", {}", clean(name, 80))
    };
    lines.push(Line::raw(clean(
        &format!("real mic {}{name}", words::mic(mic.state)),
        width,
    )));
    let format = words::format(&status.virtual_mic);
    let server = if status.connected {
        ""
    } else {
        ", AUDIO SERVER NOT CONNECTED"
    };
    let text = format!("virtual mic {format}, clients {}{server}", status.clients);
    lines.push(Line::raw(clean(&text, width)));
    if let Some(first) = status.warnings.first() {
        let more = match status.warnings.len() {
            1 => String::new(),
            count => format!(" (and {} more: truemute status)", count - 1),
        };
        let text = format!("warning: {}{more}", clean(first, 300));
        lines.push(Line::styled(
            clean(&text, width),
            Style::new().add_modifier(Modifier::BOLD),
        ));
    }
    lines
}

/// The keys, or the whole reply to the last one.
fn footer(model: &Model, area: Rect) -> Vec<Line<'static>> {
    let width = usize::from(area.width.max(1));
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let text = match model.reply() {
        Some(Ok(switched)) => {
            let shown = Shown::from(switched.gate);
            format!(
                "{}: {}",
                shown.word(),
                crate::report::switched::sentence(switched)
            )
        }
        Some(Err(error)) => clean(
            &format!("NOT DONE: {} {}", error.message, error.remedy),
            500,
        ),
        None if model.waiting() => "asked, waiting for the audio thread".into(),
        None if width < KEYS.chars().count() => return vec![Line::raw(FEW_KEYS)],
        None => return vec![Line::raw(KEYS)],
    };
    let lines = textwrap::wrap(&text, width).into_iter();
    lines
        .map(|line| Line::styled(line.into_owned(), bold))
        .collect()
}

fn help(frame: &mut Frame<'_>, area: Rect) {
    let lines = HELP.lines().count() as u16;
    // The banner stays in sight.
    let top = if area.height >= 16 { 3 } else { 1 };
    let place = Rect {
        x: area.x,
        y: area.y + top.min(area.height),
        width: area.width,
        height: (lines + 2).min(area.height.saturating_sub(top)),
    };
    frame.render_widget(Clear, place);
    let text = Paragraph::new(Text::raw(HELP)).wrap(Wrap { trim: false });
    frame.render_widget(text.block(Block::bordered().title(" help ")), place);
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use ratatui::buffer::Buffer;

    use super::*;
    use crate::protocol::{GateState, Stats, WatchEvent};
    use crate::report::samples;
    use crate::top::model::{Key, News};

    fn model(status: Status, stats: Stats) -> Model {
        let mut model = Model::new();
        let now = Instant::now();
        let mut earlier = stats.clone();
        earlier.until = "2026-11-22T08:04:06Z".into();
        for client in &mut earlier.clients {
            client.live.pulls =
                client
                    .live
                    .pulls
                    .saturating_sub(if status.gate == GateState::Live {
                        47
                    } else {
                        0
                    });
            client.muted.pulls =
                client
                    .muted
                    .pulls
                    .saturating_sub(if status.gate == GateState::Live {
                        0
                    } else {
                        47
                    });
        }
        for event in [
            WatchEvent::State(status),
            WatchEvent::Counts(earlier),
            WatchEvent::Counts(stats),
        ] {
            model.update(News::Event(Box::new(event)), now);
        }
        model
    }

    fn drawn(model: &Model, width: u16, height: u16) -> Terminal<TestBackend> {
        let mut terminal =
            Terminal::new(TestBackend::new(width, height)).expect("a buffer in memory");
        let page = samples::page(Some(width));
        terminal
            .draw(|frame| draw(model, &page, frame))
            .expect("a buffer in memory");
        terminal
    }

    fn first_line(buffer: &Buffer) -> String {
        (0..buffer.area.width)
            .map(|x| buffer[(x, 0)].symbol())
            .collect()
    }

    #[test]
    fn muted_80x24() {
        insta::assert_snapshot!(
            drawn(&model(samples::muted(), samples::stats()), 80, 24).backend()
        );
    }

    #[test]
    fn live_wide() {
        insta::assert_snapshot!(
            drawn(&model(samples::live(), samples::stats()), 120, 16).backend()
        );
    }

    #[test]
    fn small_40x10() {
        insta::assert_snapshot!(
            drawn(&model(samples::muted(), samples::stats()), 40, 10).backend()
        );
    }

    #[test]
    fn trouble_80x24() {
        insta::assert_snapshot!(
            drawn(&model(samples::trouble(), samples::nobody()), 80, 24).backend()
        );
    }

    #[test]
    fn hostile_names() {
        insta::assert_snapshot!(
            drawn(
                &model(samples::hostile_status(), samples::hostile()),
                80,
                20
            )
            .backend()
        );
    }

    #[test]
    fn more_rows_than_lines() {
        let mut model = model(samples::live(), samples::many(50));
        model.update(News::Key(Key::PageDown), Instant::now());
        insta::assert_snapshot!(drawn(&model, 80, 14).backend());
    }

    #[test]
    fn no_daemon() {
        let mut model = model(samples::muted(), samples::stats());
        model.update(
            News::Gone("The daemon closed the connection.".into()),
            Instant::now(),
        );
        let screen = drawn(&model, 80, 24);
        let text = screen.backend().to_string();
        assert!(
            !text.contains("MUTED") && !text.contains("Firefox"),
            "nothing old stays: {text}"
        );
        insta::assert_snapshot!(screen.backend());
    }

    #[test]
    fn help_leaves_the_banner_in_sight() {
        let mut model = model(samples::live(), samples::stats());
        model.update(News::Key(Key::Help), Instant::now());
        insta::assert_snapshot!(drawn(&model, 80, 24).backend());
        assert!(first_line(drawn(&model, 40, 10).backend().buffer()).contains("LIVE"));
    }

    #[test]
    fn the_reply_is_shown() {
        let mut model = model(samples::muted(), samples::stats());
        let reply = samples::switched_at(GateState::Muted, Some(123_456));
        model.update(News::Reply(Ok(reply)), Instant::now());
        let text = drawn(&model, 80, 24).backend().to_string();
        assert!(
            text.contains("MUTED: from frame 123456 of clock 37 on, after 3.2 ms"),
            "{text}"
        );
    }

    #[test]
    fn a_refusal_is_shown_whole() {
        let mut model = model(samples::muted(), samples::stats());
        let refusal = crate::protocol::ErrorObject {
            code: crate::protocol::ErrorCode::NoServer,
            message: "There is no audio server to unmute on.".into(),
            remedy:
                "Start PipeWire (systemctl --user start pipewire wireplumber), then unmute again."
                    .into(),
        };
        model.update(News::Reply(Err(refusal)), Instant::now());
        insta::assert_snapshot!(drawn(&model, 60, 20).backend());
    }

    #[test]
    fn word_mark_and_colour_each_tell_the_state() {
        let mut gone = Model::new();
        gone.update(News::Gone("gone".into()), Instant::now());
        let models = [
            model(samples::live(), samples::stats()),
            model(samples::muted(), samples::stats()),
            gone,
        ];
        for (model, word) in models
            .iter()
            .zip([Shown::Live, Shown::Muted, Shown::Unknown])
        {
            let screen = drawn(model, 80, 10);
            let buffer = screen.backend().buffer();
            let line = first_line(buffer);
            assert!(
                line.contains(word.word()) && line.contains(mark(word, false)),
                "{line}"
            );
            let ground = colours(word, false).bg.expect("a colour");
            assert!(
                (0..80).all(|x| buffer[(x, 0)].bg == ground),
                "the whole line has the colour"
            );
        }
        let grounds =
            [Shown::Live, Shown::Muted, Shown::Unknown].map(|shown| colours(shown, false).bg);
        assert!(grounds[0] != grounds[1] && grounds[1] != grounds[2] && grounds[0] != grounds[2]);
    }

    #[test]
    fn a_mute_with_a_bypass_does_not_look_like_a_mute() {
        let screen = drawn(&model(samples::trouble(), samples::nobody()), 80, 10);
        let buffer = screen.backend().buffer();
        assert!(first_line(buffer).contains("[!] MUTED [!]  NOT FOR ALL"));
        assert_ne!(Some(buffer[(0, 0)].bg), colours(Shown::Muted, false).bg);
    }

    #[test]
    fn every_size_can_be_drawn() {
        let mut model = model(samples::trouble(), samples::many(9));
        for help in [false, true] {
            if help {
                model.update(News::Key(Key::Help), Instant::now());
            }
            for (width, height) in (1..100)
                .step_by(13)
                .flat_map(|w| (1..30).step_by(3).map(move |h| (w, h)))
            {
                let screen = drawn(&model, width, height);
                if width >= 20 {
                    let text = screen.backend().to_string();
                    assert!(text.contains("MUTED"), "{width}x{height}: {text}");
                }
            }
        }
    }
}
