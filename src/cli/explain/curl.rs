//! A request by the options of curl.

use http::Uri;

use super::Written;

/// The request that curl would send.
///
/// # Errors
/// What is wrong with the URL or a header.
pub(super) fn request(
    url: &str,
    method: Option<&str>,
    headers: &[String],
    data: Option<Vec<u8>>,
) -> Result<Written, String> {
    let uri: Uri = url
        .parse()
        .map_err(|error| format!("`{url}` is no URL: {error}"))?;
    let authority = uri
        .authority()
        .ok_or_else(|| format!("`{url}` names no host"))?;
    let host = authority.as_str().rsplit('@').next().unwrap_or_default();
    let target = uri.path_and_query().map_or("/", |it| it.as_str());
    let mut all: Vec<(String, String)> = Vec::new();
    for header in headers {
        let (name, value) = header
            .split_once(':')
            .ok_or_else(|| format!("`{header}`: a header is written as `Name: value`"))?;
        all.push((name.trim().to_owned(), value.trim().to_owned()));
    }
    let has = |all: &[(String, String)], wanted: &str| {
        all.iter()
            .any(|(name, _)| name.eq_ignore_ascii_case(wanted))
    };
    if !has(&all, "host") {
        all.push(("host".to_owned(), host.to_owned()));
    }
    if data.is_some() && !has(&all, "content-type") {
        let form = "application/x-www-form-urlencoded".to_owned();
        all.push(("content-type".to_owned(), form));
    }
    let method = method.unwrap_or(if data.is_some() { "POST" } else { "GET" });
    Ok(Written {
        method: method.to_owned(),
        target: target.to_owned(),
        headers: all,
        body: data.unwrap_or_default(),
        secure: uri.scheme_str() == Some("https"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_that_of_curl() {
        let headers = ["Origin: https://a.example".to_owned()];
        let data = Some(b"{}".to_vec());
        let written = request(
            "https://shop.example:8443/logstores/web/track?a=1",
            None,
            &headers,
            data,
        );
        let written = written.unwrap();
        assert_eq!(written.method, "POST");
        assert_eq!(written.target, "/logstores/web/track?a=1");
        assert!(written.secure);
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert!(written.headers.contains(&pair("host", "shop.example:8443")));
        assert!(
            written
                .headers
                .contains(&pair("Origin", "https://a.example"))
        );
        let get = request("http://a", None, &[], None).unwrap();
        assert_eq!((get.method.as_str(), get.target.as_str()), ("GET", "/"));
        assert!(request("http://", None, &[], None).is_err());
        assert!(request("http://a", None, &["x".to_owned()], None).is_err());
    }
}
