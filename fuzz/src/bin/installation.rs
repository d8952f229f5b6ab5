//! The record of an installation, and what `wireplumber --version` says.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| truemute::fuzzing::installation(bytes));
