//! `truemute daemon`: puts the parts of the service together.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use truemute_core::observed::Snapshot;

use super::Failure;
use crate::backend::{Backend, BackendError};
use crate::daemon::service::{self, Options};
use crate::daemon::{BackendFactory, EventSink, GateChange, History};
use crate::protocol::{ErrorCode, ErrorObject, SCHEMA, Stats, Unattributed};

pub(super) fn run(config: Option<PathBuf>, socket: PathBuf) -> Result<(), Failure> {
    log_to_stderr();
    let options = Options { config, socket };
    service::run(
        &options,
        |_| Box::new(NoBackendYet),
        |_| Arc::new(NoHistoryYet),
    )?;
    Ok(())
}

/// systemd's journal adds time and unit by itself; a terminal gets the time.
fn log_to_stderr() {
    use std::io::IsTerminal as _;
    let terminal = std::io::stderr().is_terminal();
    let log = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(terminal)
        .with_target(false);
    if terminal {
        log.init();
    } else {
        log.without_time().init();
    }
}

/// Holds the place of the PipeWire backend until it is there.
struct NoBackendYet;

impl BackendFactory for NoBackendYet {
    fn start(&mut self, _: EventSink) -> Result<Arc<dyn Backend>, BackendError> {
        Err(BackendError::Unreachable {
            what: "This build has no backend".into(),
            remedy: "Use a later one".into(),
        })
    }
}

/// Holds the place of the store until it is there.
struct NoHistoryYet;

impl History for NoHistoryYet {
    fn record(&self, _: &Arc<Snapshot>) {}
    fn server_lost(&self) {}
    fn gate_changed(&self, _: &GateChange) {}
    fn stats(&self, _: Option<Timestamp>) -> Result<Stats, ErrorObject> {
        Err(ErrorObject {
            code: ErrorCode::Store,
            message: "This build keeps no history.".into(),
            remedy: "Use a later one.".into(),
        })
    }
    fn clients(&self) -> Stats {
        let now = Timestamp::now().to_string();
        Stats {
            schema: SCHEMA,
            since: now.clone(),
            until: now,
            clients: Vec::new(),
            unattributed: Unattributed::default(),
        }
    }
    fn warnings(&self) -> Vec<String> {
        vec!["This build keeps no history.".into()]
    }
    fn close(&self) {}
}
