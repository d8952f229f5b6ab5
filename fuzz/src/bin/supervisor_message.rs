//! A message on the supervisor's socket, as of sd_notify(3).
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| truemute::fuzzing::supervisor_message(bytes));
