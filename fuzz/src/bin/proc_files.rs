//! /proc/PID/stat, /proc/PID/status, the links in /proc/PID/fd, and the status of sound devices in /proc/asound.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| truemute_pipewire::fuzzing::proc_files(bytes));
