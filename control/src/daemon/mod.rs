//! The daemon: one actor holds the mute state, drives the backend and tells everybody who watches.

pub mod feed;
mod history;

pub use history::{GateChange, History};
