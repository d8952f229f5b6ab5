//! The files that an installation consists of, each as it lies in `control/packaging/`.

/// `node.name` of the silent twin.
pub const SILENT_TWIN: &str = "truemute.silent";

/// One file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Path relative to the user's configuration directory (`XDG_CONFIG_HOME`).
    pub path: &'static str,
    /// Its text.
    pub text: &'static str,
}

/// The silent twin, for every version of PipeWire.
pub const TWIN: Part = Part {
    path: "pipewire/pipewire.conf.d/60-truemute-silent.conf",
    text: include_str!("../../packaging/pipewire/60-truemute-silent.conf"),
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_twin_is_called_what_we_call_it() {
        let line = format!("node.name = {SILENT_TWIN}\n");
        assert!(TWIN.text.contains(&line));
    }
}
