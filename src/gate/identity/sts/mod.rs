//! The token service: temporary credentials for holders of access keys, `AssumeRole` as Alibaba
//! Cloud's token service answers it.
//!
//! Promise: credentials are given out only for a call that the holder of a configured key has
//! signed, whose nonce was not seen, and as its role allows. They are sealed into their security
//! token, so nothing is kept of them here and every instance with the same keys takes them. When it
//! is called too often: `Throttling`, and the call may be sent again as it is; calls with a wrong
//! signature do not count.
//!
//! Not here: what the credentials may do (policies), and taking the bytes of a call off the wire. A
//! caller reads at most [`MAX_BODY`] bytes.
//!
//! Only `AssumeRole` is served, and not to temporary credentials (`NoPermission`).

mod answer;
mod assume_role;
mod credentials;
mod parameters;
mod replay;
mod ring;
mod rpc_signature;
mod seal;
mod session;
#[cfg(test)]
mod tests;

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use http::{HeaderMap, StatusCode};

use self::answer::{AssumedRoleUser, Format};
pub use self::answer::{Code, Failure};
use self::assume_role::Assumption;
pub use self::assume_role::{RoleError, Roles, session_name_of};
pub use self::credentials::Credentials;
use self::credentials::Wanted;
use self::parameters::Parameters;
pub use self::replay::{NotAdmitted, ReplayWindow};
pub use self::ring::{KeyRing, RingError};
use self::rpc_signature::{ACS3, Against, Signed};
pub use self::seal::Grant;
pub use self::session::{Session, Sessions, SignedBy};
use super::Origin;
use super::access_keys::AccessKeys;
use crate::config::Identity;
use crate::logstore::signature::mac;

/// Longest body of a call, in bytes. A longer one is refused.
pub const MAX_BODY: usize = parameters::MAX_FORM;
/// Milliseconds after which a throttled call may be sent again, for `x-acs-retry-after`.
const RETRY_AFTER: u32 = 1000;
/// The shortest session that a caller may ask for, in seconds.
const SHORTEST: u64 = 900;

/// Checks a session policy: `Err` says what is wrong with it.
pub type PolicyCheck = Box<dyn Fn(&str) -> Result<(), String> + Send + Sync>;

/// What a call may not make use of when it is revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Involved<'a> {
    /// The access key that has signed it, by its id.
    AccessKey(&'a str),
    /// The role, by its ARN.
    Role(&'a str),
}

/// A call, as it stands on the wire.
#[derive(Clone, Copy, Debug)]
pub struct RpcRequest<'a> {
    /// HTTP method.
    pub method: &'a str,
    /// Path, not decoded.
    pub path: &'a str,
    /// Query without `?`; may be empty.
    pub query: &'a str,
    /// Headers.
    pub headers: &'a HeaderMap,
    /// Body, whole.
    pub body: &'a [u8],
    /// The time.
    pub unix_seconds: u64,
}

/// The answer to a call.
pub struct RpcAnswer {
    /// HTTP status.
    pub status: StatusCode,
    /// Content type of the body.
    pub content_type: &'static str,
    /// The body. It may hold a secret: not for logs.
    pub body: Vec<u8>,
    /// For the header `x-acs-retry-after`, in milliseconds.
    pub retry_after: Option<u32>,
    /// Id of the call, which the body tells the client.
    pub request_id: String,
    /// Whether credentials were given out.
    pub issued: bool,
    /// Why not, and the id of the key that the call names, cut at 128 characters. Whether its
    /// signature was right, the code tells.
    pub failure: Option<(Code, Option<String>)>,
}

impl fmt::Debug for RpcAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RpcAnswer")
            .field("status", &self.status)
            .field("request_id", &self.request_id)
            .field("failure", &self.failure)
            .finish_non_exhaustive()
    }
}

/// Temporary credentials for someone whom the caller has identified.
#[derive(Clone, Copy, Debug)]
pub struct NewSession<'a> {
    /// ARN of the role.
    pub role_arn: &'a str,
    /// Name of the session; see [`session_name_of`].
    pub session_name: &'a str,
    /// How long they live, in seconds: not 0, and at most what the role allows.
    pub duration: u64,
    /// What they are given for.
    pub origin: &'a Origin,
    /// Session policy, of at most 2048 characters.
    pub policy: Option<&'a str>,
    /// The time.
    pub unix_seconds: u64,
}

/// The token service.
pub struct TokenService {
    ring: Arc<KeyRing>,
    keys: Arc<AccessKeys>,
    roles: Roles,
    nonces: Arc<ReplayWindow>,
    window: Duration,
    /// `None` when no call at all is allowed.
    limiter: Option<DefaultDirectRateLimiter>,
    check_policy: PolicyCheck,
}

impl fmt::Debug for TokenService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenService")
            .field("ring", &self.ring)
            .field("roles", &self.roles)
            .finish_non_exhaustive()
    }
}

