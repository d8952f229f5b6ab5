//! The Windows agent and daemon with the driver's portable parts, a made-up audio system and made-up sessions: they run on Linux.

mod agent;
mod daemon;
