//! Writes to standard output, for people with styles where they are wanted, for programs as JSON lines.

use std::io::{self, Write};

use serde::Serialize;

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
    let mut line = serde_json::to_vec(value).map_err(|error| {
        Failure::new(format!(
            "The answer cannot be written as JSON: {error}. This is a defect; please report it."
        ))
    })?;
    line.push(b'\n');
    let mut out = io::stdout().lock();
    written(out.write_all(&line).and_then(|()| out.flush()))
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