impl TokenService {
    /// The token service of a configuration. `nonces` is given so that it outlives a reload.
    #[must_use]
    pub fn new(
        identity: &Identity,
        ring: Arc<KeyRing>,
        keys: Arc<AccessKeys>,
        roles: Roles,
        nonces: Arc<ReplayWindow>,
        check_policy: PolicyCheck,
    ) -> Self {
        let calls = NonZeroU32::new(identity.sts.calls_per_second);
        Self {
            ring,
            keys,
            roles,
            nonces,
            window: identity.signed.window.get(),
            limiter: calls.map(|calls| RateLimiter::direct(Quota::per_second(calls))),
            check_policy,
        }
    }

    /// Whether a request is a call of the token service and not of the store: `/` is both.
    #[must_use]
    pub fn is_call(method: &str, query: &str, headers: &HeaderMap) -> bool {
        let has_action = query.split('&').any(|pair| pair.starts_with("Action="));
        let authorization = headers.get(http::header::AUTHORIZATION);
        let is_acs3 = |value: &http::HeaderValue| value.as_bytes().starts_with(ACS3.as_bytes());
        let is_form = || rpc_signature::is_form(headers).unwrap_or_default();
        has_action
            || headers.contains_key("x-acs-action")
            || authorization.is_some_and(is_acs3)
            || (method == "POST" && is_form())
    }

    /// Whether there is a role to assume.
    #[must_use]
    pub fn has_roles(&self) -> bool {
        !self.roles.is_empty()
    }

    /// Whether an access key may assume a role, as the configuration says now.
    #[must_use]
    pub fn may_assume(&self, key_id: &str, role_arn: &str) -> bool {
        let role = self.roles.get(role_arn);
        self.keys.find(key_id).is_ok()
            && role.is_some_and(|role| role.assumed_by.iter().any(|id| id == key_id))
    }

