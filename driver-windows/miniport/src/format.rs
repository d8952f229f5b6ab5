//! The one format (48 kHz, stereo, 32-bit PCM), and what clients say of formats, as bytes. Layouts of ks.h, ksmedia.h and
//! mmreg.h; every length is checked, for some of these bytes come from programs.

use crate::abi::guid::{self, Guid};
use crate::abi::ks::ATTRIBUTES;
use crate::abi::put;
use truemute_windows_interface::{BITS, CHANNELS, FRAME_BYTES, RATE};

/// Bytes of `KSDATAFORMAT`.
pub const HEAD: usize = 64;
/// Bytes of `KSDATAFORMAT_WAVEFORMATEXTENSIBLE`.
pub const BYTES: usize = HEAD + 40;
/// `WAVE_FORMAT_EXTENSIBLE` of mmreg.h.
const EXTENSIBLE: u16 = 0xfffe;
/// `WAVE_FORMAT_PCM` of mmreg.h.
const PCM: u16 = 1;
/// Bytes of `WAVEFORMATEX`, and so many follow it in `WAVEFORMATEXTENSIBLE`.
const WAVE: usize = 18;
const EXTENSION: u16 = 22;
/// `KSAUDIO_SPEAKER_STEREO`: front left and front right.
const STEREO: u32 = 3;
const FRAME: u16 = FRAME_BYTES as u16;

/// The format, as `KSDATAFORMAT_WAVEFORMATEXTENSIBLE`.
pub const FORMAT: [u8; BYTES] = {
    let mut bytes = [0; BYTES];
    let mut at = put(&mut bytes, 0, &(BYTES as u32).to_le_bytes());
    // No flags, the size of a frame, and a number that is reserved.
    at = put(&mut bytes, at, &[0; 4]);
    at = put(&mut bytes, at, &(FRAME as u32).to_le_bytes());
    at = put(&mut bytes, at, &[0; 4]);
    at = put(&mut bytes, at, &guid::TYPE_AUDIO.bytes());
    at = put(&mut bytes, at, &guid::SUBTYPE_PCM.bytes());
    at = put(&mut bytes, at, &guid::SPECIFIER_WAVEFORMATEX.bytes());
    at = put(&mut bytes, at, &EXTENSIBLE.to_le_bytes());
    at = put(&mut bytes, at, &CHANNELS.to_le_bytes());
    at = put(&mut bytes, at, &RATE.to_le_bytes());
    at = put(&mut bytes, at, &(RATE * FRAME as u32).to_le_bytes());
    at = put(&mut bytes, at, &FRAME.to_le_bytes());
    at = put(&mut bytes, at, &BITS.to_le_bytes());
    at = put(&mut bytes, at, &EXTENSION.to_le_bytes());
    at = put(&mut bytes, at, &BITS.to_le_bytes());
    at = put(&mut bytes, at, &STEREO.to_le_bytes());
    at = put(&mut bytes, at, &guid::SUBTYPE_PCM.bytes());
    assert!(at == BYTES);
    bytes
};

/// The same, with the flag that says that a list of attributes follows.
pub const WITH_ATTRIBUTES: [u8; BYTES] = {
    let mut bytes = FORMAT;
    put(&mut bytes, 4, &ATTRIBUTES.to_le_bytes());
    bytes
};
const _: () = assert!(BYTES.is_multiple_of(8), "the list follows at once");

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn is_at(bytes: &[u8], at: usize, guid: Guid) -> bool {
    bytes.get(at..).and_then(<[u8]>::first_chunk) == Some(&guid.bytes())
}

/// Whether the bytes are a `KSDATAFORMAT` with a wave format in it that is ours, as `WAVEFORMATEX` or as `WAVEFORMATEXTENSIBLE`.
/// Attributes behind it do not matter.
pub fn is_ours(bytes: &[u8]) -> bool {
    check(bytes).unwrap_or(false)
}

fn check(bytes: &[u8]) -> Option<bool> {
    let head = is_at(bytes, 16, guid::TYPE_AUDIO)
        && is_at(bytes, 32, guid::SUBTYPE_PCM)
        && is_at(bytes, 48, guid::SPECIFIER_WAVEFORMATEX);
    let wave = bytes.get(HEAD..)?;
    let tag = u16_at(wave, 0)?;
    let same = u16_at(wave, 2)? == CHANNELS
        && u32_at(wave, 4)? == RATE
        && u16_at(wave, 12)? == FRAME
        && u16_at(wave, 14)? == BITS;
    // `cbSize` is there even for plain PCM: the head's size counts `KSDATAFORMAT_WAVEFORMATEX`.
    let extension = u16_at(wave, 16)?;
    let exact = match tag {
        PCM => true,
        EXTENSIBLE => {
            extension >= EXTENSION
                && u16_at(wave, WAVE)? == BITS
                && u32_at(wave, WAVE + 2)? == STEREO
                && is_at(wave, WAVE + 6, guid::SUBTYPE_PCM)
        }
        _ => false,
    };
    Some(head && same && exact)
}

/// Whether the client's range (`KSDATARANGE_AUDIO`) takes our format; nothing if it is a range of something else, which the port is
/// to judge.
pub fn is_within(range: &[u8]) -> Option<bool> {
    if !is_at(range, 48, guid::SPECIFIER_WAVEFORMATEX) {
        return None;
    }
    let number = |at| u32_at(range, HEAD.saturating_add(at)).unwrap_or(0);
    // `KSDATAFORMAT_TYPE_WILDCARD` and `KSDATAFORMAT_SUBTYPE_WILDCARD` are no identifiers: zeros.
    let is_or_any = |at, guid| is_at(range, at, guid) || is_at(range, at, Guid::new(0));
    let bits = number(4)..=number(8);
    let rates = number(12)..=number(16);
    Some(
        is_or_any(16, guid::TYPE_AUDIO)
            && is_or_any(32, guid::SUBTYPE_PCM)
            && number(0) >= u32::from(CHANNELS)
            && bits.contains(&u32::from(BITS))
            && rates.contains(&RATE),
    )
}

