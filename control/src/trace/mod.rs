//! The trace: every pull and every state change, one JSON object a line. This is what researchers take home; docs/trace.md
//! describes it for them. [`Lines`] is the daemon's side, [`write_file`] the command line's.

mod file;
mod lines;

pub use file::{Summary, Target, TraceError, write_file};
pub use lines::{Lines, Next};
