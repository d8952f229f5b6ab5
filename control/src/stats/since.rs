//! `--since`: a point in time as a person writes it.

use jiff::{SignedDuration, Timestamp};

/// Reads `--since`: a time (RFC 3339, `2026-11-22T09:00:00Z`, or with another offset), or how long ago (`90s`, `15m`,
/// `2h`, `7d`). Gives nanoseconds since 1970. `now_ns` is the present time in the same unit.
pub fn parse_since(text: &str, now_ns: u64) -> Result<u64, SinceError> {
    let text = text.trim();
    let nanoseconds = match duration(text) {
        Some(ago) => i128::from(now_ns) - ago.as_nanos(),
        None => text
            .parse::<Timestamp>()
            .map_err(|_| SinceError::Unreadable(text.into()))?
            .as_nanosecond(),
    };
    // What lies before 1970 means: everything.
    let nanoseconds =
        u64::try_from(nanoseconds.max(0)).map_err(|_| SinceError::Future(text.into()))?;
    if nanoseconds > now_ns {
        return Err(SinceError::Future(text.into()));
    }
    Ok(nanoseconds)
}

/// A whole number and a unit.
fn duration(text: &str) -> Option<SignedDuration> {
    let unit_at = text.find(|letter: char| !letter.is_ascii_digit())?;
    let (number, unit) = text.split_at(unit_at);
    let seconds = match unit {
        "s" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        "d" => 24 * 3600,
        _ => return None,
    };
    number
        .parse::<i64>()
        .ok()?
        .checked_mul(seconds)
        .map(SignedDuration::from_secs)
}

/// Why a point in time was not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SinceError {
    /// Neither of the two forms.
    #[error(
        "`{0}` is not a time. Write one like 2026-11-22T09:00:00Z, or how long ago, like 2h or 7d."
    )]
    Unreadable(String),
    /// It has not come yet.
    #[error("`{0}` lies in the future. Write a time that has passed.")]
    Future(String),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::stats::tests::{SECOND, T0};

    #[test]
    fn times_and_durations_are_understood() {
        let since = |text| parse_since(text, T0);
        assert_eq!(since("2026-11-22T08:00:00Z"), Ok(T0 - 3600 * SECOND));
        assert_eq!(since("2026-11-22T10:00:00+02:00"), Ok(T0 - 3600 * SECOND));
        assert_eq!(since(" 90s "), Ok(T0 - 90 * SECOND));
        assert_eq!(since("15m"), Ok(T0 - 900 * SECOND));
        assert_eq!(since("2h"), Ok(T0 - 7200 * SECOND));
        assert_eq!(since("7d"), Ok(T0 - 7 * 86400 * SECOND));
        assert_eq!(since("999999d"), Ok(0));
        assert_eq!(since("1960-01-01T00:00:00Z"), Ok(0));
    }

    #[test]
    fn everything_else_is_refused() {
        for text in [
            "",
            "yesterday",
            "2h30",
            "-2h",
            "2",
            "h",
            "2026-11-22",
            "99999999999999999999d",
        ] {
            assert_eq!(
                parse_since(text, T0),
                Err(SinceError::Unreadable(text.into()))
            );
        }
        let future = "2026-11-22T09:00:01Z";
        assert_eq!(
            parse_since(future, T0),
            Err(SinceError::Future(future.into()))
        );
    }

    proptest! {
        #[test]
        fn no_text_panics(text in any::<String>()) {
            let _ = parse_since(&text, T0);
        }

        #[test]
        fn no_duration_panics(number in any::<u64>(), unit in "[smhd]") {
            let _ = parse_since(&format!("{number}{unit}"), T0);
        }
    }
}
