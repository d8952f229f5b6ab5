//! Doors for the programs in fuzz/ to the parsers of what others wrote. Only in builds for fuzzing.

pub use crate::cli::fuzz_graph as graph_dump;
pub use crate::combo::fuzz as hotkey;
pub use crate::install::fuzz as installation;
pub use crate::supervise::fuzz_message as supervisor_message;
