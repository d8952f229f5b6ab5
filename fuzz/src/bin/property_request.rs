//! A request for a property of the macOS driver, as any process can send it.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| truemute_hal::fuzzing::property_request(bytes));