/// What signal processing a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// None, which is what it gets.
    Raw,
    /// It says nothing, or that it does not mind: as raw.
    Default,
    /// One that there is not.
    Other,
}

/// The mode that a list of attributes names: `KSMULTIPLE_ITEM`, then so many `KSATTRIBUTE`s, each at a multiple of 8 bytes. Nothing if it
/// is malformed, or names another attribute.
pub fn mode_of(list: &[u8]) -> Option<Mode> {
    let count = u32_at(list, 4)?;
    let mut rest = list.get(8..)?;
    let mut mode = Mode::Default;
    for _ in 0..count {
        let size = usize::try_from(u32_at(rest, 0)?).ok()?;
        // `KSATTRIBUTE_AUDIOSIGNALPROCESSING_MODE`: size, flags, attribute, mode.
        if size != 40
            || !is_at(rest, 8, guid::ATTRIBUTE_SIGNAL_PROCESSING_MODE)
            || rest.len() < size
        {
            return None;
        }
        mode = if is_at(rest, 24, guid::MODE_RAW) {
            Mode::Raw
        } else if is_at(rest, 24, guid::MODE_DEFAULT) {
            Mode::Default
        } else {
            Mode::Other
        };
        rest = rest.get(size..)?;
    }
    Some(mode)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain() -> Vec<u8> {
        let mut bytes = FORMAT[..HEAD + WAVE].to_vec();
        bytes[HEAD..HEAD + 2].copy_from_slice(&PCM.to_le_bytes());
        bytes[HEAD + 16..HEAD + 18].fill(0);
        bytes
    }

    #[test]
    fn the_format_is_its_own_and_so_is_plain_pcm() {
        assert!(is_ours(&FORMAT));
        assert!(is_ours(&plain()));
        assert_eq!(u32_at(&FORMAT, HEAD + 8), Some(384_000), "bytes a second");
    }

    #[test]
    fn every_other_byte_is_another_format() {
        // Size, flags, size of a frame (in the head) and bytes a second are not asked for.
        let free = (0..16).chain(HEAD + 8..HEAD + 12);
        let free: Vec<usize> = free.collect();
        for at in (0..BYTES).filter(|at| !free.contains(at)) {
            let mut other = FORMAT;
            other[at] ^= 1;
            // A larger extension is still one.
            assert!(
                !is_ours(&other) || (HEAD + 16..HEAD + 18).contains(&at),
                "byte {at}"
            );
        }
        for length in 0..BYTES {
            assert!(!is_ours(&FORMAT[..length]), "{length} bytes");
        }
    }

    fn range(numbers: [u32; 5]) -> Vec<u8> {
        let mut bytes = FORMAT[..HEAD].to_vec();
        bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        bytes
    }

    #[test]
    fn a_range_takes_it_or_not() {
        assert_eq!(is_within(&range([2, 8, 32, 8000, 192_000])), Some(true));
        assert_eq!(
            is_within(&range([u32::MAX, 32, 32, 48_000, 48_000])),
            Some(true)
        );
        for numbers in [
            [1, 8, 32, 8000, 192_000],
            [2, 8, 24, 8000, 192_000],
            [2, 64, 64, 8000, 192_000],
            [2, 8, 32, 44_100, 44_100],
            [2, 8, 32, 96_000, 192_000],
        ] {
            assert_eq!(is_within(&range(numbers)), Some(false), "{numbers:?}");
        }
        assert_eq!(
            is_within(&range([2, 8, 32, 8000, 192_000])[..HEAD + 8]),
            Some(false)
        );
        assert_eq!(is_within(&[0; 100]), None);
        let mut of = range([2, 8, 32, 8000, 192_000]);
        of[32..48].fill(0);
        assert_eq!(is_within(&of), Some(true), "any encoding");
        of[32] = 3;
        assert_eq!(is_within(&of), Some(false), "floats");
    }

    fn attribute(mode: Guid) -> Vec<u8> {
        let mut bytes = [48_u32, 1, 40, 0]
            .map(u32::to_le_bytes)
            .as_flattened()
            .to_vec();
        bytes.extend(guid::ATTRIBUTE_SIGNAL_PROCESSING_MODE.bytes());
        bytes.extend(mode.bytes());
        bytes
    }

    #[test]
    fn the_mode_is_read_and_nothing_else() {
        assert_eq!(mode_of(&attribute(guid::MODE_RAW)), Some(Mode::Raw));
        assert_eq!(mode_of(&attribute(guid::MODE_DEFAULT)), Some(Mode::Default));
        assert_eq!(mode_of(&attribute(guid::NODE_ADC)), Some(Mode::Other));
        assert_eq!(mode_of(&[8, 0, 0, 0, 0, 0, 0, 0]), Some(Mode::Default));
        let whole = attribute(guid::MODE_RAW);
        for length in 0..whole.len() {
            assert_eq!(mode_of(&whole[..length]), None, "{length} bytes");
        }
        let mut many = whole.clone();
        many[4..8].fill(0xff);
        assert_eq!(mode_of(&many), None);
        let mut other = whole;
        other[16] ^= 1;
        assert_eq!(mode_of(&other), None, "another attribute");
    }
}
