//! What pw-dump prints, for `truemute doctor`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| truemute::fuzzing::graph_dump(bytes));
