//! The kernel's answer about Unix sockets (NETLINK_SOCK_DIAG).
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| truemute_pipewire::fuzzing::socket_list(bytes));
