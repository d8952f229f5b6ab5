//! Pictures of screens for the papers, as SVG with selectable text. `top/picture.rs` and `demo/picture.rs` know what is on
//! them. `TRUEMUTE_UPDATE_PICTURES=1 cargo test -p truemute picture` writes docs/pictures anew; without it, tests compare.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use ratatui::buffer::{Buffer, Cell};
use ratatui::style::{Color, Modifier};

/// Where the pictures are.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/pictures")
}

/// Fails if the picture `name` does not show `buffer`, or draws it anew.
pub(crate) fn assert_current(name: &str, buffer: &Buffer) {
    let (path, now) = (folder().join(name), svg(buffer));
    if std::env::var_os("TRUEMUTE_UPDATE_PICTURES").is_some() {
        std::fs::create_dir_all(folder()).expect("docs can be written");
        std::fs::write(&path, &now).expect("docs can be written");
    }
    let then = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        then == now,
        "docs/pictures/{name} shows an old screen; the first lines of control/src/picture.rs say how to renew it"
    );
}

/// Size of a cell in the picture; the font is told to fit.
const CELL: (usize, usize) = (9, 19);

/// `buffer` as an SVG image with selectable text.
fn svg(buffer: &Buffer) -> String {
    let (columns, rows) = (
        usize::from(buffer.area.width),
        usize::from(buffer.area.height),
    );
    let (width, height) = (columns * CELL.0, rows * CELL.1);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
         font-family=\"DejaVu Sans Mono, Menlo, Consolas, monospace\" font-size=\"15\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"{}\"/>\n",
        colour(Color::Black)
    );
    for (row, cells) in buffer.content.chunks(columns).enumerate() {
        let mut first = 0;
        for run in cells.chunk_by(|one, next| one.style() == next.style()) {
            draw_run(&mut out, run, first, row);
            first += run.len();
        }
    }
    out.push_str("</svg>\n");
    out
}

/// Neighbouring cells of one style. Each word is placed by itself: renderers differ in what they do with spaces.
fn draw_run(out: &mut String, run: &[Cell], column: usize, row: usize) {
    let (x, y, width) = (column * CELL.0, row * CELL.1, run.len() * CELL.0);
    let cell = &run[0];
    if cell.bg != Color::Reset {
        let fill = colour(cell.bg);
        let _ = writeln!(
            out,
            "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{}\" fill=\"{fill}\"/>",
            CELL.1
        );
    }
    let letters = colour(if cell.fg == Color::Reset {
        Color::Gray
    } else {
        cell.fg
    });
    if cell.modifier.contains(Modifier::UNDERLINED) {
        let line = y + CELL.1 - 2;
        let _ = writeln!(
            out,
            "<rect x=\"{x}\" y=\"{line}\" width=\"{width}\" height=\"1\" fill=\"{letters}\"/>"
        );
    }
    let mut style = format!("fill=\"{letters}\"");
    for (modifier, attribute) in [
        (Modifier::BOLD, " font-weight=\"bold\""),
        (Modifier::DIM, " opacity=\"0.6\""),
    ] {
        style.push_str(if cell.modifier.contains(modifier) {
            attribute
        } else {
            ""
        });
    }
    let mut at = column;
    for word in run.chunk_by(|one, next| (one.symbol() == " ") == (next.symbol() == " ")) {
        if word[0].symbol() != " " {
            let text: String = word.iter().map(Cell::symbol).collect();
            let text = text
                .replace('&', "&amp;")
                .replace('<', "&lt;")
                .replace('>', "&gt;");
            let (left, base, length) = (at * CELL.0, y + CELL.1 - 5, word.len() * CELL.0);
            let _ = writeln!(
                out,
                "<text x=\"{left}\" y=\"{base}\" textLength=\"{length}\" {style}>{text}</text>"
            );
        }
        at += word.len();
    }
}

fn colour(colour: Color) -> &'static str {
    match colour {
        Color::Black => "#16181d",
        Color::White => "#ffffff",
        Color::LightYellow => "#ffe066",
        Color::Blue => "#1d4ed8",
        Color::Red => "#b91c1c",
        _ => "#d6d9df",
    }
}
