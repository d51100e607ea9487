//! Takes out of a request what must not be kept of it.
//!
//! The rule is to leave out: of the headers only those stay that something here looks at and that carry
//! no secret; of a credential, what proves it is replaced. What is replaced keeps its length, so that a
//! LogGroup stays one.

use http::header::{AUTHORIZATION, COOKIE, REFERER};
use http::{HeaderMap, HeaderName};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use prost::Message as _;

use super::super::platform;
use crate::gate::transform::PersonalFinder;
use crate::logstore::proto::LogGroup;

/// Takes the place of what proves a credential.
const STAR: u8 = b'*';
/// The beginning of the first part of a token: `{"` in base64.
const TOKEN: &[u8] = b"eyJ";

/// Headers that stay as they are.
const KEPT: [&str; 11] = [
    "host",
    "origin",
    "user-agent",
    "content-type",
    "content-md5",
    "date",
    "dnt",
    "expect",
    "x-project",
    "x-tollgate-event-results",
    "x-requested-with",
];
/// Beginnings of the names of headers that stay as they are.
const KEPT_BEGINNINGS: [&str; 3] = ["x-log-", "x-sls-", "sec-"];
/// Headers that say how the body is packed, which is kept plain.
const PACKING: [&str; 2] = ["x-log-compresstype", "x-log-bodyrawsize"];

/// What is escaped again in a path or query.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/')
    .remove(b'@');

/// What is looked for in requests.
pub(super) struct Redactor<'a> {
    /// The query parameter that carries a token.
    pub(super) parameter: &'a str,
    /// Names of cookies that carry tokens.
    pub(super) cookies: [&'a str; 2],
    /// Whether personal data is hidden as well.
    pub(super) personal: bool,
}

impl Redactor<'_> {
    /// The headers that are kept.
    pub(super) fn headers(&self, headers: &HeaderMap) -> Vec<(String, String)> {
        let mut kept = Vec::new();
        for (name, value) in headers {
            let Ok(value) = value.to_str() else { continue };
            if let Some(value) = self.header(name, value) {
                kept.push((name.as_str().to_owned(), value));
            }
        }
        kept
    }

    fn header(&self, name: &HeaderName, value: &str) -> Option<String> {
        if *name == AUTHORIZATION {
            return Some(authorization(value));
        }
        if *name == COOKIE {
            return self.cookie(value);
        }
        if *name == REFERER {
            let referer = platform::without_secrets(value.as_bytes(), self.parameter);
            let referer = String::from_utf8_lossy(&referer);
            // The query is the page's own: nothing here looks at it.
            let page = referer.split(['?', '#']).next().unwrap_or_default();
            return Some(self.escaped(page).0);
        }
        let name = name.as_str();
        if name == "x-acs-security-token" {
            return Some("***".to_owned());
        }
        let known = KEPT.contains(&name) || KEPT_BEGINNINGS.iter().any(|it| name.starts_with(it));
        (known && !PACKING.contains(&name)).then(|| self.text(value).0)
    }

    /// Of cookies only those that carry tokens, without what proves these.
    fn cookie(&self, value: &str) -> Option<String> {
        let tokens = value.split(';').filter_map(|pair| {
            let (name, value) = pair.trim().split_once('=')?;
            let known = self.cookies.contains(&name);
            known.then(|| format!("{name}={}", token(value)))
        });
        let tokens: Vec<String> = tokens.collect();
        (!tokens.is_empty()).then(|| tokens.join("; "))
    }

    /// A path with its query, and whether personal data in it was hidden.
    pub(super) fn target(&self, target: &str) -> (String, bool) {
        let mut hidden = false;
        let mut shown = |text: &str| {
            let (text, any) = self.escaped(text);
            hidden |= any;
            text
        };
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        };
        let path = match path
            .strip_prefix("/t/")
            .and_then(|rest| rest.split_once('/'))
        {
            Some((in_path, rest)) => format!("/t/{}/{}", token(in_path), shown(rest)),
            None => shown(path),
        };
        let Some(query) = query else {
            return (path, hidden);
        };
        let pairs = query.split('&').map(|pair| match pair.split_once('=') {
            Some((name, value)) if name == self.parameter => format!("{name}={}", token(value)),
            _ => shown(pair),
        });
        let pairs: Vec<String> = pairs.collect();
        (format!("{path}?{}", pairs.join("&")), hidden)
    }

    /// The same as [`Redactor::text`], of a part of a path or query, in which any letter may be escaped.
    fn escaped(&self, text: &str) -> (String, bool) {
        if !text.contains(['%', '+']) {
            return self.text(text);
        }
        let mut hidden = false;
        // As events are read: up to the first, and with letters in place of what is no text.
        let pieces = text.splitn(2, '=').map(|piece| {
            let spaced = piece.replace('+', " ");
            let read = percent_decode_str(&spaced).decode_utf8_lossy();
            let mut plain = read.as_bytes().to_vec();
            hide_tokens(&mut plain);
            let mut plain = String::from_utf8_lossy(&plain).into_owned();
            let any = self.personal && PersonalFinder::default().hide_in_json(&mut plain);
            if any || plain != *read {
                hidden |= any;
                return utf8_percent_encode(&plain, ESCAPED).to_string();
            }
            let (piece, any) = self.text(piece);
            hidden |= any;
            piece
        });
        let pieces: Vec<String> = pieces.collect();
        (pieces.join("="), hidden)
    }

    /// A body, in place. `secret` is the token that was found in it. Whether personal data was hidden;
    /// `None` when what is secret of it cannot be hidden: then it is not to be kept.
    pub(super) fn body(&self, body: &mut Vec<u8>, secret: &[u8]) -> Option<bool> {
        hide_tokens(body);
        // Nothing proves a token but its last part; one without parts is nothing else.
        let proof = secret.rsplit(|b| *b == b'.').next().unwrap_or_default();
        if !proof.is_empty() && memchr::memmem::find(body, proof).is_some() {
            return None;
        }
        if !self.personal {
            return Some(false);
        }
        match std::str::from_utf8(body) {
            Ok(text) if text.is_empty() || is_json(text) => {
                let mut text = text.to_owned();
                let hidden = PersonalFinder::default().hide_in_json(&mut text);
                *body = text.into_bytes();
                Some(hidden)
            }
            _ => {
                // Texts of a LogGroup stand between lengths, which must stay as they are.
                let mut group = LogGroup::decode(body.as_slice()).ok()?;
                let hidden = hide_in_group(&mut group)?;
                if hidden {
                    *body = group.encode_to_vec();
                }
                Some(hidden)
            }
        }
    }

    /// Any text: without what proves a token, and without personal data; and whether there was such.
    fn text(&self, text: &str) -> (String, bool) {
        let mut bytes = text.as_bytes().to_vec();
        hide_tokens(&mut bytes);
        let mut text = String::from_utf8_lossy(&bytes).into_owned();
        let hidden = self.personal && PersonalFinder::default().hide(&mut text);
        (text, hidden)
    }
}

