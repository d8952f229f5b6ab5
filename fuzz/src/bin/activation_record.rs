//! Shared memory with an activation record in it, and where it is said to be.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| truemute_pipewire::fuzzing::activation_record(bytes));
