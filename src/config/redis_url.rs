//! URLs of stores of shared limits: what may stand in them.
//!
//! Promise: a [`RedisUrl`] holds no user and no password. The check of the configuration and whoever
//! connects both end here.

use std::fmt;

/// Where a store listens: `redis://HOST[:PORT][/DATABASE]`, or `rediss://` for TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisUrl {
    /// Whether it speaks TLS.
    pub tls: bool,
    /// Name or address, without the brackets of IPv6.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Number of the database.
    pub database: u16,
}

/// The port where none is given.
const PORT: u16 = 6379;

impl RedisUrl {
    /// Reads a URL.
    ///
    /// # Errors
    /// What is wrong with it, as the end of a sentence about it. It never repeats the text, which
    /// may hold a password by mistake.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (tls, rest) = match text.split_once("://") {
            Some(("redis", rest)) => (false, rest),
            Some(("rediss", rest)) => (true, rest),
            _ => return Err("must begin with `redis://` or `rediss://`"),
        };
        if rest.contains('@') {
            return Err(
                "must not hold a user or password; give them as `user` and `password`, the latter as `env:NAME` or `file:PATH`",
            );
        }
        if rest.contains(['?', '#']) {
            return Err("must end with the host, the port or the number of the database");
        }
        let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
        let database = match database {
            "" => 0,
            number => number
                .parse()
                .map_err(|_| "must have the number of a database after the `/`, or nothing")?,
        };
        let (host, port) = match authority.strip_prefix('[') {
            Some(six) => {
                let (host, after) = six.split_once(']').ok_or("lacks a `]`")?;
                (host, after.strip_prefix(':'))
            }
            None => match authority.rsplit_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            },
        };
        let port = match port {
            Some(port) => port.parse().map_err(|_| "has a port that is no number")?,
            None => PORT,
        };
        let sound = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':');
        if host.is_empty() || !host.bytes().all(sound) {
            return Err("names no host");
        }
        Ok(Self {
            tls,
            host: host.to_owned(),
            port,
            database,
        })
    }
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "rediss" } else { "redis" };
        match self.host.contains(':') {
            true => write!(f, "{scheme}://[{}]:{}", self.host, self.port)?,
            false => write!(f, "{scheme}://{}:{}", self.host, self.port)?,
        }
        match self.database {
            0 => Ok(()),
            number => write!(f, "/{number}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_and_written() {
        for (text, form) in [
            ("redis://cache", "redis://cache:6379"),
            ("redis://10.0.0.1:7000/3", "redis://10.0.0.1:7000/3"),
            ("rediss://[::1]:7000", "rediss://[::1]:7000"),
            ("redis://[2001:db8::1]", "redis://[2001:db8::1]:6379"),
        ] {
            assert_eq!(RedisUrl::parse(text).unwrap().to_string(), form);
        }
        for bad in [
            "",
            "cache:6379",
            "http://cache",
            "redis://",
            "redis://:6379",
            "redis://cache:x",
            "redis://cache/x",
            "redis://cache?x=1",
            "redis://a b",
            "redis://[::1",
        ] {
            assert!(RedisUrl::parse(bad).is_err(), "{bad}");
        }
        let error = RedisUrl::parse("redis://user:hunter2@cache").unwrap_err();
        assert!(!error.contains("hunter2"));
    }
}
