//! Doors for the fuzzing programs to what is read from params.

use pipewire::spa::pod::Pod;

use crate::graph::mutes::{flag_in_props, route};

/// For fuzzing: params of nodes and devices that any client may have made.
pub fn params(bytes: &[u8]) {
    // A pod lies on 8 bytes (spa/pod/pod.h), and the library gives whole ones only.
    let mut aligned: Vec<u64> = vec![0; bytes.len().div_ceil(8)];
    for (word, bytes) in aligned.iter_mut().zip(bytes.chunks(8)) {
        let mut whole = [0; 8];
        whole[..bytes.len()].copy_from_slice(bytes);
        *word = u64::from_ne_bytes(whole);
    }
    // SAFETY: any bytes of an array of whole words are initialised, and it outlives the slice.
    let bytes = unsafe { std::slice::from_raw_parts(aligned.as_ptr().cast(), aligned.len() * 8) };
    if let Some(param) = Pod::from_bytes(bytes) {
        let _ = (flag_in_props(param), route(param));
        // SAFETY: a complete pod.
        let _ = unsafe { super::latency::parse(param.as_raw_ptr()) };
    }
}
