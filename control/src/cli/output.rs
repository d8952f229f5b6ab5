//! Writes to standard output, for people with styles where they are wanted, for programs as JSON lines.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::Formatter;

use super::Failure;

/// Prints text for people.
pub(super) fn text(text: &str) -> Result<(), Failure> {
    let mut out = anstream::stdout().lock();
    written(out.write_all(text.as_bytes()).and_then(|()| out.flush())).map(|_| ())
}

/// Prints bytes that are for programs, as they are.
pub(super) fn bytes(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    written(out.write_all(bytes).and_then(|()| out.flush())).map(|_| ())
}

/// Says something beside the output, on stderr. Nothing is left to tell it to if that is closed.
pub(super) fn note(text: &str) {
    let _ = writeln!(io::stderr(), "truemute: {text}");
}

/// Prints one JSON object on one line.
pub(super) fn json(value: &impl Serialize) -> Result<(), Failure> {
    json_line(value).map(|_| ())
}

/// Prints one JSON object on one line. False: the reader has gone (`truemute watch | head`), which is no failure.
pub(super) fn json_line(value: &impl Serialize) -> Result<bool, Failure> {
    let line = line_of(value).map_err(|error| {
        Failure::new(format!(
            "The answer cannot be written as JSON: {error}. This is a defect; please report it."
        ))
    })?;
    let mut out = io::stdout().lock();
    written(out.write_all(&line).and_then(|()| out.flush()))
}

fn line_of(value: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut line = Vec::new();
    value.serialize(&mut Serializer::with_formatter(&mut line, Escaping))?;
    line.push(b'\n');
    Ok(line)
}

/// Escapes DEL and the C1 controls too, which JSON allows as they are: an app's name is the app's choice, a person may run
/// `--json` on a terminal, and terminals obey U+009B like ESC [.
struct Escaping;

impl Formatter for Escaping {
    fn write_string_fragment<W: Write + ?Sized>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        for piece in fragment.split_inclusive(|it: char| it.is_control()) {
            match piece.chars().next_back().filter(|it| it.is_control()) {
                Some(control) => {
                    let plain = piece.strip_suffix(control).unwrap_or_default();
                    write!(writer, "{plain}\\u{:04x}", u32::from(control))?;
                }
                None => writer.write_all(piece.as_bytes())?,
            }
        }
        Ok(())
    }
}

fn written(result: io::Result<()>) -> Result<bool, Failure> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::new(format!(
            "The output cannot be written: {error}. Check the disk or the program that reads it."
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_has_no_control_character_and_says_the_same() {
        let name = "a\u{9b}2Jb\u{7f}\u{85}\nc\u{1b}[0m é\u{9f}";
        let line = String::from_utf8(line_of(&name).unwrap()).unwrap();
        assert_eq!(
            line,
            "\"a\\u009b2Jb\\u007f\\u0085\\nc\\u001b[0m é\\u009f\"\n"
        );
        assert_eq!(serde_json::from_str::<String>(&line).unwrap(), name);
    }
}
