//! The parts of a request that both versions of the signature sign, in one form.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName};
use percent_encoding::percent_decode;

/// A header that is signed came more than once: which of the two was meant?
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Repeated(pub HeaderName);

/// The value of a header that may come once, without the white space around it.
pub(super) fn single<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'a [u8]>, Repeated> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(Repeated(name.clone()));
    }
    Ok(first.map(|value| value.as_bytes().trim_ascii()))
}

/// A header that is signed: its name, and its value without the white space around it.
pub(super) type SignedHeader<'a> = (&'a HeaderName, &'a [u8]);

/// The headers that `is_signed` names, sorted by name.
pub(super) fn signed_headers(
    headers: &HeaderMap,
    is_signed: impl Fn(&str) -> bool,
) -> Result<Vec<SignedHeader<'_>>, Repeated> {
    let mut signed = Vec::with_capacity(16);
    for (name, value) in headers {
        if is_signed(name.as_str()) {
            signed.push((name, value.as_bytes().trim_ascii()));
        }
    }
    signed.sort_unstable_by(|(a, _), (b, _)| a.as_str().cmp(b.as_str()));
    for pair in signed.windows(2) {
        if let [(name, _), (next, _)] = pair
            && name == next
        {
            return Err(Repeated((*name).clone()));
        }
    }
    Ok(signed)
}

/// Appends the headers as both versions write them: `name:value`, a line each.
pub(super) fn write_headers(out: &mut Vec<u8>, headers: &[SignedHeader<'_>]) {
    for (name, value) in headers {
        out.extend_from_slice(name.as_str().as_bytes());
        out.push(b':');
        out.extend_from_slice(value);
        out.push(b'\n');
    }
}

/// A content type without the charset that old browsers append to what their page has signed;
/// `None` when it has none.
pub(super) fn without_charset(content_type: &[u8]) -> Option<&[u8]> {
    let at = content_type.iter().rposition(|byte| *byte == b';')?;
    let (bare, parameter) = content_type.split_at(at);
    let parameter = parameter.get(1..)?.trim_ascii();
    parameter
        .eq_ignore_ascii_case(b"charset=utf-8")
        .then(|| bare.trim_ascii_end())
}

/// Whether a header belongs to SLS and is signed. User metadata (`x-log-meta-`) never is.
pub(super) fn is_store_header(name: &str) -> bool {
    (name.starts_with("x-log-") && !name.starts_with("x-log-meta-")) || name.starts_with("x-acs-")
}

/// A parameter of a query, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Param<'a> {
    pub key: Cow<'a, [u8]>,
    /// `None` for `key` without `=`.
    pub value: Option<Cow<'a, [u8]>>,
}

/// The parameters of a query as it stands on the wire, sorted by key. `+` is a space: that is how
/// the Python and Go clients write one, and none of them leaves a plus sign as it is.
pub(super) fn parse_query(query: &str) -> Vec<Param<'_>> {
    let params = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| match pair.split_once('=') {
            Some((key, value)) => Param {
                key: form_decode(key),
                value: Some(form_decode(value)),
            },
            None => Param {
                key: form_decode(pair),
                value: None,
            },
        });
    sorted(params.collect())
}

/// The same from parameters that were never encoded.
pub(super) fn plain_query<'a>(query: &[(&'a str, &'a str)]) -> Vec<Param<'a>> {
    let params = query.iter().map(|(key, value)| Param {
        key: Cow::Borrowed(key.as_bytes()),
        value: Some(Cow::Borrowed(value.as_bytes())),
    });
    sorted(params.collect())
}

fn sorted(mut params: Vec<Param<'_>>) -> Vec<Param<'_>> {
    params.sort_by(|a, b| a.key.cmp(&b.key));
    params
}

fn form_decode(text: &str) -> Cow<'_, [u8]> {
    if text.contains('+') {
        let spaced = text.replace('+', " ");
        Cow::Owned(percent_decode(spaced.as_bytes()).collect())
    } else {
        percent_decode(text.as_bytes()).into()
    }
}

/// The decoded form of a path, which a client may have signed instead of the one on the wire;
/// `None` when they are the same. A decoded path that could be taken for a path with a query, or for
/// two lines, is none.
pub(super) fn decoded_path(path: &str) -> Option<Vec<u8>> {
    if !path.contains('%') {
        return None;
    }
    let decoded: Vec<u8> = percent_decode(path.as_bytes()).collect();
    let ambiguous = |byte: &u8| *byte == b'?' || byte.is_ascii_control();
    (decoded != path.as_bytes() && !decoded.iter().any(ambiguous)).then_some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(query: &str) -> Vec<(String, Option<String>)> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        parse_query(query)
            .iter()
            .map(|param| (text(&param.key), param.value.as_deref().map(text)))
            .collect()
    }

    #[test]
    fn a_query_is_decoded_as_forms_are_and_sorted_by_key() {
        let some = |key: &str, value: &str| (key.to_owned(), Some(value.to_owned()));
        assert_eq!(
            pairs("b=1+2&&a=%C3%A9&c=1%2B2&"),
            [some("a", "é"), some("b", "1 2"), some("c", "1+2")]
        );
        assert_eq!(pairs("k="), [some("k", "")]);
        assert_eq!(pairs("k"), [("k".to_owned(), None)]);
        assert_eq!(pairs(""), []);
    }

    #[test]
    fn a_decoded_path_that_could_be_misread_is_no_form() {
        assert_eq!(decoded_path("/logstores/a"), None);
        assert_eq!(
            decoded_path("/logstores/%61").as_deref(),
            Some(&b"/logstores/a"[..])
        );
        assert_eq!(decoded_path("/logstores/a%3Ftype=log"), None);
        assert_eq!(decoded_path("/logstores/a%0Ab"), None);
        assert_eq!(decoded_path("/100%"), None);
    }

    #[test]
    fn only_a_charset_at_the_end_is_left_out() {
        let bare = Some(&b"application/json"[..]);
        assert_eq!(without_charset(b"application/json;charset=UTF-8"), bare);
        assert_eq!(without_charset(b"application/json ; Charset=utf-8"), bare);
        for other in [
            "",
            "application/json",
            "a/b;charset=gbk",
            "a/b;charset=utf-8;x=y",
        ] {
            assert_eq!(without_charset(other.as_bytes()), None, "{other}");
        }
    }
}
