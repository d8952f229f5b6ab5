//! Times and spans of time in words. Times of day carry their offset from UTC, so that two readers cannot disagree.

use jiff::Timestamp;

use super::{Page, clean};

/// `time` (RFC 3339) as a date, a time of day with its offset, and how long ago it was.
pub(crate) fn since(time: &str, page: &Page) -> String {
    let Ok(at) = time.parse::<Timestamp>() else {
        return clean(time, 40);
    };
    let seconds = page.now.as_second() - at.as_second();
    match u64::try_from(seconds) {
        Ok(ago) => format!("{} ({} ago)", absolute(at, page), span(ago)),
        Err(_) => absolute(at, page),
    }
}

/// How long ago `time` (RFC 3339) was; `0 s` if it is in the future, for then two clocks differ by a little.
pub(crate) fn ago(time: &str, now: Timestamp) -> String {
    match time.parse::<Timestamp>() {
        Ok(at) => span(u64::try_from(now.as_second() - at.as_second()).unwrap_or(0)),
        Err(_) => clean(time, 20),
    }
}

/// The time from `since` to `until`, each with date and time of day.
pub(crate) fn period(since: &str, until: &str, page: &Page) -> String {
    match (since.parse::<Timestamp>(), until.parse::<Timestamp>()) {
        (Ok(from), Ok(to)) => format!(
            "{} to {} ({})",
            absolute(from, page),
            absolute(to, page),
            span(u64::try_from(to.as_second() - from.as_second()).unwrap_or(0)),
        ),
        _ => format!("{} to {}", clean(since, 40), clean(until, 40)),
    }
}

fn absolute(at: Timestamp, page: &Page) -> String {
    at.to_zoned(page.zone.clone())
        .strftime("%Y-%m-%d %H:%M:%S %:z")
        .to_string()
}

/// A span of time in its two largest units.
pub(crate) fn span(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

/// Microseconds in the unit in which a person thinks of them.
pub(crate) fn took(microseconds: u64) -> String {
    match microseconds {
        0..1_000 => format!("{microseconds} µs"),
        1_000..1_000_000 => {
            let tenths = microseconds / 100;
            format!("{}.{} ms", tenths / 10, tenths % 10)
        }
        _ => {
            let tenths = microseconds / 100_000;
            format!("{}.{} s", tenths / 10, tenths % 10)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::page;
    use super::*;

    #[test]
    fn spans_have_their_two_largest_units() {
        assert_eq!(span(0), "0 s");
        assert_eq!(span(247), "4 min 7 s");
        assert_eq!(span(3 * 3600 + 125), "3 h 2 min");
        assert_eq!(span(200_000), "2 d 7 h");
    }

    #[test]
    fn times_of_day_carry_their_offset() {
        let page = page(Some(80));
        assert_eq!(
            since("2026-11-22T08:00:00Z", &page),
            "2026-11-22 09:00:00 +01:00 (4 min 7 s ago)"
        );
        assert_eq!(
            since("2026-11-22T09:00:00Z", &page),
            "2026-11-22 10:00:00 +01:00"
        );
        assert_eq!(since("\u{1b}[0m", &page), "\u{FFFD}[0m");
    }

    #[test]
    fn how_long_it_took_is_in_a_fitting_unit() {
        assert_eq!(took(999), "999 µs");
        assert_eq!(took(3_249), "3.2 ms");
        assert_eq!(took(1_250_000), "1.2 s");
    }
}
