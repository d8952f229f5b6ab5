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
    /// The server's process, as it says itself.
    pub process: Option<u32>,
    /// The graph's usual sample rate in Hz, as the server says (`default.clock.rate`).
    pub rate: Option<u32>,
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

/// The setting of libpipewire that asks for another number of data loops than one, if there is one. Our nodes share the
/// state of one data loop, and `pw_context_get_data_loop` gives any of several (src/pipewire/context.c of 1.4). The setting
/// cannot be overruled: what the configuration says goes before what a program asks for.
pub(crate) fn other_data_loops(context: &ContextRc) -> Option<String> {
    let properties = context.properties();
    let setting = |key| Some((key, properties.get(key)?));
    let known = [
        setting("context.num-data-loops"),
        setting("context.data-loops"),
    ];
    known
        .into_iter()
        .flatten()
        .find(|(key, value)| !is_one_data_loop(key, value))
        .map(|(key, value)| format!("{key} = {value}"))
}

fn is_one_data_loop(key: &str, value: &str) -> bool {
    key == "context.num-data-loops" && value.trim() == "1"
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_data_loop_will_do() {
        pipewire::init();
        let main_loop = MainLoopRc::new(None).expect("a main loop");
        let context = context(&main_loop).expect("a context");
        assert_eq!(other_data_loops(&context), None);
        for (value, one) in [("1", true), ("0", false), ("2", false), ("-1", false)] {
            let mut wanted = PropertiesBox::new();
            wanted.insert("context.num-data-loops", value);
            context.update_properties(wanted.dict());
            let other = (!one).then(|| format!("context.num-data-loops = {value}"));
            assert_eq!(other_data_loops(&context), other);
        }
        let mut wanted = PropertiesBox::new();
        wanted.insert("context.num-data-loops", "1");
        wanted.insert("context.data-loops", "[ { loop.name = a } ]");
        context.update_properties(wanted.dict());
        assert!(other_data_loops(&context).is_some());
    }
}
