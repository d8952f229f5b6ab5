//! A code signature as the kernel reads it (XNU, osfmk/kern/cs_blobs.h): all numbers are big-endian. Every hash is computed anew,
//! for a program whose pages are not as signed is killed.

use anyhow::{Context, Result, ensure};
use sha2::{Digest as _, Sha256};

const SUPER_BLOB: u32 = 0xfade_0cc0;
const CODE_DIRECTORY: u32 = 0xfade_0c02;
const SHA256: u8 = 2;

/// Made without a certificate.
pub(super) const ADHOC: u32 = 0x2;
/// The hardened runtime.
pub(super) const RUNTIME: u32 = 0x1_0000;

/// What a signature has of its own, by the number of its slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    CodeDirectory = 0,
    InfoPlist = 1,
    Resources = 3,
    Entitlements = 5,
    /// The entitlements in DER, without which newer systems ignore the others.
    EntitlementsDer = 7,
}

/// A signature, taken apart.
pub(super) struct Signature<'a> {
    blobs: Vec<(u32, &'a [u8])>,
    directory: &'a [u8],
}

impl<'a> Signature<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self> {
        ensure!(
            number(bytes, 0)? == SUPER_BLOB,
            "its signature is no SuperBlob"
        );
        let blobs = (0..number(bytes, 8)? as usize).map(|index| {
            let kind = number(bytes, 12 + 8 * index)?;
            let start = number(bytes, 16 + 8 * index)? as usize;
            let length = number(bytes, start + 4)? as usize;
            let blob = bytes.get(start..start + length);
            Ok((kind, blob.context("a blob of its signature is cut off")?))
        });
        let blobs: Vec<_> = blobs.collect::<Result<_>>()?;
        let directory = blobs
            .iter()
            .find(|(kind, _)| *kind == Slot::CodeDirectory as u32);
        let directory = directory.context("its signature has no CodeDirectory")?.1;
        ensure!(
            number(directory, 0)? == CODE_DIRECTORY,
            "its CodeDirectory is none"
        );
        ensure!(
            directory.get(37) == Some(&SHA256),
            "its hashes are not SHA-256"
        );
        Ok(Self { blobs, directory })
    }

    pub(super) fn flags(&self) -> Result<u32> {
        number(self.directory, 12)
    }

    pub(super) fn identifier(&self) -> Result<String> {
        let start = number(self.directory, 20)? as usize;
        let rest = self
            .directory
            .get(start..)
            .context("there is no identifier")?;
        let end = rest
            .iter()
            .position(|byte| *byte == 0)
            .unwrap_or(rest.len());
        Ok(String::from_utf8_lossy(&rest[..end]).into_owned())
    }

    /// A blob of the signature, with its header of 8 bytes.
    pub(super) fn blob(&self, slot: Slot) -> Option<&'a [u8]> {
        let blob = self.blobs.iter().find(|(kind, _)| *kind == slot as u32);
        blob.map(|(_, blob)| *blob)
    }

    /// Whether the CodeDirectory vouches for `content` in a special slot.
    pub(super) fn vouches_for(&self, slot: Slot, content: &[u8]) -> Result<bool> {
        let count = number(self.directory, 24)?;
        let hashes = number(self.directory, 16)? as usize;
        let slot = slot as usize;
        if slot > count as usize {
            return Ok(false);
        }
        let start = hashes.checked_sub(32 * slot).context("the slots overlap")?;
        Ok(self.directory.get(start..start + 32) == Some(&Sha256::digest(content)[..]))
    }

    /// Whether every page of `program` is as signed, and all of it up to the signature is.
    pub(super) fn covers(&self, program: &[u8], signature_at: usize) -> Result<()> {
        let limit = number(self.directory, 32)? as usize;
        ensure!(
            limit == signature_at,
            "{limit} of {signature_at} bytes are signed"
        );
        let page = 1_usize
            << self
                .directory
                .get(39)
                .context("there is no size of pages")?;
        let hashes = number(self.directory, 16)? as usize;
        let pages = program.get(..limit).context("it is cut off")?.chunks(page);
        ensure!(
            pages.len() == number(self.directory, 28)? as usize,
            "not every page has a hash"
        );
        for (index, page) in pages.enumerate() {
            let start = hashes + 32 * index;
            let hash = self.directory.get(start..start + 32);
            ensure!(
                hash == Some(&Sha256::digest(page)[..]),
                "page {index} is not as signed"
            );
        }
        Ok(())
    }
}

