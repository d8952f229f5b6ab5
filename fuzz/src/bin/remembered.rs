//! The file that remembers the gate: any bytes are read or refused in words; what is read survives being written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use truemute::daemon::Remembered;

fuzz_target!(|bytes: &[u8]| {
    match Remembered::parse(bytes) {
        Ok(state) => assert_eq!(Remembered::parse(&state.to_bytes()), Ok(state)),
        Err(why) => assert!(!why.is_empty()),
    }
});
