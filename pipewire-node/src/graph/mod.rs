//! What the server's graph looks like, and what follows from it for us.

pub(crate) mod choose;
pub(crate) mod flow;
pub(crate) mod model;
pub(crate) mod mutes;
pub(crate) mod props;
pub(crate) mod watch;
