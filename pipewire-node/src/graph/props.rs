//! Properties of nodes and clients, as far as anybody here reads them. With 256 clients there are some 500 sets of up to 20:
//! they are kept small, and copies share them.

use std::rc::Rc;

/// The properties of nodes and clients that the engine, the choice of the real mic and `who/` read. A node has about 40, and
/// with 256 clients the others would take some 5 MB.
const KEPT: [&str; 24] = [
    "alsa.card",
    "alsa.device",
    "application.name",
    "application.process.binary",
    "application.process.id",
    "audio.channels",
    "card.profile.device",
    "client.api",
    "client.id",
    "device.id",
    "media.class",
    "media.name",
    "node.description",
    "node.link-group",
    "node.name",
    "node.rate",
    "object.linger",
    "object.serial",
    "pipewire.access",
    "pipewire.sec.pid",
    "priority.session",
    "resample.peaks",
    "stream.capture.sink",
    "stream.monitor",
];

/// A set of properties. All but those in [`KEPT`] are dropped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Props(Rc<Vec<(&'static str, Box<str>)>>);

impl Props {
    /// The value of a property.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        let found = self.0.binary_search_by_key(&key, |(known, _)| known).ok()?;
        self.0.get(found).map(|(_, value)| &**value)
    }

    /// Whether it has a property of that name.
    pub(crate) fn contains_key(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// Whether it has none at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes properties over, those of the same name in place of the former ones. Copies stay as they are.
    pub(crate) fn extend<K, V>(&mut self, more: impl IntoIterator<Item = (K, V)>)
    where
        K: AsRef<str>,
        V: AsRef<str>,
    {
        for (key, value) in more {
            let (key, value) = (key.as_ref(), value.as_ref());
            let Some(key) = KEPT.iter().find(|kept| **kept == key) else {
                continue;
            };
            if self.get(key) == Some(value) {
                continue;
            }
            let all = Rc::make_mut(&mut self.0);
            match all.binary_search_by_key(key, |(known, _)| known) {
                Ok(at) => all[at].1 = value.into(),
                Err(at) => {
                    all.reserve_exact(1);
                    all.insert(at, (key, value.into()));
                }
            }
        }
    }
}

impl<K: AsRef<str>, V: AsRef<str>> FromIterator<(K, V)> for Props {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(all: I) -> Self {
        let mut props = Self::default();
        props.extend(all);
        props
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_somebody_reads_is_kept() {
        let mut props: Props = [("node.name", "a"), ("audio.channels", "2")]
            .into_iter()
            .collect();
        assert_eq!(props.get("node.name"), Some("a"));
        assert_eq!(props.get("audio.channels"), Some("2"));
        let copy = props.clone();
        props.extend([("node.name", "b"), ("client.id", "7"), ("factory.id", "9")]);
        assert_eq!(props.get("node.name"), Some("b"));
        assert!(props.contains_key("client.id") && !props.contains_key("factory.id"));
        assert_eq!(
            (copy.get("node.name"), copy.get("client.id")),
            (Some("a"), None)
        );
        assert!(Props::default().is_empty());
    }

    #[test]
    fn what_is_looked_for_is_in_order() {
        assert!(KEPT.is_sorted());
        let all: Props = KEPT.iter().rev().map(|key| (*key, *key)).collect();
        assert!(KEPT.iter().all(|key| all.get(key) == Some(key)));
    }
}
