//! What holds for every URL that is asked or sent to over HTTP.

use http::Uri;

/// Why a URL with a user or password is none: it would stand in logs and listings.
pub(super) const HOLDS_USER: &str = "must not hold a user or password";

/// Reads a URL that names a host, and has no fragment, user or password.
///
/// # Errors
/// What is wrong with it, as the end of a sentence about it. It never repeats the text, which may hold a
/// password by mistake.
pub(super) fn with_host(text: &str) -> Result<Uri, &'static str> {
    if text.contains('#') {
        return Err("must not have a fragment");
    }
    let uri: Uri = text.parse().map_err(|_| "is not a URL")?;
    let Some(authority) = uri.authority() else {
        return Err("names no host");
    };
    if authority.as_str().contains('@') {
        return Err(HOLDS_USER);
    }
    if authority.host().is_empty() {
        return Err("names no host");
    }
    Ok(uri)
}
