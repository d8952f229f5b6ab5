//! What people read: status, tables and sentences made from [`crate::protocol`] types. Nothing here talks to a daemon
//! or prints: each function takes data and a [`Page`] and gives back styled text, which the caller prints through
//! `anstream`, so that styles vanish where they are not wanted (`NO_COLOR`, `--color`, pipes).
//!
//! Names of apps and streams come from strangers. All of them go through [`clean()`] before they reach a line.

mod app_switched;
mod clean;
mod findings;
mod locked;
mod page;
mod status;
mod streams;
pub(crate) mod switched;
pub(crate) mod when;
pub(crate) mod words;

pub use app_switched::app_switched;
pub use clean::clean;
pub use findings::{Finding, Verdict, findings};
pub use locked::locked;
pub use page::Page;
pub use status::{no_daemon, status};
pub use streams::{clients, stats};
pub use switched::switched;

#[cfg(test)]
pub(crate) mod samples;
