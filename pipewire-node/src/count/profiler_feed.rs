//! The wire to the server's profiler: binds it and hands its messages on, as bytes. What they mean is `profile_pod.rs`.
//! Main thread only. While somebody is bound the profiler costs the server time (twice the CPU at 64 clients), so bind
//! it only when needed, and drop it.
//!
//! Source: PipeWire's src/pipewire/extensions/profiler.h.

use super::listener::{Hearer, Listener, heard};
use pipewire::context::Context;
use pipewire::registry::Registry;
use pipewire::spa::sys as spa_sys;
use pipewire::sys as pw_sys;
use std::cell::RefCell;
use std::ffi::c_void;
use std::ptr::{self, NonNull};
use std::slice;

/// Why the profiler cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProfilerError {
    /// libpipewire's part of it is not installed.
    #[error("libpipewire-module-profiler cannot be loaded; install the modules of libpipewire")]
    Module,
    /// The server refused.
    #[error(
        "the server's profiler cannot be used; its configuration must load libpipewire-module-profiler"
    )]
    Bind,
}

/// The bound profiler. Dropping it unbinds.
pub(crate) struct ProfilerFeed {
    listener: Listener<Shared>,
}

type OnMessage = dyn FnMut(&[u8]);

struct Shared {
    on: RefCell<Box<OnMessage>>,
}

impl ProfilerFeed {
    /// Binds the global `id`, which the registry gave as a profiler. `on` gets each message from the main loop;
    /// it may drop the feed.
    pub(crate) fn bind(
        context: &Context,
        registry: &Registry,
        id: u32,
        on: impl FnMut(&[u8]) + 'static,
    ) -> Result<Self, ProfilerError> {
        // Without the module the protocol does not know the interface. A second one does no harm.
        let module = c"libpipewire-module-profiler".as_ptr();
        // SAFETY: the context lives; arguments and properties may be null.
        if unsafe {
            pw_sys::pw_context_load_module(
                context.as_raw_ptr(),
                module,
                ptr::null(),
                ptr::null_mut(),
            )
        }
        .is_null()
        {
            return Err(ProfilerError::Module);
        }
        // SAFETY: the registry lives; the type is a string that ends with zero.
        let proxy: *mut c_void = unsafe {
            pipewire::spa::spa_interface_call_method!(
                registry.as_raw_ptr(),
                pw_sys::pw_registry_methods,
                bind,
                id,
                pw_sys::PW_TYPE_INTERFACE_Profiler.as_ptr().cast(),
                pw_sys::PW_VERSION_PROFILER,
                0
            )
        };
        let proxy = NonNull::new(proxy.cast()).ok_or(ProfilerError::Bind)?;
        let shared = Shared {
            on: RefCell::new(Box::new(on)),
        };
        // SAFETY: the proxy was just made with this type, and its events take a `Shared` from their data.
        let listener = unsafe { Listener::add(proxy, &EVENTS, shared) };
        Ok(ProfilerFeed { listener })
    }
}

impl Drop for ProfilerFeed {
    fn drop(&mut self) {
        if let Some(proxy) = self.listener.stop() {
            // SAFETY: ours, and alive, or it would have stopped the listening when it was destroyed.
            unsafe { pw_sys::pw_proxy_destroy(proxy.as_ptr()) };
        }
    }
}

impl Hearer for Shared {}

unsafe extern "C" fn on_profile(data: *mut c_void, pod: *const spa_sys::spa_pod) {
    // SAFETY: the hook's data, while the hook is in the list.
    let shared = unsafe { heard::<Shared>(data) };
    // SAFETY: null or a pod in the message, whose size libpipewire has checked against the message's.
    let message = unsafe {
        pod.as_ref().map(|head| {
            slice::from_raw_parts(pod.cast::<u8>(), head.size as usize + size_of_val(head))
        })
    };
    if let (Some(message), Ok(mut on)) = (message, shared.on.try_borrow_mut()) {
        on(message);
    }
}

static EVENTS: pw_sys::pw_profiler_events = pw_sys::pw_profiler_events {
    version: pw_sys::PW_VERSION_PROFILER_EVENTS,
    profile: Some(on_profile),
};