    /// Answers a call. `is_revoked` says what is revoked: it is asked when the signature was right.
    #[must_use]
    pub fn call(
        &self,
        request: &RpcRequest<'_>,
        is_revoked: &dyn Fn(Involved<'_>) -> bool,
    ) -> RpcAnswer {
        let request_id = credentials::request_id();
        let mut caller = None;
        let mut format = usual_format(request.headers);
        match self.answer(request, is_revoked, &request_id, &mut format, &mut caller) {
            Ok(body) => RpcAnswer {
                status: StatusCode::OK,
                content_type: format.content_type(),
                body,
                retry_after: None,
                request_id,
                issued: true,
                failure: None,
            },
            Err(failure) => RpcAnswer {
                status: failure.code.status(),
                content_type: format.content_type(),
                body: answer::error(format, &failure, &request_id, &host(request.headers)),
                retry_after: (failure.code == Code::Throttling).then_some(RETRY_AFTER),
                request_id,
                issued: false,
                failure: Some((failure.code, caller)),
            },
        }
    }

    fn answer(
        &self,
        request: &RpcRequest<'_>,
        is_revoked: &dyn Fn(Involved<'_>) -> bool,
        request_id: &str,
        format: &mut Format,
        caller: &mut Option<String>,
    ) -> Result<Vec<u8>, Failure> {
        let form = form(request)?;
        let parameters = Parameters::read(request.query, form)?;
        *format = asked_format(&parameters)?.unwrap_or(*format);
        if request.path != "/" {
            return Err(unknown_action());
        }
        if !matches!(request.method, "GET" | "POST") {
            let message = "This http method is not supported.";
            return Err(Failure::new(Code::UnsupportedHttpMethod, message));
        }
        let against = Against {
            keys: &self.keys,
            window: self.window,
        };
        let signed = against.check(request, &parameters, caller)?;
        if signed.action != "AssumeRole" {
            return Err(unknown_action());
        }
        if is_revoked(Involved::AccessKey(signed.key_id)) {
            let message = "Specified access key is disabled.";
            return Err(Failure::new(Code::InactiveAccessKeyId, message));
        }
        let role = parameters.get("RoleArn");
        if role.is_some_and(|arn| is_revoked(Involved::Role(arn))) {
            let message = "The specified Role is revoked.";
            return Err(Failure::new(Code::NoPermission, message));
        }
        self.admit(&signed, request.unix_seconds)?;
        let check = self.check_policy.as_ref();
        let assumption = assume_role::assume_role(&parameters, signed.key_id, &self.roles, check)?;
        let origin = Origin::AccessKey {
            id: signed.key_id.to_owned(),
        };
        let credentials = self.make(&assumption, &origin, request.unix_seconds)?;
        let (arn, name) = (&assumption.role.arn, assumption.session_name);
        let user = AssumedRoleUser {
            arn: &format!("{arn}/{name}"),
            assumed_role_id: &format!("{}:{name}", role_number(arn)),
        };
        Ok(answer::success(*format, &credentials, user, request_id))
    }

    /// Lets a signed call in, if it was not there before and there are not too many. A call that is
    /// repeated takes no other's place, and one that is throttled may come again as it is.
    fn admit(&self, signed: &Signed<'_>, now: u64) -> Result<(), Failure> {
        let throttled = || {
            let message = "Request was denied due to request throttling.";
            Failure::new(Code::Throttling, message)
        };
        let used = || {
            let message = "Specified signature nonce was used already.";
            Failure::new(Code::SignatureNonceUsed, message)
        };
        let (key_id, nonce) = (signed.key_id, signed.nonce.as_bytes());
        if self.nonces.has_seen(key_id, nonce) {
            return Err(used());
        }
        let limiter = self.limiter.as_ref().ok_or_else(throttled)?;
        limiter.check().map_err(|_| throttled())?;
        let admitted = self.nonces.admit(key_id, nonce, now);
        admitted.map_err(|why| match why {
            NotAdmitted::Full => throttled(),
            NotAdmitted::Seen => used(),
        })
    }

    /// Makes credentials of a role for someone whom the caller has identified, as the configuration
    /// says. Neither `assumed_by`, the limit of calls nor the shortest session counts here: the
    /// credentials may not outlive what they are given for.
    ///
    /// # Errors
    /// When there is no such role, the session name is none (see [`session_name_of`]), or `duration`
    /// (seconds) is not one of the role.
    pub fn issue(&self, new: &NewSession<'_>) -> Result<Credentials, Failure> {
        let NewSession {
            role_arn,
            session_name,
            duration,
            origin,
            policy,
            unix_seconds,
        } = *new;
        let role = self.roles.get(role_arn).ok_or_else(|| {
            let message = "The specified Role not exists.";
            Failure::new(Code::EntityNotExistRole, message)
        })?;
        if !assume_role::is_session_name(session_name) {
            let message = "The session name is wrongly formed.";
            return Err(Failure::new(Code::InvalidRoleSessionName, message));
        }
        if policy.is_some_and(|policy| (self.check_policy)(policy).is_err()) {
            let message = "The session policy is too long, or none.";
            return Err(Failure::new(Code::InvalidPolicySize, message));
        }
        if duration == 0 || !assume_role::is_duration(role, duration.max(SHORTEST)) {
            let message = "The duration is not one that the role allows.";
            return Err(Failure::new(Code::InvalidDurationSeconds, message));
        }
        let assumption = Assumption {
            role,
            session_name,
            duration,
            policy,
        };
        self.make(&assumption, origin, unix_seconds)
    }

    fn make(
        &self,
        assumption: &Assumption<'_>,
        origin: &Origin,
        unix_seconds: u64,
    ) -> Result<Credentials, Failure> {
        let wanted = Wanted {
            role_arn: &assumption.role.arn,
            session_name: assumption.session_name,
            origin,
            policy: assumption.policy,
            duration: assumption.duration,
        };
        Credentials::make(&wanted, &self.ring, unix_seconds).ok_or_else(|| {
            let message = "The credentials could not be made.";
            Failure::new(Code::InternalError, message)
        })
    }
}

/// The body, when it has the form of a query.
fn form<'a>(request: &RpcRequest<'a>) -> Result<&'a str, Failure> {
    let invalid = |message| Failure::new(Code::InvalidParameter, message);
    if request.body.len() > MAX_BODY {
        return Err(invalid("The body is too long."));
    }
    if request.body.is_empty() || !rpc_signature::is_form(request.headers)? {
        return Ok("");
    }
    std::str::from_utf8(request.body).map_err(|_| invalid("The body is not UTF-8."))
}

/// The format of an answer to a call that does not ask for one.
fn usual_format(headers: &HeaderMap) -> Format {
    if headers.contains_key(http::header::AUTHORIZATION) || headers.contains_key("x-acs-action") {
        Format::Json
    } else {
        Format::Xml
    }
}

fn asked_format(parameters: &Parameters<'_>) -> Result<Option<Format>, Failure> {
    match parameters.get("Format") {
        None => Ok(None),
        Some(name) if name.eq_ignore_ascii_case("json") => Ok(Some(Format::Json)),
        Some(name) if name.eq_ignore_ascii_case("xml") => Ok(Some(Format::Xml)),
        Some(_) => {
            let message = "The parameter Format is neither JSON nor XML.";
            Err(Failure::new(Code::InvalidParameter, message))
        }
    }
}

fn unknown_action() -> Failure {
    let message = "Specified api is not found, please check your url and method.";
    Failure::new(Code::InvalidAction, message)
}

/// The host that the client has called, for people.
fn host(headers: &HeaderMap) -> String {
    let value = headers.get(http::header::HOST);
    let text = value.and_then(|value| value.to_str().ok());
    text.unwrap_or_default().chars().take(255).collect()
}

/// A number that stands for a role, the same on every instance: 18 digits.
fn role_number(arn: &str) -> u64 {
    const FIRST: u64 = 300_000_000_000_000_000;
    let hash = mac::sha256(arn.as_bytes());
    let number = hash
        .first_chunk()
        .map_or(0, |bytes| u64::from_be_bytes(*bytes));
    FIRST + number % 100_000_000_000_000_000
}
