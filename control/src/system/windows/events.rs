//! The pipe over which the service passes Windows' events on: one name on the machine, made by the service, read by agents.

use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use truemute_windows::events::read::Dials;
use truemute_windows::events::serve::Accepts;

use super::pipe::{Bound, Stream};
use super::security::OpenTo;
use crate::api::SocketError;

/// Where it is.
const PATH: &str = r"\\.\pipe\truemute-events";

/// How long a reader may take for a line before it is given up: it would hold the thread for ever.
const WRITE_LIMIT: Duration = Duration::from_secs(5);

/// How long the service may be silent: it writes once a second.
const READ_LIMIT: Duration = Duration::from_secs(5);

/// The service's end.
pub(crate) struct EventsPipe(Bound);

impl EventsPipe {
    /// Makes the pipe.
    ///
    /// # Errors
    /// Somebody has it, or the system refuses it.
    pub(crate) fn make() -> io::Result<Arc<dyn Accepts>> {
        let bound = Bound::open_to(Path::new(PATH), OpenTo::Console);
        let bound = bound.map_err(|error| match error {
            SocketError::Io { source, .. } => source,
            other => io::Error::other(other),
        })?;
        Ok(Arc::new(Self(bound)))
    }
}

impl Accepts for EventsPipe {
    fn accept(&self) -> io::Result<Box<dyn Write + Send>> {
        let stream = self.0.accept()?;
        stream.set_write_timeout(Some(WRITE_LIMIT))?;
        Ok(Box::new(stream))
    }

    fn close(&self) {
        self.0.close();
    }
}

/// The readers' end.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct EventsService;

impl Dials for EventsService {
    fn dial(&self) -> io::Result<Box<dyn Read + Send>> {
        let stream = Stream::connect_to_service(Path::new(PATH))?;
        stream.set_read_timeout(Some(READ_LIMIT))?;
        Ok(Box::new(stream))
    }
}
