//! Who sends a request: the holder of the store's own key, or someone whom [`Access`] lets in.

use std::net::IpAddr;

use http::StatusCode;
use http::header::AUTHORIZATION;
use http::request::Parts;

use super::Api;
use super::error::{self, ApiError};
use super::route::Operation;
use crate::embedded::access::{Access, Admitted, StoreRequest};
use crate::embedded::group::Group;
use crate::event::{EventGroup, Reason, Refusal};
use crate::foundation::clock;
use crate::foundation::names::LogstoreName;
use crate::logstore::signature::{
    AccessKey, Authorization, RequestParts, Rules, SignedBody, VerifyError, parse_authorization,
    verify_head,
};

/// Who sends a request, by its head.
pub(super) enum Caller {
    /// The holder of the store's own key, who may do everything.
    Own(SignedBody),
    /// Someone else, who may do this.
    Admitted(Box<dyn Admitted>),
}

impl Api {
    /// Decides by the head who sends a request, and whether he may, before the body is read.
    pub(super) fn identify(
        &self,
        head: &Parts,
        operation: &Operation<'_>,
        project: &str,
        client: IpAddr,
    ) -> Result<Caller, ApiError> {
        let parts = RequestParts {
            method: head.method.as_str(),
            path: head.uri.path(),
            query: head.uri.query().unwrap_or(""),
            headers: &head.headers,
        };
        let value = head.headers.get(AUTHORIZATION);
        let said = value.and_then(|value| parse_authorization(value.as_bytes()).ok());
        let own = said.is_none_or(|said| said.key_id() == self.key.id);
        let caller = match self.access.as_deref() {
            Some(access) if !own => admitted(access, parts, operation, project, client)?,
            _ => Caller::Own(signed_by(&self.key, &parts)?),
        };
        match said {
            Some(Authorization::V4 { region, .. }) if region != self.region => Err(ApiError::new(
                StatusCode::UNAUTHORIZED,
                "SignatureNotMatch",
                format!(
                    "signed for region {}, but this store is in {}",
                    error::echo(region),
                    self.region
                ),
            )),
            _ => Ok(caller),
        }
    }
}

fn admitted(
    access: &dyn Access,
    parts: RequestParts<'_>,
    operation: &Operation<'_>,
    project: &str,
    client: IpAddr,
) -> Result<Caller, ApiError> {
    let logstore = operation.logstore();
    // What cannot be a name need not come before a policy, nor into what is said of it.
    if let Some(name) = logstore
        && LogstoreName::new(name).is_err()
    {
        return Err(ApiError::no_logstore(name));
    }
    let request = StoreRequest {
        parts,
        action: operation.action(),
        project,
        logstore,
        client,
    };
    let admitted = access.admit(&request)?;
    if admitted.asks_for_events() && !operation.writes() {
        return Err(admitted.without_events().into());
    }
    Ok(Caller::Admitted(admitted))
}

/// Checks that the head was signed with the one key.
fn signed_by(key: &AccessKey, parts: &RequestParts<'_>) -> Result<SignedBody, ApiError> {
    let lookup = |id: &str, token: Option<&[u8]>| {
        if id != key.id {
            let key_id = id.to_owned();
            return Err(VerifyError::UnknownKey { key_id });
        }
        key.check_token(token)?;
        Ok(key)
    };
    let verified = verify_head(parts, clock::unix_seconds(), &Rules::default(), lookup)?;
    Ok(verified.body)
}

impl Caller {
    /// Checks the body, as it was sent.
    pub(super) fn check_body(&self, sent: &[u8]) -> Result<(), ApiError> {
        match self {
            Self::Own(signed) => signed.check(sent).map_err(ApiError::from),
            Self::Admitted(admitted) => admitted.check_body(sent).map_err(ApiError::from),
        }
    }

    /// Asks whether this LogGroup may be written, where its topic, source or tags decide.
    pub(super) fn check_events(&self, group: &[u8]) -> Result<(), ApiError> {
        let Self::Admitted(admitted) = self else {
            return Ok(());
        };
        if !admitted.asks_for_events() {
            return Ok(());
        }
        let group = Group::read(group).map_err(|error| ApiError::body(error.to_string()))?;
        let mut events = EventGroup {
            topic: group.topic.to_vec(),
            source: group.source.to_vec(),
            ..EventGroup::default()
        };
        let tags = group.tags.iter().flat_map(|(name, value)| [*name, *value]);
        let mut texts = [group.topic, group.source].into_iter().chain(tags);
        // The store takes any bytes; a policy compares text.
        if texts.any(|text| std::str::from_utf8(text).is_err()) {
            return Err(Refusal::from(Reason::NotUtf8).into());
        }
        for (name, value) in &group.tags {
            events.put_tag(name, value);
        }
        admitted.check_events(&events).map_err(ApiError::from)
    }
}
