//! What the plug-in tells about itself through its custom property `diag`: on a Mac where something does not work, this is
//! the only window into it. Made when somebody asks; only the property requests are kept as they come.

use crate::abi::codes::Status;
use crate::abi::{Address, ObjectId};
use crate::cf::Owned;
use crate::clients::{Counted, Everybody};
use crate::device::Device;
use std::collections::VecDeque;
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

/// Everything, as a property list. Nothing if CoreFoundation has no memory.
pub fn property_list(device: &Device) -> Option<Owned> {
    let (epoch, open) = device.gate().state();
    let requests = device.requests().all();
    let requests: Option<Vec<_>> = requests.iter().map(request).collect();
    let Everybody {
        clients,
        unattributed,
        forgotten,
    } = device.clients().everybody(false);
    let clients: Option<Vec<_>> = clients.iter().map(client).collect();
    let mut entries = vec![
        ("version", Owned::string(env!("CARGO_PKG_VERSION"))?),
        ("instance", Owned::string(&device.instance().to_string())?),
        ("now_ns", number(device.now_ns())?),
        ("gate_open", number(open.into())?),
        ("gate_epoch", number(epoch.get())?),
        ("running", number(device.clients().running().into())?),
        ("unanswered", Owned::array(requests?)?),
        ("clients", Owned::array(clients?)?),
        ("unattributed", tally(&unattributed)?),
        ("forgotten_clients", number(forgotten)?),
    ];
    if let Some(anchor) = device.clock().anchor() {
        entries.push(("clock_seed", number(anchor.seed)?));
        entries.push(("clock_anchor_ticks", number(anchor.ticks)?));
        entries.push(("clock_anchor_sample", number(anchor.sample)?));
    }
    Owned::dictionary(entries)
}

fn number(value: u64) -> Option<Owned> {
    Owned::number(i64::try_from(value).unwrap_or(i64::MAX))
}

fn request((request, times): &(Request, u64)) -> Option<Owned> {
    let Request {
        call,
        object,
        address,
        pid,
        size,
        status,
    } = request;
    Owned::dictionary([
        ("call", Owned::string(call)?),
        ("object", number((*object).into())?),
        ("selector", Owned::string(&address.selector.to_string())?),
        ("scope", Owned::string(&address.scope.to_string())?),
        ("element", number(address.element.into())?),
        ("pid", Owned::number((*pid).into())?),
        ("size", number((*size).into())?),
        ("status", Owned::string(&status.to_string())?),
        ("times", number(*times)?),
    ])
}

fn client(counted: &Counted) -> Option<Owned> {
    let Counted {
        client,
        running,
        counts,
    } = counted;
    let mut entries = vec![
        ("arrival", number(client.arrival)?),
        ("id", number(client.id.into())?),
        ("pid", Owned::number(client.pid.into())?),
        ("present", number(running.is_some().into())?),
        ("running", number(running.unwrap_or(false).into())?),
    ];
    if let Some(bundle) = &client.bundle {
        entries.push(("bundle_id", Owned::string(bundle)?));
    }
    if let Some(counts) = counts {
        entries.push(("live", tally(&counts.live)?));
        entries.push(("muted", tally(&counts.muted)?));
    }
    Owned::dictionary(entries)
}

fn tally(tally: &Tally) -> Option<Owned> {
    Owned::dictionary([
        ("reads", number(tally.pulls)?),
        ("frames", number(tally.frames)?),
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
}
