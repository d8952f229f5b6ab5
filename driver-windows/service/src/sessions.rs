//! Audio sessions: who records from which endpoint, as Windows tells each user's programs (`IAudioSessionManager2`). Presence is
//! exact; no session says how much it got.

use std::fmt::Debug;

use truemute_agent::system::{Recorder, SystemError};

/// One app's session on one endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// What tells it from every other one (`GetSessionInstanceIdentifier`).
    pub id: String,
    /// Its process; nothing if it spans several (`AUDCLNT_S_NO_SINGLE_PROCESS`).
    pub pid: Option<u32>,
    /// Its own name, mostly empty.
    pub name: String,
    /// The id of its endpoint.
    pub endpoint: String,
    /// Whether it has a stream that runs (`AudioSessionStateActive`).
    pub active: bool,
}

/// Who has sessions on capture endpoints. Any thread but an audio thread may ask.
pub trait Sessions: Send + Sync {
    /// All of them that have not expired, our own included.
    ///
    /// # Errors
    /// The audio service does not answer.
    fn sessions(&self) -> Result<Vec<Session>, SystemError>;
}

/// The processes that record, by their sessions. One that spans several processes has no number, and is nobody's.
pub fn recorders(sessions: &[Session]) -> Vec<Recorder> {
    let mut recorders: Vec<Recorder> = Vec::new();
    for session in sessions.iter().filter(|session| session.active) {
        let Some(pid) = session.pid else { continue };
        match recorders.iter_mut().find(|recorder| recorder.pid == pid) {
            Some(recorder) => recorder.inputs.push(session.endpoint.clone()),
            None => recorders.push(Recorder {
                pid,
                label: None,
                inputs: vec![session.endpoint.clone()],
            }),
        }
    }
    recorders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_records_is_a_process_with_all_its_active_sessions() {
        let session = |pid, endpoint: &str, active| Session {
            id: format!("{pid:?} {endpoint}"),
            pid,
            name: String::new(),
            endpoint: endpoint.into(),
            active,
        };
        let found = recorders(&[
            session(Some(7), "a", true),
            session(Some(8), "a", false),
            session(None, "a", true),
            session(Some(7), "b", true),
        ]);
        assert_eq!(
            found,
            [Recorder {
                pid: 7,
                label: None,
                inputs: vec!["a".into(), "b".into()]
            }]
        );
    }
}
