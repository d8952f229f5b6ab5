//! A message between the macOS driver and its agent, from either side: read or refused; what is read survives being written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde::{Serialize, de::DeserializeOwned};
use truemute_bridge::message::{
    FromAgent, FromPlugin, LARGEST_FROM_AGENT, LARGEST_FROM_PLUGIN, decode, encode,
};

fn round<M: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(
    bytes: &[u8],
    largest: usize,
) {
    if bytes.len() > largest {
        return;
    }
    if let Ok(message) = decode::<M>(bytes) {
        // Numbers may be written longer than needed: what we write is never longer than what was read.
        let written = encode(&message, largest).expect("it can be written");
        assert!(written.len() <= bytes.len());
        assert_eq!(decode(&written).as_ref(), Ok(&message));
    }
}

fuzz_target!(|bytes: &[u8]| {
    round::<FromAgent>(bytes, LARGEST_FROM_AGENT);
    round::<FromPlugin>(bytes, LARGEST_FROM_PLUGIN);
});
