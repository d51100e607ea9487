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

/// The headers that `is_signed` names, sorted by name.
pub(super) fn signed_headers(
    headers: &HeaderMap,
    is_signed: impl Fn(&str) -> bool,
) -> Result<Vec<(&str, &[u8])>, Repeated> {
    let mut signed = Vec::new();
    for name in headers.keys().filter(|name| is_signed(name.as_str())) {
        if let Some(value) = single(headers, name)? {
            signed.push((name.as_str(), value));
        }
    }
    signed.sort_unstable();
    Ok(signed)
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

/// The forms of a path that a client may have signed: as it stands on the wire, then decoded. Legal
/// names are the same in both. A decoded path that could be taken for a path with a query, or for
/// two lines, is none.
pub(super) fn path_forms(path: &str) -> Vec<Cow<'_, [u8]>> {
    let mut forms = vec![Cow::Borrowed(path.as_bytes())];
    let decoded: Cow<'_, [u8]> = percent_decode(path.as_bytes()).into();
    let ambiguous = |byte: &u8| *byte == b'?' || byte.is_ascii_control();
    if decoded != path.as_bytes() && !decoded.iter().any(ambiguous) {
        forms.push(decoded);
    }
    forms
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
        let forms = |path| path_forms(path).len();
        assert_eq!(forms("/logstores/a"), 1);
        assert_eq!(forms("/logstores/%61"), 2);
        assert_eq!(forms("/logstores/a%3Ftype=log"), 1);
        assert_eq!(forms("/logstores/a%0Ab"), 1);
    }
}
