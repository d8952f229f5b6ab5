//! The administrator's policy: any text is read or refused, and a line of that text is named.
#![no_main]

use libfuzzer_sys::fuzz_target;
use truemute::config::Policy;

fuzz_target!(|text: &str| {
    if let Err(fault) = Policy::parse(text) {
        assert!(
            (1..=text.lines().count().max(1) + 1).contains(&fault.line),
            "{fault:?}"
        );
        assert!(!fault.message.is_empty());
    }
});
