//! Names as the kernel wants them: UTF-16 with a 0 at the end. Only of constants.

/// The text, which must be ASCII and one shorter than the result.
#[expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "only evaluated when this is compiled"
)]
pub const fn units<const N: usize>(text: &str) -> [u16; N] {
    let bytes = text.as_bytes();
    assert!(bytes.len() + 1 == N && text.is_ascii());
    let mut units = [0; N];
    let mut n = 0;
    while n < bytes.len() {
        units[n] = bytes[n] as u16;
        n += 1;
    }
    units
}

/// A constant text as a static array.
#[cfg(any(target_os = "windows", clippy))]
macro_rules! utf16 {
    ($text:expr) => {{
        const TEXT: &str = $text;
        static UTF16: [u16; TEXT.len() + 1] = $crate::text::units(TEXT);
        &UTF16
    }};
}
#[cfg(any(target_os = "windows", clippy))]
pub(crate) use utf16;

#[cfg(test)]
mod tests {
    #[test]
    fn a_text_ends_with_a_0() {
        assert_eq!(super::units("ab"), [97, 98, 0]);
    }
}
