//! The local API: one JSON object a line over a Unix socket, or a named pipe on Windows. What the lines mean is in [`crate::protocol`]; what they
//! do is in [`crate::daemon`].

mod client;
mod connection;
mod connections;
mod lines;
mod parse;
mod server;
mod socket;

pub use client::{Client, ClientError};
pub use connection::RATE;
pub use connections::{MAX_CONNECTIONS, MAX_FOLLOWERS};
pub use parse::parse_request;
pub use server::Server;
pub use socket::{OwnSocket, SocketError, default_path};
