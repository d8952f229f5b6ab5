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
