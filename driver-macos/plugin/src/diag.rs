//! What the plug-in tells about itself through its custom property `diag`: on a Mac where something does not work, this is
//! the only window into it. Made when somebody asks; only the property requests are kept as they come.

use crate::abi::codes::Status;
use crate::abi::{Address, ObjectId};
use crate::cf::Owned;
use crate::clients::{Counted, Everybody};
use crate::device::Device;
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use truemute_core::ledger::Tally;

/// Different requests that are kept.
const MOST: usize = 256;

/// The property requests that were not answered, the latest last. The host asks some of them again and again: those are
/// counted and not repeated.
#[derive(Debug, Default)]
pub struct Requests {
    kept: Mutex<VecDeque<(Request, u64)>>,
}

/// A request that was not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// The function of the interface.
    pub call: &'static str,
    /// Of which object.
    pub object: ObjectId,
    /// Which property.
    pub address: Address,
    /// On behalf of which process; 0 for the host's own.
    pub pid: i32,
    /// Bytes of data that the caller had room for, or sent; 0 where the call has none.
    pub size: u32,
    /// What it was told.
    pub status: Status,
}

impl Requests {
    /// Keeps a request. Not for the IO path.
    pub fn note(&self, request: Request) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let at = kept.iter().position(|(known, _)| *known == request);
        let before = at.and_then(|at| kept.remove(at)).map_or(0, |known| known.1);
        if kept.len() == MOST {
            kept.pop_front();
        }
        kept.push_back((request, before + 1));
    }

    /// Each with how often it came.
    pub fn all(&self) -> Vec<(Request, u64)> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().copied().collect()
    }
}

/// A piece of the diagnosis, before it is made into a property list or text.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// Words.
    Text(String),
    /// A whole number. What is larger than an `i64` can be is no count but a mistake, and stands as the largest.
    Number(i64),
    /// One after the other.
    List(Vec<Item>),
    /// Under their names.
    Entries(Vec<(&'static str, Item)>),
}

impl Item {
    fn number(value: impl TryInto<i64>) -> Self {
        Self::Number(value.try_into().unwrap_or(i64::MAX))
    }

    fn text(value: impl ToString) -> Self {
        Self::Text(value.to_string())
    }

    /// As a property list: what a client of the HAL gets. Nothing if CoreFoundation has no memory.
    pub fn property_list(&self) -> Option<Owned> {
        match self {
            Self::Text(text) => Owned::string(text),
            Self::Number(number) => Owned::number(*number),
            Self::List(items) => {
                let items: Option<Vec<_>> = items.iter().map(Self::property_list).collect();
                Owned::array(items?)
            }
            Self::Entries(entries) => {
                let entries: Option<Vec<_>> = entries
                    .iter()
                    .map(|(name, item)| Some((*name, item.property_list()?)))
                    .collect();
                Owned::dictionary(entries?)
            }
        }
    }
}

impl fmt::Display for Item {
    /// For people: `name=value` with braces and brackets, an entry of the outermost level a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entries(entries) => entries
                .iter()
                .try_for_each(|(name, item)| writeln!(f, "{name}={}", Inner(item))),
            other => Inner(other).fmt(f),
        }
    }
}

/// What stands within a line.
struct Inner<'i>(&'i Item);

impl fmt::Display for Inner<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Item::Text(text) => write!(f, "{text:?}"),
            Item::Number(number) => number.fmt(f),
            Item::List(items) => {
                f.write_str("[")?;
                for (at, item) in items.iter().enumerate() {
                    write!(f, "{}{}", if at > 0 { ", " } else { "" }, Inner(item))?;
                }
                f.write_str("]")
            }
            Item::Entries(entries) => {
                f.write_str("{")?;
                for (at, (name, item)) in entries.iter().enumerate() {
                    write!(
                        f,
                        "{}{name}={}",
                        if at > 0 { ", " } else { "" },
                        Inner(item)
                    )?;
                }
                f.write_str("}")
            }
        }
    }
}

/// Everything that the plug-in knows about itself.
pub fn diagnosis(device: &Device) -> Item {
    let (epoch, open) = device.gate().state();
    let Everybody {
        clients,
        unattributed,
        forgotten,
        ..
    } = device.clients().everybody(None);
    let unanswered = device.requests().all();
    let mut entries = vec![
        ("version", Item::text(env!("CARGO_PKG_VERSION"))),
        ("instance", Item::text(device.instance())),
        ("now_ns", Item::number(device.now_ns())),
        ("gate_open", Item::number(open)),
        ("gate_epoch", Item::number(epoch.get())),
        ("running", Item::number(device.clients().running())),
        ("clients", Item::List(clients.iter().map(client).collect())),
        ("unattributed", tally(&unattributed)),
        ("forgotten_clients", Item::number(forgotten)),
        ("bridge", bridge(device)),
        (
            "unanswered",
            Item::List(unanswered.iter().map(request).collect()),
        ),
    ];
    // Not while a control thread is just changing it.
    if let Some(anchor) = device.clock().anchor() {
        let anchor = vec![
            ("seed", Item::number(anchor.seed)),
            ("ticks", Item::number(anchor.ticks)),
            ("sample", Item::number(anchor.sample)),
        ];
        entries.push(("clock", Item::Entries(anchor)));
    }
    Item::Entries(entries)
}

