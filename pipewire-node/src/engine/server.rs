//! What a server says of itself, and how to connect to each version so that the audio thread is a real-time one.

use pipewire::{context::ContextRc, main_loop::MainLoopRc, properties::PropertiesBox};

/// The server that the virtual mic lives on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerFacts {
    /// Version of the server.
    pub version: String,
    /// Version of our own libpipewire.
    pub library: String,
    /// Name of the server (`pipewire-0`).
    pub name: String,
    /// Priority of the audio thread under a real-time scheduler, 1 to 99; absent if it has none: then a busy machine can
    /// delay it.
    pub realtime: Option<i32>,
}

impl ServerFacts {
    /// Whether our library and the server can run a triggered stream together. A library of 0.3 asks the server to
    /// trigger it, which a server of 1.x refuses (measured with 0.3.65 on 1.4.2: one cycle, then none).
    pub(crate) fn fit(&self) -> bool {
        !self.library.starts_with("0.") || self.version.starts_with("0.")
    }
}

/// Version of the libpipewire that this process runs with.
pub(crate) fn library_version() -> String {
    // SAFETY: returns a constant string.
    let version = unsafe { std::ffi::CStr::from_ptr(pipewire::sys::pw_get_library_version()) };
    version.to_string_lossy().into_owned()
}

/// A context whose data loop runs under a real-time scheduler where the system grants it. Up to 0.3.x a client's default
/// configuration does not ask for it; `client-rt.conf` does. Since 1.0 the default does.
pub(crate) fn context(main_loop: &MainLoopRc) -> Result<ContextRc, pipewire::Error> {
    let mut properties = PropertiesBox::new();
    if library_version().starts_with("0.") && std::env::var_os("PIPEWIRE_CONFIG_NAME").is_none() {
        properties.insert("config.name", "client-rt.conf");
    }
    ContextRc::new(main_loop, Some(properties))
}

/// Priority of the calling thread under a real-time scheduler.
pub(crate) fn realtime_priority() -> Option<i32> {
    // SAFETY: both calls only read the calling thread's scheduling into a local.
    unsafe {
        let policy = libc::sched_getscheduler(0) & !libc::SCHED_RESET_ON_FORK;
        let mut param: libc::sched_param = std::mem::zeroed();
        let known = libc::sched_getparam(0, &mut param) == 0;
        (known && (policy == libc::SCHED_FIFO || policy == libc::SCHED_RR))
            .then_some(param.sched_priority)
    }
}
