//! JSON Web Tokens, HS256: made and verified.
//!
//! The key decides the algorithm, never the token. `exp`, `iss` and `aud` must be there and right,
//! `nbf` is honoured, and a token that would live longer than `max_lifetime` is refused. The claims
//! `project` and `logstore` say where its bearer may write; without them it may write nowhere.

use jsonwebtoken::errors::{Error as JwtError, ErrorKind};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

use super::{Principal, SigningKey};
use crate::config::TokenPlace;
use crate::event::{Reason, Refusal};
use crate::foundation::clock;

/// Tokens longer than this are refused unread.
const MAX_TOKEN: usize = 8192;

/// One name or several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
enum Names {
    One(String),
    Many(Vec<String>),
}

impl Names {
    fn contains(&self, name: &str) -> bool {
        match self {
            Self::One(one) => one == name,
            Self::Many(many) => many.iter().any(|one| one == name),
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: Names,
    exp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    iat: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    project: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logstore: Option<Names>,
}

struct Verifier {
    kid: String,
    key: DecodingKey,
    validation: Validation,
    max_lifetime: u64,
}

/// Verifies tokens against the configured keys.
pub struct Authenticator {
    verifiers: Vec<Verifier>,
}

impl std::fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kids: Vec<_> = self.verifiers.iter().map(|v| &v.kid).collect();
        f.debug_struct("Authenticator")
            .field("kids", &kids)
            .finish_non_exhaustive()
    }
}

impl Authenticator {
    /// An authenticator that knows `keys`.
    #[must_use]
    pub fn new(keys: &[SigningKey]) -> Self {
        use_crypto_provider();
        let verifiers = keys
            .iter()
            .map(|key| {
                let mut validation = Validation::new(Algorithm::HS256);
                validation.set_required_spec_claims(&["exp", "iss", "aud"]);
                validation.set_issuer(&[&key.rules.issuer]);
                validation.set_audience(&[&key.rules.audience]);
                validation.validate_nbf = true;
                validation.leeway = key.rules.leeway.as_secs();
                Verifier {
                    kid: key.rules.kid.clone(),
                    key: DecodingKey::from_secret(key.secret.expose()),
                    validation,
                    max_lifetime: key.rules.max_lifetime.as_secs(),
                }
            })
            .collect();
        Self { verifiers }
    }

    /// Says who may write to `project` and `logstore` with `token`.
    ///
    /// # Errors
    /// A refusal with one of the `Token…` reasons. It never repeats the token.
    pub fn verify(
        &self,
        token: &[u8],
        place: TokenPlace,
        project: &str,
        logstore: &str,
    ) -> Result<Principal, Refusal> {
        if token.len() > MAX_TOKEN {
            return Err(Refusal::new(
                Reason::TokenMalformed,
                "it is longer than 8 KiB",
            ));
        }
        let verifier = self.verifier(token)?;
        let data = jsonwebtoken::decode::<Claims>(token, &verifier.key, &verifier.validation)
            .map_err(|error| refusal(&error))?;
        if data.header.kid.is_some_and(|kid| kid != verifier.kid) {
            return Err(Reason::TokenUnknownKey.into());
        }
        if data.header.crit.is_some() {
            return Err(Refusal::new(Reason::TokenMalformed, "its header has crit"));
        }
        let claims = data.claims;
        let lifetime = claims.exp.saturating_sub(clock::unix_seconds());
        if lifetime > verifier.max_lifetime {
            return Err(Refusal::new(
                Reason::TokenClaims,
                "exp is later than max_lifetime allows",
            ));
        }
        let scope = claims.project.as_deref() == Some(project)
            && claims
                .logstore
                .is_some_and(|names| names.contains(logstore));
        if !scope {
            return Err(Reason::TokenScope.into());
        }
        Ok(Principal::of_token(place))
    }

    /// The one key that may verify this token. With a single key, the header is read only once,
    /// by the verification itself.
    fn verifier(&self, token: &[u8]) -> Result<&Verifier, Refusal> {
        if let [only] = self.verifiers.as_slice() {
            return Ok(only);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|error| refusal(&error))?;
        let Some(kid) = header.kid else {
            return Err(Refusal::new(
                Reason::TokenUnknownKey,
                "its header has no kid",
            ));
        };
        self.verifiers
            .iter()
            .find(|v| v.kid == kid)
            .ok_or(Reason::TokenUnknownKey.into())
    }
}