/// Whether a body is JSON. A LogGroup, too, may begin with a line feed and a bracket.
fn is_json(text: &str) -> bool {
    text.trim_start().starts_with(['{', '['])
        && !(text.starts_with('\n') && LogGroup::decode(text.as_bytes()).is_ok())
}

/// Hides personal data in all texts of a LogGroup. Whether there was any; `None`: one cannot be read.
fn hide_in_group(group: &mut LogGroup) -> Option<bool> {
    let mut finder = PersonalFinder::default();
    let mut hidden = false;
    let mut hide = |bytes: &mut bytes::Bytes| {
        let mut text = std::str::from_utf8(bytes).ok()?.to_owned();
        if finder.hide_in_json(&mut text) {
            *bytes = text.into_bytes().into();
            hidden = true;
        }
        Some(())
    };
    let LogGroup {
        logs,
        log_tags,
        topic,
        source,
        category,
        machine_uuid,
    } = group;
    for label in [topic, source, category, machine_uuid] {
        label.as_mut().map_or(Some(()), &mut hide)?;
    }
    for content in logs.iter_mut().flat_map(|log| &mut log.contents) {
        hide(&mut content.key)?;
        hide(&mut content.value)?;
    }
    for tag in log_tags {
        hide(&mut tag.key)?;
        hide(&mut tag.value)?;
    }
    Some(hidden)
}

/// An `Authorization` header without what proves it.
fn authorization(value: &str) -> String {
    let (scheme, rest) = value.split_once(' ').unwrap_or((value, ""));
    match scheme {
        _ if scheme.eq_ignore_ascii_case("bearer") => format!("{scheme} {}", token(rest)),
        "LOG" => match rest.split_once(':') {
            Some((id, _)) => format!("LOG {id}:*"),
            None => "LOG *".to_owned(),
        },
        _ => match value.split_once("Signature=") {
            Some((before, _)) if scheme.starts_with("SLS4-") => format!("{before}Signature=*"),
            // What has no scheme may be a secret from its first letter on.
            _ if rest.is_empty() || scheme.len() > 16 => "*".to_owned(),
            _ => format!("{scheme} *"),
        },
    }
}

/// A token without its last part, which proves it; one without parts is nothing but proof.
fn token(text: &str) -> String {
    match text.rsplit_once('.') {
        Some((said, proof)) if said.contains('.') => format!("{said}.{}", "*".repeat(proof.len())),
        _ => "*".repeat(text.len()),
    }
}

