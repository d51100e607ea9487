//! Tokens in fields: which fields `jwt` reads and writes, and with which keys.

use serde_json::Value;

use super::draft::Draft;
use super::facts::TransformFacts;
use super::jwt::{DecodeRules, Decoding, Encoding};
use super::outcome::Fault;
use super::problem::Defect;
use crate::config::{DecodeToken, EncodeToken};

/// A step that makes a token.
pub(super) struct EncodeStep {
    pub(super) payload: Box<[u8]>,
    target: Box<[u8]>,
    encoding: Box<Encoding>,
}

/// A step that reads a token.
pub(super) struct DecodeStep {
    pub(super) field: Box<[u8]>,
    target: Box<[u8]>,
    decoding: Box<Decoding>,
}

impl std::fmt::Debug for EncodeStep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EncodeStep").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for DecodeStep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DecodeStep").finish_non_exhaustive()
    }
}

impl EncodeStep {
    pub(super) fn new(config: &EncodeToken, target: Box<[u8]>) -> Result<Self, Defect> {
        let key = config
            .key
            .read()
            .map_err(|error| Defect::new("key", error.to_string()))?;
        let headers: Vec<(String, Value)> = config
            .headers
            .iter()
            .map(|(name, value)| (name.clone(), value.as_str().into()))
            .collect();
        let encoding = Encoding::new(config.algorithm, key.expose(), &headers)
            .map_err(|error| Defect::new("key", error.to_string()))?;
        Ok(Self {
            payload: config.payload.as_bytes().into(),
            target,
            encoding: Box::new(encoding),
        })
    }

    pub(super) fn run(&self, draft: &mut Draft<'_>, scratch: &mut Vec<u8>) -> Result<(), Fault> {
        let Some(payload) = draft.value(&self.payload) else {
            return Ok(());
        };
        self.encoding
            .encode(payload, scratch)
            .map_err(|error| Fault::Token(error.label()))?;
        draft.set(&self.target, scratch)
    }
}

impl DecodeStep {
    pub(super) fn new(config: &DecodeToken, target: Box<[u8]>) -> Result<Self, Defect> {
        let key = config
            .key
            .as_ref()
            .map(|key| key.read())
            .transpose()
            .map_err(|error| Defect::new("key", error.to_string()))?;
        let rules = DecodeRules {
            algorithms: config.algorithms.clone(),
            options: config.options.clone(),
            audience: config.audience.clone(),
            issuer: config.issuer.clone(),
            leeway: config.leeway.get().as_secs(),
        };
        let key = key.as_ref().map_or(&b""[..], |key| key.expose());
        let decoding =
            Decoding::new(key, &rules).map_err(|error| Defect::new("key", error.to_string()))?;
        Ok(Self {
            field: config.field.as_bytes().into(),
            target,
            decoding: Box::new(decoding),
        })
    }

    /// Sets the target to the payload. What a client wrote there would pass for one that was verified,
    /// so it goes whatever happens.
    pub(super) fn run(
        &self,
        draft: &mut Draft<'_>,
        facts: &TransformFacts<'_>,
        scratch: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        let decoded = match draft.value(&self.field) {
            Some(token) => self
                .decoding
                .decode(token, facts.received, scratch)
                .map_err(|error| Fault::Token(error.label()))
                .and_then(|()| draft.set(&self.target, scratch)),
            None => {
                draft.remove(&self.target);
                Ok(())
            }
        };
        if decoded.is_err() && self.target != self.field {
            draft.remove(&self.target);
        }
        decoded
    }
}
