//! Plug-in and agent in processes of their own, or one of them and a peer that keeps to no rule: zeros, never a crash, never
//! stale sound, and the next one is welcome.
#![cfg(target_os = "linux")]

#[path = "../stage/ear.rs"]
mod ear;
mod faults;
mod hostile;
mod process;
mod raw;
