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
        let key = match (client.identity, client.pid) {
            (Identity::Verified | Identity::Corroborated, Some(pid)) => {
                Key::Process(pid, client.executable.as_ref())
            }
            _ => Key::Name(&client.app),
        };
        let place = *places.entry(key).or_insert(groups.len());
        match groups.get_mut(place) {
            Some(group) => {
                group.identity = group.identity.max(client.identity);
                group.clients.push(client.id);
            }
            None => groups.push(AppGroup {
                app: client.app.clone(),
                identity: client.identity,
                clients: vec![client.id],
            }),
        }
    }
    groups
}
