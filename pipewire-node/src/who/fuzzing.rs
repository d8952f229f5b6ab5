//! Doors to this module's parsers for the programs in fuzz/. Only in builds for fuzzing.

use super::{label, process, sockets};

/// Files and links of /proc: a process chooses its own name, so some of these bytes are a stranger's.
pub fn proc_files(bytes: &[u8]) {
    if let Some((command, _)) = process::parse_stat(bytes) {
        let shown = label::presentable(&command);
        assert!(!shown.contains(char::is_control), "{shown:?}");
    }
    let _ = process::parse_own_pid(bytes);
    let _ = process::parse_thread_group(bytes);
    let _ = std::str::from_utf8(bytes).map(crate::guard::parse_status);
    let _ = process::parse_socket(bytes);
}

/// A datagram of the kernel's answer about Unix sockets: each socket in it takes its bytes.
pub fn socket_list(bytes: &[u8]) {
    let mut sockets = Vec::new();
    let _ = sockets::parse_answer(bytes, &mut sockets);
    assert!(sockets.len() <= bytes.len() / 16);
}
