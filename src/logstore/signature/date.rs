//! The two forms of a request's time.

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
    let seconds = unix_seconds.min(LAST_SECOND);
    let (year, month, day) = civil_from_days(seconds / DAY);
    let of_day = seconds % DAY;
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

/// Unix seconds of `YYYYMMDDTHHMMSSZ`.
pub(super) fn parse_basic_date(value: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(value).ok()?;
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<u64>().ok();
    let (year, month, day) = (number(0, 4)?, number(4, 6)?, number(6, 8)?);
    let (hour, minute, second) = (number(9, 11)?, number(11, 13)?, number(13, 15)?);
    if year < 1970 || !(1..=12).contains(&month) {
        return None;
    }
    let days = days_before(year, month) + day.checked_sub(1)?;
    let seconds = days * DAY + hour * 3600 + minute * 60 + second;
    // Writing it again finds what is not a date: the 31st of February, hour 24, a missing `T`.
    (basic_date(seconds) == text).then_some(seconds)
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
    fn both_forms_are_the_same_moment_on_every_day_of_eight_centuries() {
        for day in 0..(800 * 366) {
            let seconds = day * DAY + day % DAY;
            let basic = basic_date(seconds);
            assert_eq!(parse_basic_date(basic.as_bytes()), Some(seconds), "{basic}");
            let http = http_date(seconds);
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
    }

    #[test]
    fn a_time_after_the_year_9999_is_written_as_its_last_second() {
        assert_eq!(basic_date(u64::MAX), "99991231T235959Z");
        assert_eq!(http_date(u64::MAX), "Fri, 31 Dec 9999 23:59:59 GMT");
    }
}