/// Puts stars in the place of the last part of everything that looks like a token.
fn hide_tokens(bytes: &mut [u8]) {
    let is_part = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'=');
    let mut from = 0;
    while let Some(found) = bytes
        .get(from..)
        .and_then(|rest| memchr::memmem::find(rest, TOKEN))
    {
        let start = from + found;
        let rest = bytes.get_mut(start..).unwrap_or_default();
        let mut dots = [0usize; 4];
        let mut count = 0;
        let mut end = rest.len();
        for (place, byte) in rest.iter().enumerate() {
            if *byte == b'.' && count < dots.len() {
                if let Some(dot) = dots.get_mut(count) {
                    *dot = place;
                }
                count += 1;
            } else if !is_part(byte) {
                end = place;
                break;
            }
        }
        if count >= 2 {
            let from_proof = dots.get(1).map_or(0, |dot| dot + 1);
            if let Some(proof) = rest.get_mut(from_proof..end) {
                proof.fill(STAR);
            }
        }
        from = start + end.max(TOKEN.len());
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::logstore::proto::{Log, LogTag, log::Content};

    const REDACTOR: Redactor<'_> = Redactor {
        parameter: "token",
        cookies: ["tollgate_token", "tollgate_session"],
        personal: true,
    };

    #[test]
    fn of_headers_only_those_stay_that_are_known_and_no_proof_does() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("host", "shop.localhost"),
            ("authorization", "Bearer eyJh.eyJp.SECRET"),
            ("cookie", "sid=SECRET; tollgate_token=eyJh.eyJp.SECRET"),
            (
                "referer",
                "https://a.example/p?token=SECRET&mail=a@b.example",
            ),
            ("x-acs-security-token", "SECRET"),
            ("x-api-key", "SECRET"),
            ("x-log-apiversion", "0.6.0"),
            ("x-log-compresstype", "lz4"),
            ("x-forwarded-for", "10.0.0.1"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        let kept = REDACTOR.headers(&headers);
        let of = |wanted: &str| {
            let found = kept.iter().find(|(name, _)| name == wanted);
            found.map(|(_, value)| value.as_str())
        };
        assert_eq!(of("authorization"), Some("Bearer eyJh.eyJp.******"));
        assert_eq!(of("cookie"), Some("tollgate_token=eyJh.eyJp.******"));
        assert_eq!(of("referer"), Some("https://a.example/p"));
        assert_eq!(of("x-acs-security-token"), Some("***"));
        assert_eq!(of("x-log-apiversion"), Some("0.6.0"));
        assert_eq!(kept.len(), 6, "{kept:?}");
        assert!(!format!("{kept:?}").contains("SECRET"));
    }

    #[test]
    fn signatures_of_every_scheme_are_hidden() {
        for (value, expected) in [
            ("LOG id:SECRET=", "LOG id:*"),
            ("LOG SECRET", "LOG *"),
            (
                "SLS4-HMAC-SHA256 Credential=id/20261122/cn/sls/aliyun_v4_request,Signature=SECRET",
                "SLS4-HMAC-SHA256 Credential=id/20261122/cn/sls/aliyun_v4_request,Signature=*",
            ),
            ("Basic SECRET", "Basic *"),
            ("bearer SECRET", "bearer ******"),
            ("SECRETSECRETSECRET", "*"),
            ("SECRET", "*"),
        ] {
            assert_eq!(authorization(value), expected);
        }
    }

    #[test]
    fn tokens_and_personal_data_in_paths_queries_and_bodies_are_hidden() {
        assert_eq!(
            REDACTOR.target("/t/eyJh.eyJp.SECRET/logstores/web/track?a=1&token=SECRET"),
            (
                "/t/eyJh.eyJp.******/logstores/web/track?a=1&token=******".to_owned(),
                false
            )
        );
        assert_eq!(
            REDACTOR.target("/logstores/web/track?a=1*1"),
            ("/logstores/web/track?a=1*1".to_owned(), false)
        );
        assert_eq!(
            REDACTOR.target("/logstores/web/track?u=a.user@shop.example&t=eyJh.eyJp.SECRET"),
            (
                "/logstores/web/track?u=x.xxxx@shop.example&t=eyJh.eyJp.******".to_owned(),
                true
            )
        );
        for (written, hidden) in [
            ("e=%2213800138000%22", "e=%2213800000000%22"),
            (
                "e=138+0013%208000&b=%E4%BD%A0",
                "e=138%200000%200000&b=%E4%BD%A0",
            ),
            (
                "e=%7B%22m%22%3A%22%5Cna.user%40shop.example%22%7D",
                "e=%7B%22m%22%3A%22%5Cnx.xxxx@shop.example%22%7D",
            ),
            // Of a page in another encoding, and with a second sign of equality.
            (
                "e=%B9%FA+a.user%40shop.example",
                "e=%EF%BF%BD%EF%BF%BD%20x.xxxx@shop.example",
            ),
            (
                "e=%7B%22u%22:%22a=b%22,%22m%22:%22a.user%5Cu0040shop.example%22%7D",
                "e=%7B%22u%22%3A%22a%3Db%22%2C%22m%22%3A%22x.xxxx@shop.example%22%7D",
            ),
        ] {
            assert_eq!(
                REDACTOR.target(&format!("/logstores/web/track?{written}")),
                (format!("/logstores/web/track?{hidden}"), true)
            );
        }
        let mut body =
            b"{\"t\":\"eyJh.eyJp.SEC-_ET\",\"phone\":\"138 1234 5678\",\"x\":\"eyJ\"}".to_vec();
        assert_eq!(REDACTOR.body(&mut body, b"eyJh.eyJp.SEC-_ET"), Some(true));
        assert_eq!(
            String::from_utf8(body).unwrap(),
            "{\"t\":\"eyJh.eyJp.*******\",\"phone\":\"138 0000 0000\",\"x\":\"eyJ\"}"
        );
        let mut number = b"{\"phone\":13812345678}".to_vec();
        assert_eq!(REDACTOR.body(&mut number, b""), Some(true));
        assert_eq!(number, b"{\"phone\":13800000000}", "it is a number still");
        let mut opaque = b"{\"t\":\"opaque-secret\"}".to_vec();
        assert_eq!(
            REDACTOR.body(&mut opaque, b"opaque-secret"),
            None,
            "it is not kept"
        );
        // A LogGroup stays one, whatever its lengths look like.
        let value = format!("a.user@shop.example{}", "-".repeat(30));
        let group = LogGroup {
            logs: vec![Log {
                time: 1,
                contents: vec![Content {
                    key: "mail".into(),
                    value: value.clone().into(),
                }],
                time_ns: None,
            }],
            ..LogGroup::default()
        };
        let mut binary = group.encode_to_vec();
        assert_eq!(REDACTOR.body(&mut binary, b""), Some(true));
        let read = LogGroup::decode(binary.as_slice()).unwrap();
        let hidden = value.replace("a.user", "x.xxxx");
        assert_eq!(&read.logs[0].contents[0].value[..], hidden.as_bytes());
        assert_eq!(REDACTOR.body(&mut b"\xff no group".to_vec(), b""), None);
    }

    #[test]
    fn personal_data_is_hidden_wherever_it_stands_and_however_it_is_written() {
        let mut body = br#"{"__logs__":[{"mail":"a.user\u0040shop.example","x":"\n"}]}"#.to_vec();
        assert_eq!(REDACTOR.body(&mut body, b""), Some(true));
        assert_eq!(
            String::from_utf8(body).unwrap(),
            r#"{"__logs__":[{"mail":"x.xxxx@shop.example","x":"\n"}]}"#
        );
        let mail = "a.user@shop.example";
        let content = Content {
            key: mail.into(),
            value: r#"{"m":"a.user\u0040shop.example"}"#.into(),
        };
        let group = LogGroup {
            logs: vec![Log {
                time: 1,
                contents: vec![content.clone()],
                time_ns: None,
            }],
            topic: Some(mail.into()),
            source: Some(mail.into()),
            log_tags: vec![LogTag {
                key: mail.into(),
                value: mail.into(),
            }],
            ..LogGroup::default()
        };
        // A Log of 123 bytes makes it begin as JSON may.
        let mut like_json = group.clone();
        // Two bytes of each tag and length, and the key.
        let left = 123 - group.logs[0].encoded_len() - 7;
        like_json.logs[0].contents.push(Content {
            key: "k".into(),
            value: "v".repeat(left).into(),
        });
        let mut binary = like_json.encode_to_vec();
        assert!(binary.starts_with(b"\n{"));
        assert_eq!(REDACTOR.body(&mut binary, b""), Some(true));
        assert!(LogGroup::decode(binary.as_slice()).is_ok());
        let mut binary = group.encode_to_vec();
        assert_eq!(REDACTOR.body(&mut binary, b""), Some(true));
        let text = String::from_utf8_lossy(&binary);
        assert!(!text.contains("a.user"), "{text}");
        assert_eq!(text.matches("x.xxxx@shop.example").count(), 6, "{text}");
        // What cannot be read cannot be hidden.
        let mut unreadable = LogGroup {
            topic: Some(bytes::Bytes::from_static(b"\xff")),
            ..group
        }
        .encode_to_vec();
        assert_eq!(REDACTOR.body(&mut unreadable, b""), None);
    }
}
