//! Signed requests. An input is text in the form of HTTP: a line with the method and the target,
//! headers, an empty line, the body.

use http::header::{AUTHORIZATION, CONTENT_TYPE, DATE, HOST};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use tollgate::config::SignatureVersion;
use tollgate::foundation::secret::Secret;
use tollgate::logstore::header;
use tollgate::logstore::signature::{
    AccessKey, Authorization, RequestParts, Signer, TIME_WINDOW, Unsigned, VerifyError,
    parse_authorization, verify,
};

/// Mon, 15 Jun 2026 08:00:00 GMT.
const NOW: u64 = 1_781_510_400;
const REGION: &str = "cn-hangzhou";
const SECRET: &str = "the secret that no input can know";
/// The id that seeds speak of.
const ID: &str = "LTAI4TollgateTestKeyId";
/// Longest id of a key, in bytes.
const MAX_KEY_ID: usize = 128;

fn key(secret: &str, token: Option<&str>) -> AccessKey {
    AccessKey {
        id: ID.to_owned(),
        secret: Secret::new(secret),
        security_token: token.map(Secret::new),
    }
}

/// A request as it stands on the wire.
#[derive(Clone, Debug)]
struct Request {
    method: String,
    path: String,
    query: String,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Request {
    /// Reads what can be read; a header that HTTP would not let pass is left out.
    fn read(data: &[u8]) -> Self {
        let mut rest = data;
        let mut line = || {
            let end = rest.iter().position(|byte| *byte == b'\n');
            let (line, after) = rest.split_at(end.unwrap_or(rest.len()));
            rest = after.get(1..).unwrap_or_default();
            line.trim_ascii()
        };
        let first = String::from_utf8_lossy(line()).into_owned();
        let (method, target) = first.split_once(' ').unwrap_or(("", &first));
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut headers = HeaderMap::new();
        loop {
            let line = line();
            if line.is_empty() {
                break;
            }
            let colon = line.iter().position(|byte| *byte == b':');
            let (name, value) = line.split_at(colon.unwrap_or(line.len()));
            let value = value.get(1..).unwrap_or_default().trim_ascii();
            let name = HeaderName::from_bytes(name);
            if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value)) {
                headers.append(name, value);
            }
        }
        Self {
            method: method.to_owned(),
            path: path.to_owned(),
            query: query.to_owned(),
            headers,
            body: rest.to_vec(),
        }
    }

    fn check(&self, key: &AccessKey, now: u64) -> Result<SignatureVersion, VerifyError> {
        let parts = RequestParts {
            method: &self.method,
            path: &self.path,
            query: &self.query,
            headers: &self.headers,
        };
        let lookup = |id: &str| {
            assert!(id.len() <= MAX_KEY_ID && id.bytes().all(|byte| byte.is_ascii_graphic()));
            (id == key.id).then_some(key)
        };
        let verified = verify(&parts, &self.body, lookup, now, TIME_WINDOW)?;
        assert_eq!(verified.key_id, key.id);
        Ok(verified.version)
    }

    fn assert_refused(&self, key: &AccessKey) {
        let error = self.check(key, NOW).expect_err("nobody signed this");
        let (status, _, message) = error.answer();
        assert!(status.is_client_error());
        assert!(message.len() < 40_000, "{} bytes", message.len());
    }
}

/// Panics unless only what the holder of the key signed is accepted. Says whether the request names
/// a key and a signature.
pub fn signature(data: &[u8]) -> bool {
    read_authorization(data);
    let request = Request::read(data);
    for token in [None, Some("the token that goes with the key")] {
        let key = key(SECRET, token);
        request.assert_refused(&key);
        for version in [SignatureVersion::V1, SignatureVersion::V4] {
            signed_by_us(&request, version, &key, data.len());
        }
    }
    let authorization = request.headers.get(AUTHORIZATION);
    authorization.is_some_and(|value| read_authorization(value.as_bytes()))
}

fn read_authorization(value: &[u8]) -> bool {
    let Ok(authorization) = parse_authorization(value) else {
        return false;
    };
    let written = match authorization {
        Authorization::V1 { key_id, signature } => format!("LOG {key_id}:{signature}"),
        Authorization::V4 {
            key_id,
            day,
            region,
            signature,
        } => format!(
            "SLS4-HMAC-SHA256 Credential={key_id}/{day}/{region}/sls/aliyun_v4_request,Signature={signature}"
        ),
    };
    assert_eq!(parse_authorization(written.as_bytes()), Ok(authorization));
    true
}

