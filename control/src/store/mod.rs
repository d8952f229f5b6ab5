//! The history of counts in SQLite, per client and minute, written by its own thread.
