//! Clients grouped per app, for people: an app often records through several streams at once (Chromium opens one per
//! tab). Counts stay with the clients; nothing here adds them up.

use std::collections::BTreeMap;
use std::path::PathBuf;
use truemute_core::observed::{Client, Identity};

/// The clients of one app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppGroup {
    /// The app's name for people: that of its first client.
    pub app: String,
    /// The weakest identity among its clients.
    pub identity: Identity,
    /// [`Client::id`] of each, in the order given.
    pub clients: Vec<u64>,
}

/// Groups clients that are one app: the same process running the same file where somebody vouches for the pid, the same
/// name where it is only claimed. A claimed name never joins a group that somebody vouches for. Groups come in the order
/// of their first clients. Pure; any thread.
pub fn group_by_app(clients: &[Client]) -> Vec<AppGroup> {
    #[derive(PartialEq, Eq, PartialOrd, Ord)]
    enum Key<'a> {
        Process(u32, Option<&'a PathBuf>),
        Name(&'a str),
    }
    let mut groups: Vec<AppGroup> = Vec::new();
    let mut places = BTreeMap::new();
    for client in clients {
        let key = match (client.who.identity, client.who.pid) {
            (Identity::Verified | Identity::Corroborated, Some(pid)) => {
                Key::Process(pid, client.who.executable.as_ref())
            }
            _ => Key::Name(&client.who.app),
        };
        let place = *places.entry(key).or_insert(groups.len());
        match groups.get_mut(place) {
            Some(group) => {
                group.identity = group.identity.max(client.who.identity);
                group.clients.push(client.id);
            }
            None => groups.push(AppGroup {
                app: client.who.app.clone(),
                identity: client.who.identity,
                clients: vec![client.id],
            }),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use truemute_core::observed::{Api, ClientState, CountedBy, Counts, Purpose, Who};

    fn client(id: u64, app: &str, pid: Option<u32>, identity: Identity) -> Client {
        Client {
            id,
            who: Who {
                app: app.to_owned(),
                stream: String::new(),
                pid,
                executable: (identity != Identity::Claimed)
                    .then(|| PathBuf::from(format!("/usr/bin/{app}"))),
                identity,
                puller: None,
                api: Api::Pulse,
                purpose: Purpose::Recording,
            },
            state: ClientState::Running,
            app_muted: false,
            counted_by: CountedBy::ActivationRecord,
            counts: Counts::default(),
            offers: None,
            first_seen_ns: 0,
            last_pull_ns: None,
        }
    }

    fn groups(clients: &[Client]) -> Vec<Vec<u64>> {
        group_by_app(clients)
            .into_iter()
            .map(|it| it.clients)
            .collect()
    }

    #[test]
    fn streams_of_one_process_are_one_app_and_two_processes_are_two() {
        use Identity::{Corroborated, Verified};
        let clients = [
            client(1, "chromium", Some(10), Corroborated),
            client(2, "pw-record", Some(11), Verified),
            client(3, "chromium", Some(10), Verified),
            client(4, "chromium", Some(12), Corroborated),
        ];
        assert_eq!(groups(&clients), [vec![1, 3], vec![2], vec![4]]);
        let first = &group_by_app(&clients)[0];
        assert_eq!(
            (first.app.as_str(), first.identity),
            ("chromium", Corroborated)
        );
        assert!(group_by_app(&[]).is_empty());
    }

    #[test]
    fn a_claim_never_joins_what_is_vouched_for() {
        let clients = [
            client(1, "zoom", Some(10), Identity::Verified),
            client(2, "zoom", Some(10), Identity::Claimed),
            client(3, "zoom", Some(99), Identity::Claimed),
            client(4, "zoom", None, Identity::Claimed),
        ];
        assert_eq!(groups(&clients), [vec![1], vec![2, 3, 4]]);
    }

    #[test]
    fn one_pid_with_two_files_is_two_apps() {
        // The process began to run another file (execve), or the pid came into other hands.
        let clients = [
            client(1, "sh", Some(10), Identity::Verified),
            client(2, "parecord", Some(10), Identity::Verified),
        ];
        assert_eq!(groups(&clients), [vec![1], vec![2]]);
    }
}
