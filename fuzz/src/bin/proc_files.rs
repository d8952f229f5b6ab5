//! /proc/PID/stat, /proc/PID/status and the links in /proc/PID/fd.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| truemute_pipewire::fuzzing::proc_files(bytes));
