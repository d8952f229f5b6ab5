//! The picture of the demo for the README, drawn from what a real run left on a terminal. To record another run, on a terminal
//! of this width (tmux asks no questions of its own):
//!
//! ```sh
//! tmux -L picture -f /dev/null new-session -d -x 112 -y 60 'truemute demo; sleep 20'
//! sleep 20; tmux -L picture capture-pane -e -p > docs/pictures/demo.ansi; tmux -L picture kill-server
//! ```
//!
//! and then the picture, as [`crate::picture`] says.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};

use crate::picture::{assert_current, folder};

const COLUMNS: u16 = 112;

/// What a terminal shows after `text`, down to its last line.
fn screen(text: &str) -> Buffer {
    let text = text.trim_end();
    let rows = text.lines().count() as u16;
    let mut terminal = vt100::Parser::new(rows, COLUMNS, 0);
    terminal.process(text.replace('\n', "\r\n").as_bytes());
    let mut buffer = Buffer::empty(Rect::new(0, 0, COLUMNS, rows));
    for (row, column) in (0..rows).flat_map(|row| (0..COLUMNS).map(move |column| (row, column))) {
        let Some(from) = terminal.screen().cell(row, column) else {
            continue;
        };
        let mut style = Style::new()
            .fg(colour(from.fgcolor()))
            .bg(colour(from.bgcolor()));
        if from.bold() {
            style = style.add_modifier(Modifier::BOLD);
        }
        let cell = &mut buffer[(column, row)];
        cell.set_style(style);
        if from.has_contents() {
            cell.set_symbol(from.contents());
        }
    }
    buffer
}

fn colour(colour: vt100::Color) -> Color {
    match colour {
        vt100::Color::Idx(0) => Color::Black,
        vt100::Color::Idx(1) => Color::Red,
        vt100::Color::Idx(4) => Color::Blue,
        vt100::Color::Idx(11) => Color::LightYellow,
        vt100::Color::Idx(15) => Color::White,
        _ => Color::Reset,
    }
}

#[test]
fn the_picture_shows_the_recorded_run() {
    let text = std::fs::read_to_string(folder().join("demo.ansi")).expect("a recorded run");
    assert!(
        text.contains("Not one bit arrived while muted"),
        "this run proves nothing"
    );
    assert_current("demo.svg", &screen(&text));
}
