//! The forms of a request's time.

use std::time::{Duration, UNIX_EPOCH};

/// The last second of the year 9999: no form can write a later one.
const LAST_SECOND: u64 = 253_402_300_799;
const DAY: u64 = 86_400;

/// Unix seconds as an HTTP date: `Mon, 15 Jun 2026 08:00:00 GMT`.
#[must_use]
pub fn http_date(unix_seconds: u64) -> String {
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(unix_seconds.min(LAST_SECOND)))
}

/// Unix seconds of an HTTP date; `None` for what is none, or lies before 1970.
#[must_use]
pub fn parse_http_date(value: &[u8]) -> Option<u64> {
    let time = httpdate::parse_http_date(std::str::from_utf8(value).ok()?).ok()?;
    Some(time.duration_since(UNIX_EPOCH).ok()?.as_secs())
}

/// Unix seconds as `YYYYMMDDTHHMMSSZ`.
pub(super) fn basic_date(unix_seconds: u64) -> String {
    let (year, month, day, hour, minute, second) = civil(unix_seconds);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

/// Unix seconds as `YYYY-MM-DDTHH:MM:SSZ` (ISO 8601, as the token service writes time).
#[must_use]
pub fn iso_date(unix_seconds: u64) -> String {
    let (year, month, day, hour, minute, second) = civil(unix_seconds);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Unix seconds of `YYYYMMDDTHHMMSSZ`.
pub(super) fn parse_basic_date(value: &[u8]) -> Option<u64> {
    parse(value, b"ddddddddTddddddZ")
}

/// Unix seconds of `YYYY-MM-DDTHH:MM:SSZ`; `None` for what is none, or lies before 1970.
#[must_use]
pub fn parse_iso_date(value: &[u8]) -> Option<u64> {
    parse(value, b"dddd-dd-ddTdd:dd:ddZ")
}

/// Reads the fourteen digits of a date, where `form` has a `d`; the rest must be as in `form`.
fn parse(value: &[u8], form: &[u8]) -> Option<u64> {
    if value.len() != form.len() {
        return None;
    }
    let mut digits = 0u64;
    for (byte, expected) in value.iter().zip(form) {
        match expected {
            b'd' if byte.is_ascii_digit() => digits = digits * 10 + u64::from(byte - b'0'),
            _ if byte == expected => {}
            _ => return None,
        }
    }
    let mut next = |range: u64| {
        let part = digits % range;
        digits /= range;
        part
    };
    let (second, minute, hour) = (next(100), next(100), next(100));
    let (day, month, year) = (next(100), next(100), next(10_000));
    let exists = year >= 1970
        && (1..=12).contains(&month)
        && (1..=days_in(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    exists.then(|| {
        let days = days_before(year, month) + day - 1;
        days * DAY + hour * 3600 + minute * 60 + second
    })
}

/// Year, month, day, hour, minute and second.
fn civil(unix_seconds: u64) -> (u64, u64, u64, u64, u64, u64) {
    let seconds = unix_seconds.min(LAST_SECOND);
    let (year, month, day) = civil_from_days(seconds / DAY);
    let of_day = seconds % DAY;
    (
        year,
        month,
        day,
        of_day / 3600,
        of_day / 60 % 60,
        of_day % 60,
    )
}

/// Days from 1970-01-01 to the first of a month.
fn days_before(year: u64, month: u64) -> u64 {
    let leap_days = |year: u64| year / 4 - year / 100 + year / 400;
    let of_years = (year - 1970) * 365 + leap_days(year - 1) - leap_days(1969);
    let of_months: u64 = (1..month).map(|month| days_in(year, month)).sum();
    of_years + of_months
}

fn days_in(year: u64, month: u64) -> u64 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn civil_from_days(days: u64) -> (u64, u64, u64) {
    // The mean Gregorian year is at most one year off; starting one later, the way is only back.
    let mut year = 1971 + days * 400 / 146_097;
    while days < days_before(year, 1) {
        year -= 1;
    }
    let mut rest = days - days_before(year, 1);
    let mut month = 1;
    while rest >= days_in(year, month) {
        rest -= days_in(year, month);
        month += 1;
    }
    (year, month, rest + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_forms_are_the_same_moment_on_every_day_of_eight_centuries() {
        for day in 0..(800 * 366) {
            let seconds = day * DAY + day % DAY;
            let basic = basic_date(seconds);
            assert_eq!(parse_basic_date(basic.as_bytes()), Some(seconds), "{basic}");
            let iso = iso_date(seconds);
            assert_eq!(parse_iso_date(iso.as_bytes()), Some(seconds), "{iso}");
            assert_eq!(iso.replace(['-', ':'], ""), basic);
            let http = http_date(seconds);
            assert_eq!(parse_http_date(http.as_bytes()), Some(seconds), "{http}");
            assert_eq!(
                (&basic[..4], &basic[6..8], &basic[9..11]),
                (&http[12..16], &http[5..7], &http[17..19])
            );
        }
    }

    #[test]
    fn the_date_of_the_test_vectors_reads_in_both_forms() {
        assert_eq!(basic_date(1_781_510_400), "20260615T080000Z");
        assert_eq!(http_date(1_781_510_400), "Mon, 15 Jun 2026 08:00:00 GMT");
        assert_eq!(
            parse_http_date(b"Mon, 15 Jun 2026 08:00:00 GMT"),
            Some(1_781_510_400)
        );
    }

    #[test]
    fn what_is_not_a_date_is_none() {
        for bad in [
            "",
            "20260615",
            "20260615T080000",
            "20260615T080000ZZ",
            "20260615 080000Z",
            "20260231T080000Z",
            "20260615T240000Z",
            "20260015T080000Z",
            "20260600T080000Z",
            "19691231T235959Z",
            "+0260615T080000Z",
            "2026é15T080000Z",
        ] {
            assert_eq!(parse_basic_date(bad.as_bytes()), None, "{bad}");
        }
        for bad in [
            "",
            "20260615T080000Z",
            "2026-06-15 08:00:00Z",
            "2026-06-15T08:00:60Z",
            "2026-06-15T08:60:00Z",
            "2026-02-29T08:00:00Z",
            "2026-06-15T08:00:00+",
        ] {
            assert_eq!(parse_iso_date(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn a_time_after_the_year_9999_is_written_as_its_last_second() {
        assert_eq!(basic_date(u64::MAX), "99991231T235959Z");
        assert_eq!(http_date(u64::MAX), "Fri, 31 Dec 9999 23:59:59 GMT");
    }
}
