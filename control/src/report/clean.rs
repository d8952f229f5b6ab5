//! Makes a stranger's text safe to print: no text that an app chose can move the cursor, colour the screen, reorder a
//! line, hide, or run on without end. Nothing here judges whether a name is true.

use unicode_width::UnicodeWidthChar as _;

/// Shown in place of characters that may not reach a terminal. Visible, so that a name with such characters does not
/// look the same as the name without them.
const REPLACEMENT: char = '\u{FFFD}';

/// Stands for an empty text.
const NO_NAME: &str = "(no name)";

/// Marks the end of a text that was cut.
const ELLIPSIS: char = '…';

/// Combining marks that one character may carry; more of them pile up over the neighbouring lines.
const MARKS: usize = 2;

/// `text` as it may be printed: control and format characters (escape sequences, line breaks, bidirectional overrides,
/// invisible letters) become one `\u{FFFD}` for each run of them, spaces are single, and at most `width` columns are
/// taken, with `…` where something was cut. An empty text becomes `(no name)`.
pub fn clean(text: &str, width: usize) -> String {
    let mut out = String::new();
    let mut used = 0;
    let mut marks = 0;
    let mut before = ' ';
    for character in text.chars() {
        let mut character =
            if character == ' ' || (character.is_whitespace() && !is_break(character)) {
                ' '
            } else if is_hostile(character) {
                REPLACEMENT
            } else {
                character
            };
        let mut columns = character.width().unwrap_or(0);
        if columns == 0 {
            marks += 1;
            if marks > MARKS || out.is_empty() {
                character = REPLACEMENT;
                columns = 1;
            }
        } else if character != REPLACEMENT {
            marks = 0;
        }
        if (character == ' ' || character == REPLACEMENT) && character == before {
            continue;
        }
        if used + columns > width {
            return cut(out, width);
        }
        used += columns;
        out.push(character);
        before = character;
    }
    let end = out.trim_end().len();
    out.truncate(end);
    if out.is_empty() {
        return if width < NO_NAME.len() {
            cut(NO_NAME.into(), width)
        } else {
            NO_NAME.into()
        };
    }
    out
}

/// `text` shortened until `…` fits behind it.
fn cut(mut text: String, width: usize) -> String {
    while columns(&text) + 1 > width {
        if text.pop().is_none() {
            return text;
        }
    }
    text.push(ELLIPSIS);
    text
}

/// Columns that `text` takes on a terminal.
fn columns(text: &str) -> usize {
    text.chars()
        .map(|character| character.width().unwrap_or(0))
        .sum()
}

/// Whitespace that begins a new line or page somewhere.
fn is_break(character: char) -> bool {
    matches!(
        character,
        '\n' | '\u{B}' | '\u{C}' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}'
    )
}

/// Characters that could fake our output: general categories Cc and Cf, line and paragraph separators, and letters or
/// marks that Unicode calls default-ignorable (UAX #44, DerivedCoreProperties.txt, Default_Ignorable_Code_Point).
fn is_hostile(character: char) -> bool {
    character.is_control()
        || is_break(character)
        || matches!(character,
            '\u{AD}' | '\u{34F}' | '\u{600}'..='\u{605}' | '\u{61C}' | '\u{6DD}' | '\u{70F}' | '\u{890}' | '\u{891}'
            | '\u{8E2}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}' | '\u{180B}'..='\u{180F}'
            | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{3164}'
            | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF0}'..='\u{FFFB}'
            | '\u{110BD}' | '\u{110CD}' | '\u{13430}'..='\u{1343F}' | '\u{1BCA0}'..='\u{1BCA3}'
            | '\u{1D173}'..='\u{1D17A}' | '\u{E0000}'..='\u{E0FFF}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use unicode_width::UnicodeWidthStr as _;

    use super::{clean, is_hostile};

    proptest! {
        #[test]
        fn whatever_comes_in_is_safe_and_fits(text in ".*|(\\PC|\u{1b}|\u{202e}|\u{301}|\n| ){0,80}", width in 0_usize..60) {
            let cleaned = clean(&text, width);
            prop_assert!(!cleaned.chars().any(is_hostile), "{cleaned:?}");
            prop_assert!(cleaned.width() <= width, "{cleaned:?} is wider than {width}");
            prop_assert!(!cleaned.contains("  "));
            prop_assert_eq!(clean(&cleaned, width), cleaned.clone(), "cleaning twice changes nothing");
        }
    }

    #[test]
    fn escape_sequences_and_line_breaks_cannot_get_out() {
        assert_eq!(
            clean("zoom\u{1b}[2J\u{1b}[1;1HLIVE", 40),
            "zoom\u{FFFD}[2J\u{FFFD}[1;1HLIVE"
        );
        assert_eq!(
            clean("a\r\nMUTED  apps get exact zeros", 40),
            "a\u{FFFD}MUTED apps get exact zeros"
        );
        assert_eq!(clean("tab\there", 40), "tab here");
    }

    #[test]
    fn bidirectional_and_invisible_characters_are_shown_as_such() {
        assert_eq!(
            clean("Fire\u{202E}xof\u{2066}", 40),
            "Fire\u{FFFD}xof\u{FFFD}"
        );
        assert_eq!(clean("Zo\u{200B}om", 40), "Zo\u{FFFD}om");
        assert_eq!(clean("\u{E0041}\u{E0042}", 40), "\u{FFFD}");
    }

    #[test]
    fn a_name_is_never_wider_than_its_column() {
        assert_eq!(clean("Firefox", 7), "Firefox");
        assert_eq!(clean("Firefox", 6), "Firef…");
        assert_eq!(clean("会議アプリ", 6), "会議…");
        assert_eq!(clean("x", 0), "");
        assert_eq!(clean(&"x".repeat(1_000_000), 10), "xxxxxxxxx…");
    }

    #[test]
    fn marks_do_not_pile_up() {
        assert_eq!(clean("e\u{301}te\u{301}", 10), "e\u{301}te\u{301}");
        let zalgo = format!("e{}x", "\u{301}".repeat(50));
        assert_eq!(clean(&zalgo, 10), "e\u{301}\u{301}\u{FFFD}x");
        assert_eq!(clean("\u{301}x", 10), "\u{FFFD}x");
    }

    #[test]
    fn nothing_is_called_so() {
        assert_eq!(clean("  ", 20), "(no name)");
        assert_eq!(clean("", 4), "(no…");
    }

    #[test]
    fn spaces_cannot_build_columns() {
        assert_eq!(
            clean("Zoom      pid 1   verified", 40),
            "Zoom pid 1 verified"
        );
        assert_eq!(clean("Zoom\u{3000}\u{2003}x", 40), "Zoom x");
    }
}
