//! On which audio servers a test runs: this machine's own, and Debian 13's from its root filesystem.

use std::path::Path;

use truemute::install::parts::{self, Base, Wireplumber};
use truemute_pipewire::rehearsal::{ServerOptions, debian13_root};

/// One kind of server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// What is installed here.
    Installed,
    /// Debian 13's PipeWire 1.4 and WirePlumber 0.5. Needs root, and the root that `cargo xtask setup` makes.
    Debian13,
}

impl Version {
    /// `options` for this version, or nothing, with a line that says why, if it cannot be had here.
    ///
    /// # Panics
    /// If it cannot be had and `TRUEMUTE_REQUIRE_DEBIAN13` is set, so that CI never skips.
    pub fn options(self, options: ServerOptions) -> Option<ServerOptions> {
        if self == Version::Installed {
            return Some(options);
        }
        match debian13_root(&target_directory()) {
            Ok(root) if rustix::process::geteuid().is_root() => Some(ServerOptions {
                root: Some(root),
                ..options
            }),
            other => {
                let reason = match other {
                    Ok(_) => "only root can run the server of another release".to_owned(),
                    Err(error) => error.to_string(),
                };
                assert!(
                    std::env::var_os("TRUEMUTE_REQUIRE_DEBIAN13").is_none(),
                    "{reason}"
                );
                println!("SKIPPED in part: {reason}");
                None
            }
        }
    }
}

/// What `truemute install` gives the server of this version to read, as [`ServerOptions::dropins`] wants it.
pub fn installed_parts(version: Version) -> Vec<(String, String)> {
    let wireplumber = match version {
        Version::Installed => Wireplumber::installed(),
        Version::Debian13 => Some(Wireplumber::V0_5),
    };
    let parts = parts::of_server(wireplumber).into_iter();
    parts
        .map(|part| {
            let path = match part.base {
                Base::Config => part.path.to_owned(),
                // The data directory lies beside it.
                Base::Data => format!("../data/{}", part.path),
            };
            (path, part.text)
        })
        .collect()
}

/// Cargo's target directory: the test executable lies in `target/PROFILE/deps`.
fn target_directory() -> std::path::PathBuf {
    let executable = std::env::current_exe().unwrap_or_default();
    executable
        .ancestors()
        .nth(3)
        .unwrap_or(Path::new("target"))
        .to_owned()
}
