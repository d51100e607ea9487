//! Where reading begins: `--from`.

use std::str::FromStr;
use std::time::UNIX_EPOCH;

use crate::foundation::units::Span;

/// Where reading begins. Times are those at which the store received events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Start {
    /// At the oldest event that is kept.
    Begin,
    /// After the newest.
    End,
    /// At a time, in Unix seconds.
    At(u32),
    /// So long ago.
    Back(Span),
}

/// The text is none of the forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "write `begin`, `end`, Unix seconds, a time such as `2026-06-15T08:00:00Z` (UTC), or a span back such as `15m`"
)]
pub(in crate::cli) struct StartError;

impl FromStr for Start {
    type Err = StartError;

    fn from_str(text: &str) -> Result<Self, StartError> {
        match text {
            "begin" => return Ok(Self::Begin),
            "end" => return Ok(Self::End),
            _ => {}
        }
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            return text.parse().map(Self::At).map_err(|_| StartError);
        }
        if let Ok(time) = humantime::parse_rfc3339_weak(text) {
            let since = time.duration_since(UNIX_EPOCH).map_err(|_| StartError)?;
            return u32::try_from(since.as_secs())
                .map(Self::At)
                .map_err(|_| StartError);
        }
        text.parse().map(Self::Back).map_err(|_| StartError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_start_is_read() {
        for (text, start) in [
            ("begin", Start::Begin),
            ("end", Start::End),
            ("1781510400", Start::At(1_781_510_400)),
            ("2026-06-15T08:00:00Z", Start::At(1_781_510_400)),
            ("2026-06-15 08:00:00", Start::At(1_781_510_400)),
            ("2026-06-15T08:00:00.999Z", Start::At(1_781_510_400)),
            ("15m", Start::Back(Span::secs(900))),
            ("1h 30m", Start::Back(Span::secs(5400))),
        ] {
            assert_eq!(text.parse(), Ok(start), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_of_the_store_is_refused() {
        for text in [
            "",
            "now",
            "-5m",
            "2026-06-15",
            "1960-01-01T00:00:00Z",
            "1781510400000",
            "15 parsecs",
        ] {
            assert_eq!(text.parse::<Start>(), Err(StartError), "{text}");
        }
    }
}
