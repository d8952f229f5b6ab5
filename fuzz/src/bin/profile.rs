//! Messages of PipeWire's profiler.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| truemute_pipewire::fuzzing::profile(bytes));
