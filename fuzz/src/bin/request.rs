//! One line of a client of the API: read or refused with a sentence; what is read survives being written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use truemute::api::parse_request;

fuzz_target!(|line: &[u8]| {
    match parse_request(line) {
        Ok(request) => {
            let written = serde_json::to_vec(&request).expect("a request can be written");
            assert_eq!(parse_request(&written), Ok(request));
        }
        Err(error) => assert!(!error.message.is_empty()),
    }
});
