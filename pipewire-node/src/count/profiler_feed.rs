//! The wire to the server's profiler: binds it and hands its messages on, as bytes. What they mean is `profile_pod.rs`.
//! Main thread only. While somebody is bound the profiler costs the server time (twice the CPU at 64 clients), so bind
//! it only when needed, and drop it.
//!
//! Source: PipeWire's src/pipewire/extensions/profiler.h.

use pipewire::context::Context;
use pipewire::registry::Registry;
use pipewire::spa::sys as spa_sys;
use pipewire::spa::utils::hook;
use pipewire::sys as pw_sys;
use std::cell::{Cell, RefCell, UnsafeCell};
use std::ffi::c_void;
use std::mem::zeroed;
use std::ptr::{self, NonNull};
use std::rc::Rc;
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
    shared: Rc<Shared>,
}

type OnMessage = dyn FnMut(&[u8]);

struct Shared {
    proxy: NonNull<pw_sys::pw_proxy>,
    events_hook: UnsafeCell<spa_sys::spa_hook>,
    proxy_hook: UnsafeCell<spa_sys::spa_hook>,
    /// Whether the proxy lives and the hooks are in its lists.
    listening: Cell<bool>,
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
        let shared = Rc::new(Shared {
            proxy,
            // SAFETY: a zeroed hook is what libpipewire expects of one that is not in a list.
            events_hook: UnsafeCell::new(unsafe { zeroed() }),
            // SAFETY: as above.
            proxy_hook: UnsafeCell::new(unsafe { zeroed() }),
            listening: Cell::new(true),
            on: RefCell::new(Box::new(on)),
        });
        let data = Rc::as_ptr(&shared).cast_mut().cast::<c_void>();
        // SAFETY: the proxy was just made with this type. Hooks and data stay where they are until the hooks are taken
        // out, at the latest when the proxy is destroyed or the feed dropped.
        unsafe {
            let events = ptr::from_ref(&EVENTS).cast();
            pw_sys::pw_proxy_add_object_listener(
                proxy.as_ptr(),
                shared.events_hook.get(),
                events,
                data,
            );
            pw_sys::pw_proxy_add_listener(
                proxy.as_ptr(),
                shared.proxy_hook.get(),
                &PROXY_EVENTS,
                data,
            );
        }
        Ok(ProfilerFeed { shared })
    }
}

impl Drop for ProfilerFeed {
    fn drop(&mut self) {
        if self.shared.stop() {
            // SAFETY: ours, and alive, or it would have stopped the listening when it was destroyed.
            unsafe { pw_sys::pw_proxy_destroy(self.shared.proxy.as_ptr()) };
        }
    }
}

impl Shared {
    /// Takes the hooks out of the proxy's lists; says whether they were there.
    fn stop(&self) -> bool {
        let was_listening = self.listening.replace(false);
        if was_listening {
            // SAFETY: the hooks are in the lists of a proxy that is alive, or just being destroyed; they are copied out
            // only to unlink their neighbours, and carry no `removed` callback.
            unsafe {
                hook::remove(*self.events_hook.get());
                hook::remove(*self.proxy_hook.get());
            }
        }
        was_listening
    }
}

/// Keeps the feed's state alive for one event, whatever the event's handler drops.
///
/// # Safety
/// `data` must come from `Rc::as_ptr` of a `Shared` that is alive when the event starts.
unsafe fn shared(data: *mut c_void) -> Rc<Shared> {
    let data = data.cast_const().cast::<Shared>();
    // SAFETY: as the caller promises; the count goes up for the `Rc` that is made here.
    unsafe {
        Rc::increment_strong_count(data);
        Rc::from_raw(data)
    }
}

unsafe extern "C" fn on_profile(data: *mut c_void, pod: *const spa_sys::spa_pod) {
    // SAFETY: the hook's data, while the hook is in the list.
    let shared = unsafe { shared(data) };
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

unsafe extern "C" fn on_destroy(data: *mut c_void) {
    // SAFETY: the hook's data, while the hook is in the list.
    unsafe { shared(data) }.stop();
}

static EVENTS: pw_sys::pw_profiler_events = pw_sys::pw_profiler_events {
    version: pw_sys::PW_VERSION_PROFILER_EVENTS,
    profile: Some(on_profile),
};

static PROXY_EVENTS: pw_sys::pw_proxy_events = pw_sys::pw_proxy_events {
    version: pw_sys::PW_VERSION_PROXY_EVENTS,
    destroy: Some(on_destroy),
    // SAFETY: all other fields are optional functions, and none is what zero means for them.
    ..unsafe { zeroed() }
};
