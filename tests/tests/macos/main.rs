//! The macOS agent and daemon with the plug-in's real device and a made-up Core Audio: they run on Linux.

mod agent;
mod apps;
mod daemon;