/// Each step that it takes until an agent can connect, and who did not get in.
fn bridge(device: &Device) -> Item {
    let report = match device.bridge() {
        None => return Item::Entries(vec![("started", Item::number(false))]),
        Some(Err(errno)) => {
            return Item::Entries(vec![
                ("started", Item::number(false)),
                ("errno", Item::number(*errno)),
            ]);
        }
        Some(Ok(server)) => server.report(),
    };
    let failed = report.failed.iter().map(|(path, errno)| {
        Item::Entries(vec![
            ("path", Item::text(path.display())),
            ("errno", Item::number(*errno)),
        ])
    });
    let refused = report.refused.iter().map(|(user, why, at_ns)| {
        Item::Entries(vec![
            ("user", Item::number(*user)),
            ("why", Item::text(why)),
            ("at_ns", Item::number(*at_ns)),
        ])
    });
    let errors = report.errors.iter().map(|(what, errno)| {
        Item::Entries(vec![
            ("what", Item::text(what)),
            ("errno", Item::number(*errno)),
        ])
    });
    let mut entries = vec![
        ("started", Item::number(true)),
        ("failed", Item::List(failed.collect())),
        ("errors", Item::List(errors.collect())),
        ("producers", Item::number(report.producers)),
        ("refusals", Item::number(report.refusals)),
        ("refused", Item::List(refused.collect())),
    ];
    if let Some(path) = &report.own_path {
        entries.push(("own_path", Item::text(path.display())));
    }
    if let Some(path) = &report.path {
        entries.push(("path", Item::text(path.display())));
    }
    if let Some(user) = report.producer {
        entries.push(("producer", Item::number(user)));
    }
    Item::Entries(entries)
}

fn request((request, times): &(Request, u64)) -> Item {
    let Request {
        call,
        object,
        address,
        pid,
        size,
        status,
    } = request;
    Item::Entries(vec![
        ("call", Item::text(call)),
        ("object", Item::number(*object)),
        ("selector", Item::text(address.selector)),
        ("scope", Item::text(address.scope)),
        ("element", Item::number(address.element)),
        ("pid", Item::number(*pid)),
        ("size", Item::number(*size)),
        ("status", Item::text(status)),
        ("times", Item::number(*times)),
    ])
}

fn client(counted: &Counted) -> Item {
    let Counted {
        client,
        running,
        counts,
    } = counted;
    let mut entries = vec![
        ("arrival", Item::number(client.arrival)),
        ("id", Item::number(client.id)),
        ("pid", Item::number(client.pid)),
        ("present", Item::number(running.is_some())),
        ("running", Item::number(running.unwrap_or(false))),
    ];
    if let Some(bundle) = &client.bundle {
        entries.push(("bundle_id", Item::text(bundle)));
    }
    if let Some(counts) = counts {
        entries.push(("live", tally(&counts.live)));
        entries.push(("muted", tally(&counts.muted)));
        entries.push(("flagged", Item::number(counts.xruns)));
    }
    Item::Entries(entries)
}

fn tally(tally: &Tally) -> Item {
    Item::Entries(vec![
        ("reads", Item::number(tally.pulls)),
        ("frames", Item::number(tally.frames)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::codes::{Code, SCOPE_GLOBAL};

    fn asked(selector: u32) -> Request {
        Request {
            call: "HasProperty",
            object: 2,
            address: Address {
                selector: Code(selector),
                scope: SCOPE_GLOBAL,
                element: 0,
            },
            pid: 0,
            size: 0,
            status: Status::UNKNOWN_PROPERTY,
        }
    }

    #[test]
    fn the_last_different_requests_are_kept_and_repeats_are_counted() {
        let requests = Requests::default();
        for selector in 0..MOST as u32 + 10 {
            requests.note(asked(selector));
        }
        requests.note(asked(100));
        requests.note(asked(100));
        let kept = requests.all();
        assert_eq!(kept.len(), MOST);
        assert_eq!(kept.first(), Some(&(asked(10), 1)));
        assert_eq!(kept.last(), Some(&(asked(100), 3)));
    }

    #[test]
    fn the_text_has_a_line_for_each_entry_and_quotes_what_others_wrote() {
        let device = Device::new();
        device.clients().add(7, 70, Some("a\nb".into()));
        device.requests().note(asked(u32::from_be_bytes(*b"abcd")));
        let text = diagnosis(&device).to_string();
        assert_eq!(text.lines().count(), 12, "{text}");
        assert!(text.contains(r#"bundle_id="a\nb""#), "{text}");
        assert!(text.contains(r#"selector="'abcd'""#), "{text}");
        assert!(text.contains("gate_open=0\n"), "{text}");
    }
}