/// Signs the request and breaks one byte of every signed part of it; `spot` says which.
fn signed_by_us(request: &Request, version: SignatureVersion, key: &AccessKey, spot: usize) {
    let Some(signed) = sign(request, version, key) else {
        return;
    };
    assert_eq!(signed.check(key, NOW), Ok(version), "{signed:?}");
    let too_far = TIME_WINDOW.as_secs() + 1;
    for now in [NOW - too_far, NOW + too_far] {
        let late = signed.check(key, now);
        assert!(matches!(late, Err(VerifyError::Expired { .. })), "{late:?}");
    }
    let other = self::key("the secret of someone else", None);
    signed.assert_refused(&other);
    for broken in broken(&signed, version, spot) {
        broken.assert_refused(key);
    }
}

/// The request with the headers that its client would set, signed; `None` when one that is signed
/// is there twice.
fn sign(request: &Request, version: SignatureVersion, key: &AccessKey) -> Option<Request> {
    let mut signed = request.clone();
    signed.method = Method::from_bytes(request.method.as_bytes())
        .unwrap_or_default()
        .to_string();
    let set_by_signer = [
        AUTHORIZATION,
        DATE,
        header::DATE,
        header::SIGNATURE_METHOD,
        header::CONTENT_MD5,
        header::CONTENT_SHA256,
        header::SECURITY_TOKEN,
    ];
    for name in set_by_signer {
        signed.headers.remove(name);
    }
    let query: Vec<_> = form_urlencoded::parse(request.query.as_bytes()).collect();
    signed.query = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(&query)
        .finish();
    let plain: Vec<(&str, &str)> = query
        .iter()
        .map(|(key, value)| (&**key, &**value))
        .collect();
    let unsigned = Unsigned {
        method: &Method::from_bytes(signed.method.as_bytes()).unwrap(),
        path: &signed.path,
        query: &plain,
        body: &signed.body,
    };
    let signer = Signer {
        version,
        key,
        region: REGION,
    };
    signer.sign(&unsigned, &mut signed.headers, NOW).ok()?;
    Some(signed)
}

fn broken(signed: &Request, version: SignatureVersion, spot: usize) -> Vec<Request> {
    let mut out = Vec::new();
    let mut change = |change: &dyn Fn(&mut Request)| {
        let mut request = signed.clone();
        change(&mut request);
        out.push(request);
    };
    change(&|request| request.method.push('X'));
    change(&|request| request.path.push('x'));
    change(&|request| request.query.push_str("&x=1"));
    // The digest of no body leaves a body unsigned in v4, so there an empty one may grow.
    if version == SignatureVersion::V1 || !signed.body.is_empty() {
        change(&|request| request.body.push(b'x'));
    }
    if !signed.body.is_empty() {
        change(&|request| {
            let at = spot % request.body.len();
            request.body[at] ^= 1;
        });
    }
    let is_signed = |name: &HeaderName| {
        let ours = name.as_str().starts_with("x-log-") || name.as_str().starts_with("x-acs-");
        let of_v1 = [DATE, header::CONTENT_MD5].contains(name);
        let metadata = name.as_str().starts_with("x-log-meta-");
        (ours && !metadata)
            || [AUTHORIZATION, CONTENT_TYPE].contains(name)
            || match version {
                SignatureVersion::V1 => of_v1,
                SignatureVersion::V4 => *name == HOST,
            }
    };
    for name in signed.headers.keys().filter(|name| is_signed(name)) {
        change(&|request| {
            let value = request.headers.get_mut(name).expect("it is there");
            let mut bytes = value.as_bytes().to_vec();
            match bytes.len() {
                0 => bytes.push(b'A'),
                length => {
                    let byte = &mut bytes[spot % length];
                    *byte = if *byte == b'A' { b'B' } else { b'A' };
                }
            }
            *value = HeaderValue::from_bytes(&bytes).expect("letters may stand in a header");
        });
    }
    out
}
