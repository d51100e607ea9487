//! Credentials without a proof, for requests that are only tried out: they count where one is presumed
//! ([`super::Presumed`]), and nowhere else.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use crate::config::{JwtAlgorithm, JwtKey};

/// Stands where a signature would.
const NO_SIGNATURE: &str = "bm8tc2lnbmF0dXJl";
/// The header of a ticket, byte for byte.
const TICKET_HEADER: &str = r#"{"typ":"JWT","alg":"HS256"}"#;

/// A token as its issuer would make it for a key, but for the signature.
#[must_use]
pub fn unsigned_token(rules: &JwtKey, claims: &Map<String, Value>) -> String {
    let algorithm = rules
        .algorithms
        .first()
        .copied()
        .map_or("", JwtAlgorithm::as_str);
    let kind = rules.typ.as_deref().unwrap_or("JWT");
    let header = json!({ "alg": algorithm, "kid": rules.kid, "typ": kind });
    let payload = Value::Object(claims.clone());
    joined(&header.to_string(), &payload.to_string())
}

/// A ticket as it would be made at a time (unix seconds), but for the signature.
#[must_use]
pub fn unsigned_ticket(id: &str, unix_seconds: u64) -> String {
    let id = Value::from(id);
    let payload = format!("{{\"type\":\"write\",\"iat\":{unix_seconds},\"ticketId\":{id}}}");
    joined(TICKET_HEADER, &payload)
}

fn joined(header: &str, payload: &str) -> String {
    let [header, payload] = [header, payload].map(|part| URL_SAFE_NO_PAD.encode(part));
    format!("{header}.{payload}.{NO_SIGNATURE}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::identity::Check;
    use crate::telemetry::CredentialKind;

    #[test]
    fn what_is_made_up_has_the_form_of_its_kind() {
        let ticket = unsigned_ticket("0123456789abcdef", 1_795_334_400);
        assert_eq!(Check::token_kind(ticket.as_bytes()), CredentialKind::Ticket);
        let rules = &crate::config::Config::quickstart().identity.jwt[0];
        let token = unsigned_token(rules, &Map::new());
        assert_eq!(Check::token_kind(token.as_bytes()), CredentialKind::Jwt);
    }
}
