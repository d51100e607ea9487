//! Times as people write and read them.

use std::time::{Duration, UNIX_EPOCH};

use crate::foundation::clock;

/// The last second that RFC 3339 can write.
const LAST: u64 = 253_402_300_799;

/// Reads a time: `now`, `2026-11-22T08:00:00Z`, `2026-11-22` or unix seconds.
pub(super) fn parse(text: &str) -> Result<u64, String> {
    if text == "now" {
        return Ok(clock::unix_seconds());
    }
    if let Ok(seconds) = text.parse() {
        return Ok(seconds);
    }
    let day = format!("{text}T00:00:00Z");
    let time = humantime::parse_rfc3339_weak(text).or_else(|_| humantime::parse_rfc3339(&day));
    let since = time
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since.map(|since| since.as_secs()).ok_or_else(|| {
        format!("`{text}` is not a time; write `now`, `2026-11-22T08:00:00Z`, `2026-11-22` or unix seconds")
    })
}

/// Writes unix seconds as a time in UTC.
pub(super) fn format(seconds: u64) -> String {
    let time = UNIX_EPOCH + Duration::from_secs(seconds.min(LAST));
    humantime::format_rfc3339_seconds(time).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_each_form_and_written_in_one() {
        for text in ["1795334400", "2026-11-22T08:00:00Z", "2026-11-22 08:00:00"] {
            assert_eq!(parse(text), Ok(1_795_334_400), "{text}");
        }
        assert_eq!(format(parse("2026-11-22").unwrap()), "2026-11-22T00:00:00Z");
        assert!(parse("now").unwrap() > 1_700_000_000);
        assert_eq!(format(u64::MAX), "9999-12-31T23:59:59Z");
        for bad in ["", "soon", "-1", "1900-01-01", "2026-13-01"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
