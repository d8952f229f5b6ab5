//! Listens to the events of a proxy beside libpipewire, and ends when the listener is dropped or the proxy destroyed,
//! whichever comes first. What the events mean is known to those that listen (`peers_feed.rs`, `profiler_feed.rs`). Main
//! thread only.

use pipewire::spa::sys as spa_sys;
use pipewire::spa::utils::hook;
use pipewire::sys as pw_sys;
use std::cell::{Cell, UnsafeCell};
use std::ffi::c_void;
use std::mem::zeroed;
use std::ops::Deref;
use std::ptr::{self, NonNull};
use std::rc::Rc;

/// What a proxy's events act on.
pub(super) trait Hearer: 'static {
    /// The proxy is being destroyed; no event comes any more.
    fn proxy_gone(&self) {}
}

/// A hearer that is in a proxy's lists. Dropping it takes it out, also from within one of its events.
pub(super) struct Listener<H: Hearer>(Rc<Listening<H>>);

/// What libpipewire points at.
pub(super) struct Listening<H> {
    proxy: NonNull<pw_sys::pw_proxy>,
    events_hook: UnsafeCell<spa_sys::spa_hook>,
    proxy_hook: UnsafeCell<spa_sys::spa_hook>,
    /// Whether the proxy lives and the hooks are in its lists.
    listening: Cell<bool>,
    hearer: H,
}

impl<H: Hearer> Listener<H> {
    /// Puts `hearer` behind the listeners that `proxy` has.
    ///
    /// # Safety
    /// The proxy lives, and `events` is the table of its interface's events, whose functions take what they act on from their
    /// data with [`heard`] for this `H`.
    pub(super) unsafe fn add<E>(
        proxy: NonNull<pw_sys::pw_proxy>,
        events: &'static E,
        hearer: H,
    ) -> Self {
        let listening = Rc::new(Listening {
            proxy,
            // SAFETY: a zeroed hook is what libpipewire expects of one that is not in a list.
            events_hook: UnsafeCell::new(unsafe { zeroed() }),
            // SAFETY: as above.
            proxy_hook: UnsafeCell::new(unsafe { zeroed() }),
            listening: Cell::new(true),
            hearer,
        });
        let data = Rc::as_ptr(&listening).cast_mut().cast::<c_void>();
        // SAFETY: the proxy lives. Hooks and data stay where they are until `stop` takes the hooks out, at the latest when the
        // proxy is destroyed or the listener dropped. The events are the proxy's, as the caller promises.
        unsafe {
            pw_sys::pw_proxy_add_object_listener(
                proxy.as_ptr(),
                listening.events_hook.get(),
                ptr::from_ref(events).cast(),
                data,
            );
            pw_sys::pw_proxy_add_listener(
                proxy.as_ptr(),
                listening.proxy_hook.get(),
                Listening::<H>::PROXY_EVENTS,
                data,
            );
        }
        Self(listening)
    }

    /// Takes the hooks out of the proxy's lists. Gives the proxy if it lives and they were there.
    pub(super) fn stop(&self) -> Option<NonNull<pw_sys::pw_proxy>> {
        self.0.stop()
    }
}

impl<H: Hearer> Drop for Listener<H> {
    fn drop(&mut self) {
        self.stop();
    }
}

impl<H: Hearer> Listening<H> {
    const PROXY_EVENTS: &'static pw_sys::pw_proxy_events = &pw_sys::pw_proxy_events {
        version: pw_sys::PW_VERSION_PROXY_EVENTS,
        destroy: Some(on_destroy::<H>),
        // SAFETY: all other fields are optional functions, and none is what zero means for them.
        ..unsafe { zeroed() }
    };

    fn stop(&self) -> Option<NonNull<pw_sys::pw_proxy>> {
        if !self.listening.replace(false) {
            return None;
        }
        // SAFETY: the hooks are in the lists of a proxy that is alive, or just being destroyed; they are copied out only to
        // unlink their neighbours, and carry no `removed` callback.
        unsafe {
            hook::remove(*self.events_hook.get());
            hook::remove(*self.proxy_hook.get());
        }
        Some(self.proxy)
    }
}

impl<H> Deref for Listening<H> {
    type Target = H;

    fn deref(&self) -> &H {
        &self.hearer
    }
}

/// Keeps the hearer alive for one event, whatever the event's handler drops.
///
/// # Safety
/// `data` is what an event got whose table was given to [`Listener::add`] with this `H`.
pub(super) unsafe fn heard<H: Hearer>(data: *mut c_void) -> Rc<Listening<H>> {
    let data = data.cast_const().cast::<Listening<H>>();
    // SAFETY: it comes from `Rc::as_ptr` and lives while its hooks are in the lists; the count goes up for the `Rc` that is
    // made here.
    unsafe {
        Rc::increment_strong_count(data);
        Rc::from_raw(data)
    }
}

unsafe extern "C" fn on_destroy<H: Hearer>(data: *mut c_void) {
    // SAFETY: the hook's data, while the hook is in the list.
    let listening = unsafe { heard::<H>(data) };
    listening.stop();
    listening.proxy_gone();
}
