//! Whose records our output may read: the server tells a node's ClientNode proxy of each peer that is linked to it, and
//! shares the peer's activation record. libpipewire keeps that to itself, so we listen beside it, on the main loop.
//! What is read from the records is `table.rs`; who the peers are is not known here.
//!
//! Source of the events: PipeWire's src/pipewire/extensions/client-node.h and module-client-node/{client,remote}-node.c.

use super::activation::{ActivationRecord, RecordError};
use super::listener::{Hearer, Listener, heard};
use crate::monotonic::monotonic_ns;
use pipewire::core::Core;
use pipewire::sys as pw_sys;
use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::ffi::{CStr, c_int, c_void};
use std::mem::zeroed;
use std::os::fd::BorrowedFd;
use std::ptr::{self, NonNull};

/// `SPA_ID_INVALID`: as a memory it means that the peer goes.
const NO_MEMORY: u32 = u32::MAX;
/// Proxies of one connection are numbered from 0 and numbers are used again; nobody has more than this at once.
const PROXY_IDS: u32 = 1 << 16;

/// What changed about our own record or the peers'.
#[derive(Debug)]
pub(crate) enum PeerChange {
    /// The server made our node. All peers told before are gone.
    Own(ActivationRecord),
    /// A node was linked to our output. (The graph's driver is told like a peer, and it can be one too.)
    Joined {
        /// Its global id on the server.
        node_id: u32,
        /// Its record.
        record: ActivationRecord,
        /// When the link became known here, in nanoseconds of the monotonic clock. Before it runs.
        joined_ns: u64,
    },
    /// The last link to a node went. The feed's own view of the record goes right after the callback.
    Left {
        /// Its global id on the server.
        node_id: u32,
    },
    /// A record, ours if there is no node id, cannot be read: that node cannot be counted here.
    Unreadable {
        /// The peer's global id.
        node_id: Option<u32>,
        /// Why.
        error: RecordError,
    },
}

/// Why there is no feed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AttachError<E> {
    /// Connecting failed.
    #[error(transparent)]
    Connect(E),
    /// Not exactly one ClientNode came into being while connecting.
    #[error(
        "connecting the virtual mic made {0} nodes instead of one; its clients cannot be counted"
    )]
    Nodes(usize),
}

/// The listener. Main thread only; dropping it stops the changes and tells nothing more.
pub(crate) struct PeerFeed {
    _listener: Listener<Shared>,
}

struct Shared {
    proxy: NonNull<pw_sys::pw_proxy>,
    pool: NonNull<pw_sys::pw_mempool>,
    peers: RefCell<HashMap<u32, KnownPeer>>,
    changes: RefCell<VecDeque<PeerChange>>,
    on: RefCell<Box<dyn FnMut(PeerChange)>>,
}

struct KnownPeer {
    mem_id: u32,
    /// 0.3.65 tells a peer once for each link, so twice for a stereo client.
    links: u32,
    /// Ours while the real-time thread has one too, so that the last owner is here and not there.
    _record: Option<ActivationRecord>,
}

impl PeerFeed {
    /// Runs `connect`, which must connect our output (`pw_stream_connect`) and nothing else, and listens to the node
    /// that this made. `on` gets the changes, from the main loop, in order; it may call `pw_loop_invoke`, destroy the
    /// stream or drop the feed.
    ///
    /// The node's proxy has no public name. It is the one that was not there before, which is certain as long as
    /// everything happens on the main thread.
    pub(crate) fn attach<E>(
        core: &Core,
        connect: impl FnOnce() -> Result<(), E>,
        on: impl FnMut(PeerChange) + 'static,
    ) -> Result<Self, AttachError<E>> {
        let before: BTreeSet<_> = client_nodes(core).into_iter().collect();
        connect().map_err(AttachError::Connect)?;
        let made: Vec<_> = client_nodes(core)
            .into_iter()
            .filter(|proxy| !before.contains(proxy))
            .collect();
        let [proxy] = made[..] else {
            return Err(AttachError::Nodes(made.len()));
        };
        // SAFETY: the core is connected; its pool lives until it disconnects, which destroys all proxies first.
        let pool = unsafe { NonNull::new(pw_sys::pw_core_get_mempool(core.as_raw_ptr())) };
        let pool = pool.ok_or(AttachError::Nodes(0))?;
        let shared = Shared {
            proxy,
            pool,
            peers: RefCell::default(),
            changes: RefCell::default(),
            on: RefCell::new(Box::new(on)),
        };
        // SAFETY: the proxy lives; its type is ClientNode, so its events are these, and they take a `Shared` from their data.
        // libpipewire's own listener was added first and is called first: it owns and closes the descriptors.
        let listener = unsafe { Listener::add(proxy, &NODE_EVENTS, shared) };
        Ok(PeerFeed {
            _listener: listener,
        })
    }
}

