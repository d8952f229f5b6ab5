//! A combination of keys, as the configuration names it.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &str| truemute::fuzzing::hotkey(bytes));