/// Makes a token for one project and logstore that is valid for `ttl_seconds` from now.
///
/// # Errors
/// When the token cannot be encoded.
pub fn mint(
    key: &SigningKey,
    project: &str,
    logstore: &str,
    ttl_seconds: u64,
    subject: Option<&str>,
) -> Result<String, JwtError> {
    use_crypto_provider();
    let now = clock::unix_seconds();
    let claims = Claims {
        iss: key.rules.issuer.clone(),
        aud: Names::One(key.rules.audience.clone()),
        exp: now.saturating_add(ttl_seconds),
        iat: Some(now),
        sub: subject.map(str::to_owned),
        project: Some(project.to_owned()),
        logstore: Some(Names::One(logstore.to_owned())),
    };
    let mut header = Header::new(Algorithm::HS256);
    header.kid = Some(key.rules.kid.clone());
    jsonwebtoken::encode(
        &header,
        &claims,
        &EncodingKey::from_secret(key.secret.expose()),
    )
}

/// Without an installed provider the crate panics at the first token when it cannot choose one.
fn use_crypto_provider() {
    if jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER
        .install_default()
        .is_err()
    {
        tracing::trace!("the crypto provider of tokens is installed already");
    }
}

fn refusal(error: &JwtError) -> Refusal {
    let reason = match error.kind() {
        ErrorKind::InvalidSignature => Reason::TokenSignature,
        ErrorKind::ExpiredSignature => Reason::TokenExpired,
        ErrorKind::ImmatureSignature => Reason::TokenNotYetValid,
        ErrorKind::InvalidIssuer => return Refusal::new(Reason::TokenClaims, "iss"),
        ErrorKind::InvalidAudience => return Refusal::new(Reason::TokenClaims, "aud"),
        ErrorKind::MissingRequiredClaim(_) => {
            return Refusal::new(Reason::TokenClaims, "exp, iss and aud must be there");
        }
        ErrorKind::InvalidClaimFormat(_) => {
            return Refusal::new(Reason::TokenClaims, "exp and nbf are whole seconds");
        }
        ErrorKind::InvalidAlgorithm => Reason::TokenUnknownKey,
        // The rest, which the crate may extend: the token is not one that can be read.
        _ => Reason::TokenMalformed,
    };
    reason.into()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::config::JwtKey;
    use crate::foundation::secret::Secret;
    use crate::foundation::units::Span;
    use crate::telemetry::TokenSource;

    fn key(kid: &str, secret: &str) -> SigningKey {
        let rules = JwtKey {
            kid: kid.to_owned(),
            secret: None,
            issuer: "tollgate".to_owned(),
            audience: "edge".to_owned(),
            leeway: Span::secs(0),
            max_lifetime: Span::secs(3600),
        };
        SigningKey {
            rules,
            secret: Secret::new(secret),
        }
    }

    fn good_claims() -> Value {
        let exp = clock::unix_seconds() + 600;
        json!({"iss": "tollgate", "aud": "edge", "exp": exp, "project": "shop", "logstore": "web"})
    }

    fn encode(header: &Header, claims: &Value, secret: &str) -> String {
        use_crypto_provider();
        jsonwebtoken::encode(header, claims, &EncodingKey::from_secret(secret.as_bytes())).unwrap()
    }

    fn verdict(token: &str) -> Result<(), Reason> {
        let authenticator = Authenticator::new(&[key("k1", "secret-one")]);
        authenticator
            .verify(token.as_bytes(), TokenPlace::Path, "shop", "web")
            .map(|_| ())
            .map_err(|refusal| refusal.reason())
    }

    fn verdict_of(change: impl FnOnce(&mut Value)) -> Result<(), Reason> {
        let mut claims = good_claims();
        change(&mut claims);
        verdict(&encode(
            &Header::new(Algorithm::HS256),
            &claims,
            "secret-one",
        ))
    }

    #[test]
    fn a_minted_token_is_good_for_its_logstore_only() {
        let key = key("k1", "secret-one");
        let token = mint(&key, "shop", "web", 60, Some("alice")).unwrap();
        let authenticator = Authenticator::new(std::slice::from_ref(&key));
        let verify = |project, logstore| {
            authenticator.verify(token.as_bytes(), TokenPlace::Path, project, logstore)
        };
        assert_eq!(verify("shop", "web").unwrap().source(), TokenSource::Path);
        assert_eq!(
            verify("shop", "app").unwrap_err().reason(),
            Reason::TokenScope
        );
        assert_eq!(
            verify("other", "web").unwrap_err().reason(),
            Reason::TokenScope
        );
    }

    #[test]
    fn claims_are_checked_one_by_one() {
        let now = clock::unix_seconds();
        assert_eq!(verdict_of(|_| {}), Ok(()));
        assert_eq!(
            verdict_of(|c| c["logstore"] = json!(["app", "web"])),
            Ok(())
        );
        assert_eq!(verdict_of(|c| c["aud"] = json!(["other", "edge"])), Ok(()));
        assert_eq!(
            verdict_of(|c| c["exp"] = json!(now - 1)),
            Err(Reason::TokenExpired)
        );
        assert_eq!(
            verdict_of(|c| c["nbf"] = json!(now + 60)),
            Err(Reason::TokenNotYetValid)
        );
        assert_eq!(
            verdict_of(|c| c["iss"] = json!("evil")),
            Err(Reason::TokenClaims)
        );
        assert_eq!(
            verdict_of(|c| c["aud"] = json!("other")),
            Err(Reason::TokenClaims)
        );
        assert_eq!(
            verdict_of(|c| c["exp"] = json!(u64::MAX)),
            Err(Reason::TokenClaims)
        );
        assert_eq!(
            verdict_of(|c| c["exp"] = json!(now + 3700)),
            Err(Reason::TokenClaims)
        );
        assert_eq!(
            verdict_of(|c| c["logstore"] = json!([])),
            Err(Reason::TokenScope)
        );
        for missing in ["iss", "aud", "exp", "project", "logstore"] {
            let verdict = verdict_of(|c| drop(c.as_object_mut().unwrap().remove(missing)));
            assert!(verdict.is_err(), "{missing}");
        }
        for exp in [
            json!("soon"),
            json!(null),
            json!(-1),
            json!(1.5e300),
            json!([1]),
        ] {
            assert!(verdict_of(|c| c["exp"] = exp.clone()).is_err(), "{exp}");
        }
    }

    #[test]
    fn a_token_of_another_key_or_algorithm_is_refused() {
        let claims = good_claims();
        let foreign = encode(&Header::new(Algorithm::HS256), &claims, "secret-two");
        assert_eq!(verdict(&foreign), Err(Reason::TokenSignature));
        let stronger = encode(&Header::new(Algorithm::HS512), &claims, "secret-one");
        assert_eq!(verdict(&stronger), Err(Reason::TokenUnknownKey));
        let mut header = Header::new(Algorithm::HS256);
        header.kid = Some("k2".to_owned());
        assert_eq!(
            verdict(&encode(&header, &claims, "secret-one")),
            Err(Reason::TokenUnknownKey)
        );
    }

    #[test]
    fn with_several_keys_the_kid_chooses() {
        let keys = [key("k1", "secret-one"), key("k2", "secret-two")];
        let authenticator = Authenticator::new(&keys);
        for key in &keys {
            let token = mint(key, "shop", "web", 60, None).unwrap();
            assert!(
                authenticator
                    .verify(token.as_bytes(), TokenPlace::Body, "shop", "web")
                    .is_ok()
            );
        }
        let nameless = encode(&Header::new(Algorithm::HS256), &good_claims(), "secret-one");
        let refusal = authenticator
            .verify(nameless.as_bytes(), TokenPlace::Body, "shop", "web")
            .unwrap_err();
        assert_eq!(refusal.reason(), Reason::TokenUnknownKey);
    }

    #[test]
    fn unsigned_cut_and_oversized_tokens_are_refused() {
        let good = encode(&Header::new(Algorithm::HS256), &good_claims(), "secret-one");
        let (rest, signature) = good.rsplit_once('.').unwrap();
        let none = base64_url(br#"{"alg":"none","typ":"JWT"}"#);
        let payload = rest.split_once('.').unwrap().1;
        for bad in [
            String::new(),
            "...".to_owned(),
            rest.to_owned(),
            format!("{rest}."),
            format!("{none}.{payload}."),
            format!("{none}.{payload}.{signature}"),
            format!("{good}.x"),
            "a".repeat(MAX_TOKEN + 1),
        ] {
            assert!(verdict(&bad).is_err(), "{bad}");
        }
        let mut flipped = good.into_bytes();
        let last = flipped.len() - 5;
        flipped[last] = if flipped[last] == b'A' { b'B' } else { b'A' };
        assert_eq!(
            verdict(std::str::from_utf8(&flipped).unwrap()),
            Err(Reason::TokenSignature)
        );
    }

    fn base64_url(bytes: &[u8]) -> String {
        use base64::Engine as _;
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
    }
}
