//! What keeps ordinary clients off the real mics where the audio server refuses links (guard = "enforce"): configuration for
//! PipeWire and its socket unit, and a component of WirePlumber 0.5, as they lie in `control/packaging/`.

use std::path::{Path, PathBuf};

use super::parts::{Base, File};
use super::services;
use crate::config::Config;

/// Whose processes may hear the real mics, beside WirePlumber itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trusted {
    /// Units of the user's systemd, such as `truemute.service`.
    pub units: Vec<String>,
    /// Whole paths of executables; a trailing `*` stands for any ending of the last part.
    pub executables: Vec<PathBuf>,
}

impl Trusted {
    /// The daemon and the user's processors. A program that is trusted by its path can be borrowed by any other
    /// (docs/security.md): the daemon's own is only where no unit tells the daemon from others that run it.
    pub(super) fn configured(config: &Config, executable: &Path, systemd: bool) -> Self {
        let processors = config.trusted_processors.iter();
        let paths = processors.filter(|it| it.contains('/')).map(PathBuf::from);
        let ours = (!systemd).then(|| executable.to_owned());
        Self {
            units: vec![services::UNIT.to_owned()],
            executables: paths.chain(ours).collect(),
        }
    }

    /// The one of the executables that is `bridge` too, under whatever name: pipewire-pulse is a link to PipeWire, and records
    /// for every app that speaks PulseAudio.
    pub(super) fn serves_everybody(&self, bridge: &Path) -> Option<&Path> {
        let real = bridge.canonicalize();
        let names = [Some(bridge), real.as_deref().ok()];
        let is_bridge = |path: &&PathBuf| match path.to_string_lossy().strip_suffix('*') {
            Some(start) => names
                .iter()
                .flatten()
                .any(|name| name.to_string_lossy().starts_with(start)),
            None => path
                .canonicalize()
                .is_ok_and(|path| real.as_ref().is_ok_and(|real| path == *real)),
        };
        self.executables
            .iter()
            .find(is_bridge)
            .map(PathBuf::as_path)
    }
}

/// The files. PipeWire, its sockets and WirePlumber have to be started again after they were written, changed or removed.
pub fn files(trusted: &Trusted) -> [File; 4] {
    let units = trusted.units.iter().cloned();
    let executables = trusted
        .executables
        .iter()
        .map(|path| path.to_string_lossy().into_owned());
    [
        File {
            base: Base::Config,
            path: "systemd/user/pipewire.socket.d/61-truemute-guard.conf",
            text: include_str!("../../../packaging/systemd/61-truemute-guard.conf").to_owned(),
        },
        File {
            base: Base::Config,
            path: "pipewire/pipewire.conf.d/61-truemute-guard.conf",
            text: include_str!("../../../packaging/pipewire/61-truemute-guard.conf").to_owned(),
        },
        File {
            base: Base::Config,
            path: "wireplumber/wireplumber.conf.d/61-truemute-guard.conf",
            text: include_str!("../../../packaging/wireplumber-0.5/61-truemute-guard.conf")
                .replace("@UNITS@", &array(units))
                .replace("@EXECUTABLES@", &array(executables)),
        },
        File {
            base: Base::Data,
            path: "wireplumber/scripts/truemute/guard.lua",
            text: include_str!("../../../packaging/wireplumber-0.5/guard.lua").to_owned(),
        },
    ]
}

/// PipeWire's configuration reads JSON.
fn array(words: impl Iterator<Item = String>) -> String {
    serde_json::Value::from_iter(words).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::install::parts::SILENT_TWIN;

    #[test]
    fn the_script_calls_the_sources_what_we_call_them() {
        let [.., script] = files(&Trusted::default());
        for name in [truemute_pipewire::VIRTUAL_MIC, SILENT_TWIN] {
            assert!(script.text.contains(&format!(" = \"{name}\"\n")), "{name}");
        }
    }

    #[test]
    fn who_is_trusted_stands_in_wireplumbers_file() {
        let trusted = Trusted {
            units: vec!["truemute.service".to_owned()],
            executables: vec![PathBuf::from("/opt/a \"b\"/c*")],
        };
        let [_, _, wireplumber, _] = files(&trusted);
        let lines = "  trusted.units = [\"truemute.service\"]\n  trusted.executables = [\"/opt/a \\\"b\\\"/c*\"]\n";
        assert!(wireplumber.text.contains(lines), "{}", wireplumber.text);
    }

    #[test]
    fn who_serves_everybody_is_found_under_each_of_its_names() {
        let dir = tempfile::tempdir().unwrap();
        let [server, bridge, other] =
            ["pipewire", "pipewire-pulse", "other"].map(|name| dir.path().join(name));
        for file in [&server, &other] {
            std::fs::write(file, "").unwrap();
        }
        std::os::unix::fs::symlink(&server, &bridge).unwrap();
        let found = |path: &Path| {
            let trusted = Trusted {
                executables: vec![other.clone(), path.to_owned()],
                ..Trusted::default()
            };
            trusted.serves_everybody(&bridge).map(Path::to_owned)
        };
        for path in [
            &server,
            &bridge,
            &dir.path().join("pipe*"),
            &dir.path().join("*"),
        ] {
            assert_eq!(found(path).as_ref(), Some(path));
        }
        for path in [&other, &dir.path().join("o*"), &dir.path().join("missing")] {
            assert_eq!(found(path), None);
        }
    }

    #[test]
    fn the_program_is_trusted_by_its_path_only_without_systemd() {
        let config = Config {
            trusted_processors: vec!["/usr/bin/easyeffects".to_owned(), "a-node".to_owned()],
            ..Config::default()
        };
        let executable = Path::new("/usr/bin/truemute");
        let by_path = |systemd| Trusted::configured(&config, executable, systemd).executables;
        let processor = Path::new("/usr/bin/easyeffects");
        assert_eq!(by_path(true), [processor]);
        assert_eq!(by_path(false), [processor, executable]);
    }
}
