//! Formats, ranges and lists of attributes that programs send to the Windows driver's pin: taken or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use truemute_miniport::format::{BYTES, is_ours, is_within, mode_of};

fuzz_target!(|bytes: &[u8]| {
    // What follows a format does not matter.
    for end in 0..bytes.len().min(BYTES) {
        if is_ours(&bytes[..end]) {
            assert!(is_ours(bytes));
        }
    }
    let _ = (is_within(bytes), mode_of(bytes));
});