/// All ClientNode proxies of the connection.
fn client_nodes(core: &Core) -> Vec<NonNull<pw_sys::pw_proxy>> {
    let wanted = CStr::from_bytes_with_nul(pw_sys::PW_TYPE_INTERFACE_ClientNode);
    (0..PROXY_IDS)
        // SAFETY: the core is connected; ids that are not in use give null.
        .filter_map(|id| NonNull::new(unsafe { pw_sys::pw_core_find_proxy(core.as_raw_ptr(), id) }))
        .filter(|proxy| {
            // SAFETY: a proxy that the core knows is alive, and its type is a string that lives as long.
            let name = unsafe { pw_sys::pw_proxy_get_type(proxy.as_ptr(), ptr::null_mut()) };
            // SAFETY: as above; a null is sorted out before it is looked at.
            !name.is_null() && wanted == Ok(unsafe { CStr::from_ptr(name) })
        })
        .collect()
}

impl Hearer for Shared {
    fn proxy_gone(&self) {
        self.forget_all();
    }
}

impl Shared {
    /// Hands out the changes in order, also when handing one out causes the next.
    fn tell(&self, change: PeerChange) {
        self.changes.borrow_mut().push_back(change);
        let Ok(mut on) = self.on.try_borrow_mut() else {
            return;
        };
        loop {
            let Some(change) = self.changes.borrow_mut().pop_front() else {
                return;
            };
            on(change);
        }
    }

    fn map(&self, mem_id: u32, offset: u32, size: u32) -> Result<ActivationRecord, RecordError> {
        // SAFETY: the pool lives while events of its core's proxies come.
        let block = unsafe { pw_sys::pw_mempool_find_id(self.pool.as_ptr(), mem_id).as_ref() };
        let block = block
            .filter(|block| block.fd >= 0)
            .ok_or(RecordError::NoMemory(mem_id))?;
        // SAFETY: the pool keeps the descriptor open for as long as it has the block, so during this call.
        ActivationRecord::map(unsafe { BorrowedFd::borrow_raw(block.fd) }, offset, size)
    }

    fn transport(&self, mem_id: u32, offset: u32, size: u32) {
        self.forget_all();
        self.tell(match self.map(mem_id, offset, size) {
            Ok(record) => PeerChange::Own(record),
            Err(error) => PeerChange::Unreadable {
                node_id: None,
                error,
            },
        });
    }

    fn set_activation(&self, node_id: u32, mem_id: u32, offset: u32, size: u32) {
        // SAFETY: this is an event of the proxy, so it lives.
        if node_id == unsafe { pw_sys::pw_proxy_get_bound_id(self.proxy.as_ptr()) } {
            return;
        }
        if mem_id == NO_MEMORY {
            return self.unlinked(node_id);
        }
        if let Some(known) = self.peers.borrow_mut().get_mut(&node_id)
            && known.mem_id == mem_id
        {
            known.links += 1;
            return;
        }
        // Another memory under a known id: the server took the id for a new node without taking leave of the old one.
        self.forget(node_id);
        let (record, change) = match self.map(mem_id, offset, size) {
            Ok(record) => (
                Some(record.clone()),
                PeerChange::Joined {
                    node_id,
                    record,
                    joined_ns: monotonic_ns(),
                },
            ),
            Err(error) => (
                None,
                PeerChange::Unreadable {
                    node_id: Some(node_id),
                    error,
                },
            ),
        };
        self.peers.borrow_mut().insert(
            node_id,
            KnownPeer {
                mem_id,
                links: 1,
                _record: record,
            },
        );
        self.tell(change);
    }

    fn unlinked(&self, node_id: u32) {
        if let Some(known) = self.peers.borrow_mut().get_mut(&node_id)
            && known.links > 1
        {
            known.links -= 1;
            return;
        }
        self.forget(node_id);
    }

    fn forget(&self, node_id: u32) {
        let known = self.peers.borrow_mut().remove(&node_id);
        if known.is_some() {
            self.tell(PeerChange::Left { node_id });
        }
    }

    fn forget_all(&self) {
        let ids: Vec<u32> = self.peers.borrow().keys().copied().collect();
        ids.into_iter().for_each(|node_id| self.forget(node_id));
    }
}

unsafe extern "C" fn on_transport(
    data: *mut c_void,
    _read_fd: c_int,
    _write_fd: c_int,
    mem_id: u32,
    offset: u32,
    size: u32,
) -> c_int {
    // SAFETY: the hook's data, while the hook is in the list.
    unsafe { heard::<Shared>(data) }.transport(mem_id, offset, size);
    0
}

unsafe extern "C" fn on_set_activation(
    data: *mut c_void,
    node_id: u32,
    _signal_fd: c_int,
    mem_id: u32,
    offset: u32,
    size: u32,
) -> c_int {
    // SAFETY: the hook's data, while the hook is in the list.
    unsafe { heard::<Shared>(data) }.set_activation(node_id, mem_id, offset, size);
    0
}

static NODE_EVENTS: pw_sys::pw_client_node_events = pw_sys::pw_client_node_events {
    version: pw_sys::PW_VERSION_CLIENT_NODE_EVENTS,
    transport: Some(on_transport),
    set_activation: Some(on_set_activation),
    // SAFETY: all other fields are optional functions, and none is what zero means for them.
    ..unsafe { zeroed() }
};