fn number(bytes: &[u8], at: usize) -> Result<u32> {
    let bytes = bytes.get(at..at + 4).context("its signature is cut off")?;
    Ok(u32::from_be_bytes(bytes.try_into()?))
}

/// A signature of `program`, with what `special` slots vouch for, for tests of what looks at signatures.
#[cfg(test)]
pub(super) fn made(
    program: &[u8],
    flags: u32,
    identifier: &str,
    special: &[(Slot, &[u8])],
) -> Vec<u8> {
    const PAGE: u32 = 12;
    const HEAD: usize = 44;
    const SLOTS: usize = 7;
    let pages: Vec<&[u8]> = program.chunks(1 << PAGE).collect();
    let hashes = HEAD + identifier.len() + 1 + 32 * SLOTS;
    let mut directory = Vec::new();
    let length = hashes + 32 * pages.len();
    let numbers = [
        CODE_DIRECTORY as usize,
        length,
        0x2_0400,
        flags as usize,
        hashes,
        HEAD,
        SLOTS,
        pages.len(),
        program.len(),
    ];
    for number in numbers {
        directory.extend(u32::try_from(number).unwrap().to_be_bytes());
    }
    directory.extend([32, SHA256, 0, PAGE as u8, 0, 0, 0, 0]);
    directory.extend(identifier.bytes().chain([0]));
    for slot in (1..=SLOTS).rev() {
        let content = special.iter().find(|(it, _)| *it as usize == slot);
        let hash = content.map_or([0; 32], |(_, content)| Sha256::digest(content).into());
        directory.extend(hash);
    }
    for page in pages {
        directory.extend(Sha256::digest(page));
    }
    let mut bytes = Vec::new();
    let whole = u32::try_from(20 + directory.len()).unwrap();
    for number in [SUPER_BLOB, whole, 1, Slot::CodeDirectory as u32, 20] {
        bytes.extend(number.to_be_bytes());
    }
    bytes.extend(directory);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_as_signed_is_seen() {
        let program: Vec<u8> = (0..10_000_u32).map(|it| it.to_le_bytes()[0]).collect();
        let plist: &[u8] = b"<plist/>";
        let bytes = made(&program, ADHOC, "a", &[(Slot::InfoPlist, plist)]);
        let signature = Signature::parse(&bytes).unwrap();
        signature.covers(&program, program.len()).unwrap();
        assert!(signature.vouches_for(Slot::InfoPlist, plist).unwrap());

        for at in [0, 4096, 9_999] {
            let mut changed = program.clone();
            changed[at] ^= 1;
            assert!(signature.covers(&changed, changed.len()).is_err(), "{at}");
        }
        assert!(signature.covers(&program, program.len() + 1).is_err());
        assert!(signature.covers(&program[..9_000], program.len()).is_err());
        assert!(!signature.vouches_for(Slot::InfoPlist, b"other").unwrap());
        assert!(!signature.vouches_for(Slot::Resources, plist).unwrap());
        assert!(signature.blob(Slot::Entitlements).is_none());
    }

    #[test]
    fn half_a_signature_is_none() {
        let bytes = made(&[0; 100], ADHOC, "a", &[]);
        for end in [0, 11, 19, 40, bytes.len() - 1] {
            assert!(Signature::parse(&bytes[..end]).is_err(), "{end}");
        }
        let mut other = bytes.clone();
        other[0] = 0;
        assert!(Signature::parse(&other).is_err());
        // SHA-1.
        let mut older = bytes;
        older[20 + 37] = 1;
        assert!(Signature::parse(&older).is_err());
    }
}
