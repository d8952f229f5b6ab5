//! Readings of our own activation record that make no sense.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| truemute_pipewire::fuzzing::layout_check(bytes));
