//! Days and months, counted in one offset from UTC.

/// Seconds of a day.
const DAY: u64 = 86_400;

/// A calendar day or month, by its number modulo 2^16 since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period(u16);

impl Period {
    /// The period with this number.
    #[must_use]
    pub fn numbered(number: u16) -> Self {
        Self(number)
    }

    /// Its number.
    #[must_use]
    pub fn number(self) -> u16 {
        self.0
    }

    /// The one after it.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }
}

/// Which periods a budget is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Calendar days.
    Day,
    /// Calendar months.
    Month,
}

/// Periods that begin at midnight of an offset from UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Calendar {
    unit: Unit,
    /// Seconds east of UTC, within a day.
    offset: i32,
}

impl Calendar {
    /// Days or months at an offset of so many seconds east of UTC.
    #[must_use]
    pub fn new(unit: Unit, offset: i32) -> Self {
        Self { unit, offset }
    }

    /// Whether days or months.
    #[must_use]
    pub fn unit(self) -> Unit {
        self.unit
    }

    /// Seconds east of UTC.
    #[must_use]
    pub fn offset(self) -> i32 {
        self.offset
    }

    /// The period of a moment.
    #[must_use]
    pub fn period(self, unix_seconds: u64) -> Period {
        let day = self.local(unix_seconds) / DAY;
        let number = match self.unit {
            Unit::Day => day,
            Unit::Month => {
                let (year, month, _) = civil(day);
                (year - 1970) * 12 + month - 1
            }
        };
        Period(u16::try_from(number % (1 << 16)).unwrap_or_default())
    }

    /// Seconds until the next period begins, at least 1.
    #[must_use]
    pub fn seconds_left(self, unix_seconds: u64) -> u64 {
        let local = self.local(unix_seconds);
        let day = local / DAY;
        let days = match self.unit {
            Unit::Day => 1,
            Unit::Month => {
                let (year, month, date) = civil(day);
                length(year, month) - date + 1
            }
        };
        (day + days) * DAY - local
    }

    /// Seconds of a period; for months, of 30 days.
    #[must_use]
    pub fn seconds(self) -> u64 {
        match self.unit {
            Unit::Day => DAY,
            Unit::Month => 30 * DAY,
        }
    }

    fn local(self, unix_seconds: u64) -> u64 {
        unix_seconds.saturating_add_signed(i64::from(self.offset))
    }
}

/// Days of a month, counted from 1.
fn length(year: u64, month: u64) -> u64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => {
            29
        }
        2 => 28,
        _ => 31,
    }
}

/// Year, month and date (from 1) of a day since 1970-01-01, in the Gregorian calendar. By eras of
/// 400 years, as in H. Hinnant, "chrono-Compatible Low-Level Date Algorithms".
fn civil(day: u64) -> (u64, u64, u64) {
    let day = day + 719_468;
    let era = day / 146_097;
    let of_era = day % 146_097;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march = (5 * of_year + 2) / 153;
    let date = of_year - (153 * march + 2) / 5 + 1;
    let month = if march < 10 { march + 3 } else { march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, date)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_months_begin_at_midnight_of_the_offset() {
        // 2026-11-22T15:59:59Z, one second before midnight in China.
        let before = 1_795_363_199;
        let china = Calendar::new(Unit::Day, 8 * 3600);
        assert_eq!(china.seconds_left(before), 1);
        assert_eq!(china.period(before).next(), china.period(before + 1));
        assert_eq!(china.seconds_left(before + 1), DAY);
        let utc = Calendar::new(Unit::Day, 0);
        assert_eq!(utc.period(before), utc.period(before + 1));
        let month = Calendar::new(Unit::Month, 0);
        let first = before - 21 * DAY;
        assert_eq!(month.period(before), month.period(first));
        assert_ne!(month.period(before), month.period(first - DAY));
    }

    #[test]
    fn every_day_of_four_centuries_follows_the_one_before() {
        let mut expected = (1970, 1, 1);
        for day in 0..146_097 {
            assert_eq!(civil(day), expected, "day {day}");
            let (year, month, date) = expected;
            expected = if date < length(year, month) {
                (year, month, date + 1)
            } else if month < 12 {
                (year, month + 1, 1)
            } else {
                (year + 1, 1, 1)
            };
        }
        let month = Calendar::new(Unit::Month, 0);
        // 2028-02-29T00:00:00Z: a leap day is the last of its month.
        assert_eq!(month.seconds_left(1_835_395_200), DAY);
    }

    #[test]
    fn a_clock_at_either_end_is_no_trouble() {
        for unit in [Unit::Day, Unit::Month] {
            let west = Calendar::new(unit, -12 * 3600);
            assert!(west.seconds_left(0) > 0);
            let far = 253_402_300_799;
            assert!(Calendar::new(unit, 0).seconds_left(far) > 0);
        }
    }
}
