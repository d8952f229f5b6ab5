//! What a text is laid out for: how wide, at what time, in which time zone. Nothing here knows what is printed.

use std::fmt::Write as _;
use std::io::IsTerminal as _;

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// What a text is laid out for. Tests make their own, so that a text depends on nothing but its arguments.
#[derive(Clone, Debug)]
pub struct Page {
    /// Columns of the terminal; `None` if the reader is a file or a program, which gets every column and plain figures.
    pub width: Option<u16>,
    /// The present, for "4 min ago".
    pub now: Timestamp,
    /// The zone for times of day.
    pub zone: TimeZone,
}

impl Page {
    /// For the standard output of this process, now. Any thread but the audio thread.
    pub fn of_stdout() -> Self {
        let width = std::io::stdout()
            .is_terminal()
            .then(|| ratatui::crossterm::terminal::size().map_or(80, |(columns, _)| columns));
        Self {
            width,
            now: Timestamp::now(),
            zone: TimeZone::system(),
        }
    }

    /// Columns to break text at. Without a terminal nothing is broken, so that a program finds one fact on one line.
    pub(super) fn columns(&self) -> usize {
        self.width.map_or(usize::MAX, usize::from).max(20)
    }

    /// A whole number: in groups of three on a terminal (a space between, as ISO 80000-1 has it, for a comma and a point
    /// mean opposite things in different countries), plain digits elsewhere.
    pub(super) fn figure(&self, number: u64) -> String {
        let digits = number.to_string();
        if self.width.is_none() || digits.len() < 5 {
            return digits;
        }
        let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
        for (index, digit) in digits.chars().enumerate() {
            if index > 0 && (digits.len() - index).is_multiple_of(3) {
                grouped.push(' ');
            }
            grouped.push(digit);
        }
        grouped
    }

    /// Adds `label` and `text` in two columns, `text` broken so that it stays in the second.
    pub(super) fn fact(&self, out: &mut String, label: &str, text: &str) {
        const LABEL: usize = 15;
        self.lines(out, &format!("{label:<LABEL$}"), &" ".repeat(LABEL), text);
    }

    /// Adds `text`, broken between words at the page's width; `first` opens the first line, `next` all others.
    pub(super) fn lines(&self, out: &mut String, first: &str, next: &str, text: &str) {
        let options = textwrap::Options::new(self.columns())
            .word_splitter(textwrap::WordSplitter::NoHyphenation)
            .initial_indent(first)
            .subsequent_indent(next);
        for line in textwrap::wrap(text, options) {
            let _ = writeln!(out, "{}", line.trim_end());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::page;

    #[test]
    fn figures_are_grouped_for_people_and_plain_for_programs() {
        assert_eq!(page(Some(80)).figure(9999), "9999");
        assert_eq!(page(Some(80)).figure(12_345_678), "12 345 678");
        assert_eq!(page(None).figure(12_345_678), "12345678");
    }

    #[test]
    fn a_fact_stays_in_its_column() {
        let mut out = String::new();
        page(Some(30)).fact(
            &mut out,
            "Warning",
            "the disk is full and counting goes on in memory",
        );
        assert_eq!(
            out,
            "Warning        the disk is\n               full and\n               counting goes\n               on in memory\n"
        );
    }
}
