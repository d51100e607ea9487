//! URLs of JWK sets: which may be fetched.
//!
//! Promise: a [`JwksUrl`] is `https`, or `http` to this machine itself, and holds no password. The
//! check of the configuration and whoever fetches both end here.

use std::net::{IpAddr, Ipv4Addr};

use http::Uri;

use super::url::with_host;

/// A URL that a JWK set may be fetched from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwksUrl(Uri);

impl JwksUrl {
    /// Reads a URL.
    ///
    /// # Errors
    /// What is wrong with it, as the end of a sentence about it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let uri = with_host(text)?;
        let host = uri.host().unwrap_or_default();
        match uri.scheme_str() {
            Some("https") => Ok(Self(uri)),
            Some("http") if loopback(host) => Ok(Self(uri)),
            Some("http") => Err(
                "must begin with `https://`: with `http://` anyone on the way could put in a key",
            ),
            _ => Err("must begin with `https://`"),
        }
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

    /// Whether the host is a name for this machine, which no resolver is asked about.
    #[must_use]
    pub fn is_localhost(&self) -> bool {
        self.0.host().is_some_and(localhost)
    }
}

fn localhost(host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    host == "localhost" || host.ends_with(".localhost")
}

fn loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    localhost(host)
        || address
            .parse::<IpAddr>()
            .is_ok_and(|ip| ip.is_loopback() && ip != IpAddr::V4(Ipv4Addr::UNSPECIFIED))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn https_anywhere_and_http_to_this_machine_only() {
        for good in [
            "https://login.example.com/.well-known/jwks.json",
            "https://10.0.0.1:8443/jwks?tenant=a",
            "http://127.0.0.1:9/jwks.json",
            "http://127.8.8.8/",
            "http://[::1]:9/jwks.json",
            "http://localhost:9",
            "http://Idp.Localhost/jwks",
        ] {
            assert!(JwksUrl::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "jwks.json",
            "/jwks.json",
            "login.example.com",
            "ftp://example.com/jwks.json",
            "file:///etc/passwd",
            "http://example.com/jwks.json",
            "http://10.0.0.1/jwks.json",
            "http://0.0.0.0/jwks.json",
            "http://169.254.169.254/latest",
            "http://notlocalhost/",
            "http://localhost.example.com/",
            "http://127.0.0.1.example.com/",
            "https://user@example.com/",
            "https://user:secret@example.com/",
            "https://",
            "https:///jwks.json",
            "https://example.com/#keys",
        ] {
            assert!(JwksUrl::parse(bad).is_err(), "{bad}");
        }
    }
}
