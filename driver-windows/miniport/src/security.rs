//! Who may open the control device: a security descriptor as bytes, set before anybody can. Layouts of [MS-DTYP] 2.4.6 (descriptor,
//! self-relative), 2.4.5 (list), 2.4.4.2 (entry) and 2.4.2.2 (identifier). An INF's descriptor covers only the audio device's stack.

use crate::abi::put;

/// `FILE_ALL_ACCESS` of wdm.h.
const ALL: u32 = 0x001f_01ff;
/// `FILE_GENERIC_READ | FILE_GENERIC_WRITE` of wdm.h.
const READ_WRITE: u32 = 0x0012_019f;

/// Authority and parts of who may, and what: S-1-5-18, the system; S-1-5-32-544, administrators; S-1-2-1, who logged on at the console (since
/// Windows 7). The last group is narrowed to the console's present session when the device is opened (`kernel/callers.rs`). Not in
/// it: services, the network, remote sessions, and apps in containers.
const ENTRIES: [(u32, u8, &[u32]); 3] =
    [(ALL, 5, &[18]), (ALL, 5, &[32, 544]), (READ_WRITE, 2, &[1])];

const HEAD: usize = 20;
const LIST: usize = 8;
const LIST_BYTES: usize = LIST + 3 * 16 + 4 * 4;

/// The descriptor: protected (nothing is inherited), without owner and group, in SDDL `D:P(A;;FA;;;SY)(A;;FA;;;BA)(A;;FRFW;;;S-1-2-1)`.
pub static DESCRIPTOR: Aligned<{ HEAD + LIST_BYTES }> = Aligned(build());

/// Bytes where the system may read numbers.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(8))]
pub struct Aligned<const N: usize>(pub [u8; N]);

#[expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "only evaluated when this is compiled"
)]
const fn build() -> [u8; HEAD + LIST_BYTES] {
    let mut bytes = [0; HEAD + LIST_BYTES];
    bytes[0] = 1;
    // SE_SELF_RELATIVE, SE_DACL_PROTECTED, SE_DACL_PRESENT.
    let mut at = put(&mut bytes, 2, &0x9004_u16.to_le_bytes());
    // No owner, no group, no audit; the list follows.
    at = put(&mut bytes, at + 12, &(HEAD as u32).to_le_bytes());
    at = put(&mut bytes, at, &[2, 0]);
    at = put(&mut bytes, at, &(LIST_BYTES as u16).to_le_bytes());
    at = put(&mut bytes, at, &[ENTRIES.len() as u8, 0, 0, 0]);
    let mut n = 0;
    while n < ENTRIES.len() {
        let (access, authority, parts) = ENTRIES[n];
        let size = 16 + 4 * parts.len();
        // ACCESS_ALLOWED_ACE_TYPE without flags.
        at = put(&mut bytes, at, &[0, 0, size as u8, 0]);
        at = put(&mut bytes, at, &access.to_le_bytes());
        // Revision, number of parts, authority (5: NT, 2: local).
        at = put(
            &mut bytes,
            at,
            &[1, parts.len() as u8, 0, 0, 0, 0, 0, authority],
        );
        let mut part = 0;
        while part < parts.len() {
            at = put(&mut bytes, at, &parts[part].to_le_bytes());
            part += 1;
        }
        n += 1;
    }
    assert!(at == bytes.len());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_those_of_the_descriptor() {
        // Written by hand after [MS-DTYP], not with the code above.
        let expected = "01 00 04 90 00000000 00000000 00000000 14000000 \
            02 00 4800 0300 0000 \
            00 00 1400 ff011f00 01 01 000000000005 12000000 \
            00 00 1800 ff011f00 01 02 000000000005 20000000 20020000 \
            00 00 1400 9f011200 01 01 000000000002 01000000";
        let digits: String = expected.split_whitespace().collect();
        let shown: String = DESCRIPTOR
            .0
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(shown, digits);
    }
}
