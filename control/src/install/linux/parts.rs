//! The files that an installation consists of, each as it lies in `control/packaging/`, and which of them a machine needs.

use std::path::Path;

/// `node.name` of the silent twin.
pub const SILENT_TWIN: &str = truemute_pipewire::SILENT_TWIN;

/// The key of WirePlumber's "default" metadata under which our script for targets says that it runs.
pub const TARGETS_KEY: &str = "truemute.targets";

/// To which of the user's base directories a path is relative (XDG Base Directory Specification).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    /// `XDG_CONFIG_HOME`.
    Config,
    /// `XDG_DATA_HOME`.
    Data,
}

/// One file to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// What `path` is relative to.
    pub base: Base,
    /// Where it belongs.
    pub path: &'static str,
    /// Its text.
    pub text: String,
}

/// A series of WirePlumber's releases. What it can be told differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wireplumber {
    /// 0.4: Lua configuration, no hooks.
    V0_4,
    /// 0.5: SPA-JSON configuration, hooks.
    V0_5,
}

/// What the audio server of a machine is to read: the twin, and which source an app gets while the virtual mic is not there.
/// Without WirePlumber, or with one that is not known, the twin alone.
pub fn of_server(wireplumber: Option<Wireplumber>) -> Vec<File> {
    let config = |path, text: &str| File {
        base: Base::Config,
        path,
        text: text.to_owned(),
    };
    let twin = config(
        "pipewire/pipewire.conf.d/60-truemute-silent.conf",
        include_str!("../../../packaging/pipewire/60-truemute-silent.conf"),
    );
    match wireplumber {
        Some(Wireplumber::V0_4) => vec![
            twin,
            config(
                "wireplumber/main.lua.d/60-truemute-targets.lua",
                include_str!("../../../packaging/wireplumber-0.4/60-truemute-targets.lua"),
            ),
            // 0.4 looks for scripts where it looks for configuration.
            config(
                "wireplumber/scripts/truemute-targets.lua",
                include_str!("../../../packaging/wireplumber-0.4/truemute-targets.lua"),
            ),
        ],
        Some(Wireplumber::V0_5) => vec![
            twin,
            config(
                "wireplumber/wireplumber.conf.d/60-truemute-targets.conf",
                include_str!("../../../packaging/wireplumber-0.5/60-truemute-targets.conf"),
            ),
            File {
                base: Base::Data,
                path: "wireplumber/scripts/truemute/targets.lua",
                text: include_str!("../../../packaging/wireplumber-0.5/targets.lua").to_owned(),
            },
        ],
        None => vec![twin],
    }
}

/// The systemd unit of the daemon, for the program at `executable`.
pub fn unit(executable: &Path) -> File {
    // A percent sign would be expanded, a quote would end the word (systemd.service(5), "Command lines").
    let program = executable
        .to_string_lossy()
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('%', "%%");
    File {
        base: Base::Config,
        path: "systemd/user/truemute.service",
        text: include_str!("../../../packaging/systemd/truemute.service").replace(
            "ExecStart=/usr/bin/truemute daemon",
            &format!("ExecStart=\"{program}\" daemon"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_calls_things_what_we_call_them() {
        for wireplumber in [Wireplumber::V0_4, Wireplumber::V0_5] {
            let files = of_server(Some(wireplumber));
            let [twin, _, script] = &files[..] else {
                panic!("{files:?}")
            };
            assert!(twin.text.contains(&format!("node.name = {SILENT_TWIN}\n")));
            for name in [
                SILENT_TWIN,
                truemute_pipewire::VIRTUAL_MIC,
                truemute_pipewire::SILENT_SOURCE,
                TARGETS_KEY,
            ] {
                assert!(script.text.contains(&format!("\"{name}\"")), "{name}");
            }
        }
    }

    #[test]
    fn the_unit_starts_this_program_whatever_it_is_called() {
        let text = unit(Path::new("/opt/100% \"true\"/truemute")).text;
        assert!(text.contains("\nExecStart=\"/opt/100%% \\\"true\\\"/truemute\" daemon\n"));
    }
}
