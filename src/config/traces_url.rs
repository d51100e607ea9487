//! URLs of collectors of traces: what may stand in them.
//!
//! Promise: what is read is `http` or `https`, names a host and a path, and holds no password. The check
//! of the configuration and whoever sends both end here.

use http::Uri;

use super::url::{HOLDS_USER, with_host};

/// A URL that spans may be sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TracesUrl(Uri);

impl TracesUrl {
    /// Reads a URL.
    ///
    /// # Errors
    /// What is wrong with it, as the end of a sentence about it. It never repeats the text, which
    /// may hold a password by mistake.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let uri = with_host(text).map_err(|fault| match fault {
            HOLDS_USER => {
                "must not hold a user or password; give them as a header, by `traces.headers`"
            }
            fault => fault,
        })?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err("must begin with `http://` or `https://`");
        }
        if uri.path() == "/" {
            return Err("names no path; that of a collector is mostly `/v1/traces`");
        }
        Ok(Self(uri))
    }

    /// The URL.
    #[must_use]
    pub fn uri(&self) -> &Uri {
        &self.0
    }

    /// Whether the connection is TLS.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.0.scheme_str() == Some("https")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_whole_and_holds_no_secret() {
        for good in [
            "http://127.0.0.1:4318/v1/traces",
            "https://collector.example.com/v1/traces",
            "http://[::1]:4318/otlp/v1/traces?tenant=a",
        ] {
            assert!(TracesUrl::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "/v1/traces",
            "collector:4318",
            "127.0.0.1:4318/v1/traces",
            "grpc://collector:4317/v1/traces",
            "http://collector:4318",
            "http://collector:4318/",
            "https://user:secret@collector/v1/traces",
            "http:///v1/traces",
            "http://collector/v1/traces#a",
            "http://coll ector/v1/traces",
        ] {
            let fault = TracesUrl::parse(bad).unwrap_err();
            assert!(!fault.contains("secret"), "{bad}: {fault}");
        }
    }
}
