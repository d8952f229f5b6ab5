//! The files that an installation consists of, each as it lies in `control/packaging/`, and which of them a machine needs.

/// `node.name` of the silent twin.
pub const SILENT_TWIN: &str = "truemute.silent";

/// A directory of the user's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    /// `XDG_CONFIG_HOME`.
    Config,
    /// `XDG_DATA_HOME`.
    Data,
}

/// One file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Below what.
    pub base: Base,
    /// Path relative to it.
    pub path: &'static str,
    /// Its text.
    pub text: &'static str,
}

/// A series of WirePlumber's releases. What it can be told differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wireplumber {
    /// 0.4: Lua configuration, no hooks.
    V0_4,
    /// 0.5: SPA-JSON configuration, hooks.
    V0_5,
}

/// The silent twin, for every version of PipeWire.
const TWIN: Part = Part {
    base: Base::Config,
    path: "pipewire/pipewire.conf.d/60-truemute-silent.conf",
    text: include_str!("../../packaging/pipewire/60-truemute-silent.conf"),
};

/// Which source an app gets while the virtual mic is not there.
const TARGETS_0_4: [Part; 2] = [
    Part {
        base: Base::Config,
        path: "wireplumber/main.lua.d/60-truemute-targets.lua",
        text: include_str!("../../packaging/wireplumber-0.4/60-truemute-targets.lua"),
    },
    Part {
        base: Base::Config,
        path: "wireplumber/scripts/truemute-targets.lua",
        text: include_str!("../../packaging/wireplumber-0.4/truemute-targets.lua"),
    },
];

/// The same for 0.5.
const TARGETS_0_5: [Part; 2] = [
    Part {
        base: Base::Config,
        path: "wireplumber/wireplumber.conf.d/60-truemute-targets.conf",
        text: include_str!("../../packaging/wireplumber-0.5/60-truemute-targets.conf"),
    },
    Part {
        base: Base::Data,
        path: "wireplumber/scripts/truemute/targets.lua",
        text: include_str!("../../packaging/wireplumber-0.5/targets.lua"),
    },
];

/// What the audio server of a machine is to read: the twin, and what its session manager needs. Without WirePlumber, or with one
/// that is not known, the twin alone.
pub fn of_server(wireplumber: Option<Wireplumber>) -> Vec<Part> {
    let targets: &[Part] = match wireplumber {
        Some(Wireplumber::V0_4) => &TARGETS_0_4,
        Some(Wireplumber::V0_5) => &TARGETS_0_5,
        None => &[],
    };
    [&[TWIN], targets].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_calls_the_sources_what_we_call_them() {
        assert!(TWIN.text.contains(&format!("node.name = {SILENT_TWIN}\n")));
        for script in [TARGETS_0_4[1], TARGETS_0_5[1]] {
            for name in [SILENT_TWIN, truemute_pipewire::VIRTUAL_MIC] {
                assert!(
                    script.text.contains(&format!("\"{name}\"")),
                    "{}",
                    script.path
                );
            }
        }
    }
}
