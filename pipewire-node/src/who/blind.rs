//! Whether this process can see who its clients are. A namespace of its own, as a service manager or a container may give it,
//! hides them: then each identity is only claimed, and nothing else says why.

use std::path::Path;

use super::process::{ProcDir, all_pids};
use super::sockets::all_unix_sockets;

/// What hides clients from this process, as sentences with what to do. `server` is the path of the audio server's socket; while
/// it is not there, only processes are looked at. Takes some milliseconds; for any thread that may block.
pub fn blind_spots(server: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let sees = |pid| {
        ProcDir::open(pid).is_ok_and(|it| it.look().is_some_and(|it| it.executable.is_some()))
    };
    let own = std::process::id();
    if !all_pids().into_iter().any(|pid| pid != own && sees(pid)) {
        found.push("The daemon cannot see which program any process runs, so apps are only what they claim to be. Start it without a user or process namespace of its own (PrivateUsers, ProtectProc).".to_owned());
    }
    let name = server.as_os_str().as_encoded_bytes();
    let is_it = |socket: &[u8]| socket.strip_suffix(b"\0").unwrap_or(socket) == name;
    let listed = all_unix_sockets().is_ok_and(|all| {
        all.iter()
            .any(|it| it.listening && it.name.as_deref().is_some_and(is_it))
    });
    if server.exists() && !listed {
        found.push("The daemon cannot see the sockets of PulseAudio's apps, so they are only what they claim to be. Start it without a network namespace of its own (PrivateNetwork), and with netlink allowed (RestrictAddressFamilies=AF_UNIX AF_NETLINK).".to_owned());
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;
    use std::process::Command;

    #[test]
    fn here_nothing_is_hidden() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("server");
        let _listener = UnixListener::bind(&path).unwrap();
        assert_eq!(blind_spots(&path), [""; 0]);
    }

    /// Tells of the namespace that this test gives itself.
    #[test]
    fn a_network_namespace_hides_sockets() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("server");
        let _listener = UnixListener::bind(&path).unwrap();
        if let Ok(inside) = std::env::var("TRUEMUTE_SERVER_OUTSIDE") {
            assert_eq!(blind_spots(inside.as_ref()).len(), 1);
            return;
        }
        let again = Command::new("unshare")
            .args(["--net", "--"])
            .arg(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "who::blind::tests::a_network_namespace_hides_sockets",
            ])
            .env("TRUEMUTE_SERVER_OUTSIDE", &path)
            .output();
        match again {
            Ok(output) if output.status.success() => {}
            Ok(output) if String::from_utf8_lossy(&output.stderr).contains("unshare failed") => {
                println!("SKIPPED: no network namespace can be made here");
            }
            other => panic!("{other:?}"),
        }
    }
}
