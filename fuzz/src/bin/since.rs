//! `--since`, and the `since` of the API: a time or a span, or a sentence that says what is wrong.
#![no_main]

use libfuzzer_sys::fuzz_target;
use truemute::stats::parse_since;

/// 2026-11-22.
const NOW_NS: u64 = 1_795_305_600_000_000_000;

fuzz_target!(|text: &str| {
    match parse_since(text, NOW_NS) {
        Ok(since_ns) => assert!(since_ns <= NOW_NS, "{text:?} is {since_ns}"),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
