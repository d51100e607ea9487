//! `AssumeRole`: who may have credentials of which role, and for how long.
//!
//! Promise: nothing is given out that the configuration does not say, in the caller's key
//! (`assumed_by`), the role's ExternalId and its longest session. Not here: signatures, and what the
//! credentials may do then (policies).
//!
//! `SourceIdentity` and parameters that are not known are ignored, as the real service ignores them.
//! A policy is counted in bytes here, in characters there.

use subtle::ConstantTimeEq as _;

use super::answer::{Code, Failure};
use super::parameters::Parameters;
use crate::config::{Identity, Role};
use crate::gate::identity::access_keys::AccessKeys;
use crate::logstore::signature::mac;

/// The shortest session, in seconds.
const SHORTEST: u64 = 900;
/// The longest, in seconds.
const LONGEST: u64 = 43_200;
/// What a session lasts when the caller does not say, in seconds.
const USUAL: u64 = 3600;
/// Longest session policy, in bytes.
const MAX_POLICY: usize = 2048;
/// Characters that a session name keeps of a text that is none itself.
const KEPT: usize = 55;
/// Hex digits of the hash of that text.
const HASHED: usize = 8;
/// Longest ARN of a role, in bytes.
const MAX_ARN: usize = 256;

/// Why a role of the configuration cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RoleError {
    /// It has no ARN of a role.
    #[error(
        "identity.role `{arn}`: an ARN reads acs:ram::{{account}}:role/{{name}}, the account in digits"
    )]
    Arn {
        /// What it has.
        arn: String,
    },
    /// Two roles have one ARN.
    #[error("identity.role `{arn}` is there twice")]
    Twice {
        /// The ARN.
        arn: String,
    },
    /// Its sessions are too short or too long.
    #[error("identity.role `{arn}`: max_session_duration is 15 minutes to 12 hours")]
    Duration {
        /// The ARN.
        arn: String,
    },
    /// Its ExternalId is one that no call can give.
    #[error("identity.role `{arn}`: external_id has 2 to 1224 letters, digits and `_+=,.@:/-`")]
    ExternalId {
        /// The ARN.
        arn: String,
    },
    /// It names a key that does not exist.
    #[error("identity.role `{arn}`: assumed_by names `{id}`, which is no access key")]
    Caller {
        /// The ARN.
        arn: String,
        /// The id.
        id: String,
    },
}

/// The roles of a configuration.
#[derive(Debug, Default)]
pub struct Roles(Vec<Role>);

impl Roles {
    /// Reads the roles of a configuration.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn load(identity: &Identity, keys: &AccessKeys) -> Result<Self, Vec<RoleError>> {
        let mut problems = Vec::new();
        for (index, role) in identity.roles.iter().enumerate() {
            let arn = || role.arn.clone();
            if !is_role_arn(&role.arn) {
                problems.push(RoleError::Arn { arn: arn() });
            }
            let mut before = identity.roles.iter().take(index);
            if before.any(|other| other.arn == role.arn) {
                problems.push(RoleError::Twice { arn: arn() });
            }
            if !(SHORTEST..=LONGEST).contains(&role.max_session_duration.as_secs()) {
                problems.push(RoleError::Duration { arn: arn() });
            }
            if role
                .external_id
                .as_deref()
                .is_some_and(|id| !is_external_id(id))
            {
                problems.push(RoleError::ExternalId { arn: arn() });
            }
            for id in role.assumed_by.iter().filter(|id| !keys.contains(id)) {
                let id = id.clone();
                problems.push(RoleError::Caller { arn: arn(), id });
            }
        }
        if problems.is_empty() {
            Ok(Self(identity.roles.clone()))
        } else {
            Err(problems)
        }
    }

    /// The role with an ARN.
    #[must_use]
    pub fn get(&self, arn: &str) -> Option<&Role> {
        self.0.iter().find(|role| role.arn == arn)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What a caller is given.
#[derive(Clone, Copy, Debug)]
pub(super) struct Assumption<'a> {
    pub(super) role: &'a Role,
    pub(super) session_name: &'a str,
    /// Seconds.
    pub(super) duration: u64,
    pub(super) policy: Option<&'a str>,
}

/// Decides a call of `AssumeRole` by the holder of the key `caller`.
pub(super) fn assume_role<'a>(
    call: &'a Parameters<'_>,
    caller: &str,
    roles: &'a Roles,
    check_policy: &dyn Fn(&str) -> Result<(), String>,
) -> Result<Assumption<'a>, Failure> {
    let arn = call.require("RoleArn")?;
    let session_name = call.require("RoleSessionName")?;
    if !is_role_arn(arn) {
        let message = "The parameter RoleArn is wrongly formed.";
        return Err(Failure::new(Code::InvalidRoleArn, message));
    }
    if !is_session_name(session_name) {
        let message = "The parameter RoleSessionName is wrongly formed.";
        return Err(Failure::new(Code::InvalidRoleSessionName, message));
    }
    let external_id = call.get("ExternalId");
    if external_id.is_some_and(|id| !is_external_id(id)) {
        let message = "The parameter ExternalId is wrongly formed.";
        return Err(Failure::new(Code::InvalidExternalId, message));
    }
    let policy = call.get("Policy");
    if policy.is_some_and(|policy| !(1..=MAX_POLICY).contains(&policy.len())) {
        let message = "The size of Policy must be 1 to 2048 bytes.";
        return Err(Failure::new(Code::InvalidPolicySize, message));
    }
    let role = roles.get(arn).ok_or_else(|| {
        let message = format!("The specified Role not exists : {arn}.");
        Failure::new(Code::EntityNotExistRole, message)
    })?;
    if !role.assumed_by.iter().any(|id| id == caller) || !is_known(role, external_id) {
        let message = "You are not authorized to do this action. You should be authorized by RAM.";
        return Err(Failure::new(Code::NoPermission, message));
    }
    let duration = duration(call.get("DurationSeconds"), role)?;
    if let Some(policy) = policy {
        check_policy(policy).map_err(|why| {
            let why: String = why.chars().filter(|c| !c.is_control()).take(256).collect();
            let message = format!("The parameter Policy has not passed grammar check: {why}");
            Failure::new(Code::InvalidPolicyGrammar, message)
        })?;
    }
    Ok(Assumption {
        role,
        session_name,
        duration,
        policy,
    })
}

/// Whether the ExternalId is the role's, if it has one.
fn is_known(role: &Role, external_id: Option<&str>) -> bool {
    role.external_id.as_ref().is_none_or(|expected| {
        let given = external_id.unwrap_or_default();
        bool::from(expected.as_bytes().ct_eq(given.as_bytes()))
    })
}

fn duration(asked: Option<&str>, role: &Role) -> Result<u64, Failure> {
    let most = role.max_session_duration.as_secs().min(LONGEST);
    let Some(asked) = asked else {
        return Ok(USUAL.min(most));
    };
    let digits = asked.len() <= 5 && asked.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = asked.parse().ok().filter(|_| digits);
    let fits = seconds.filter(|seconds| (SHORTEST..=most).contains(seconds));
    fits.ok_or_else(|| {
        let message = format!("The Min/Max value of DurationSeconds is {SHORTEST}/{most}.");
        Failure::new(Code::InvalidDurationSeconds, message)
    })
}

/// Whether credentials of a role may last so many seconds.
pub(super) fn is_duration(role: &Role, seconds: u64) -> bool {
    (SHORTEST..=role.max_session_duration.as_secs().min(LONGEST)).contains(&seconds)
}

/// `acs:ram::{account}:role/{name}`.
pub(super) fn is_role_arn(arn: &str) -> bool {
    let parts = arn
        .strip_prefix("acs:ram::")
        .and_then(|rest| rest.split_once(":role/"));
    parts.is_some_and(|(account, name)| {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        arn.len() <= MAX_ARN
            && !account.is_empty()
            && account.bytes().all(|byte| byte.is_ascii_digit())
            && (1..=64).contains(&name.len())
            && name.bytes().all(legal)
    })
}

/// 2 to 64 letters, digits and `.@-_`.
pub(super) fn is_session_name(name: &str) -> bool {
    (2..=64).contains(&name.len()) && name.bytes().all(is_of_session_name)
}

fn is_of_session_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'@' | b'-' | b'_')
}

/// A session name as much like a text as can be, for subjects of tokens. A text that is one stays as
/// it is; of any other it is the first 55 characters, `-` for each that may not stand there, and the
/// beginning of the hash of the whole text: `admin/1` and `admin-1` are two.
#[must_use]
pub fn session_name_of(text: &str) -> String {
    if is_session_name(text) {
        return text.to_owned();
    }
    let legal = |c: char| u8::try_from(c).is_ok_and(is_of_session_name);
    let kept = text.chars().take(KEPT);
    let mut name: String = kept.map(|c| if legal(c) { c } else { '-' }).collect();
    name.push('-');
    let hash = mac::hex32(&mac::sha256(text.as_bytes()));
    name.extend(hash.iter().take(HASHED).map(|byte| char::from(*byte)));
    name
}

fn is_external_id(id: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"_+=,.@:/-".contains(&byte);
    (2..=1224).contains(&id.len()) && id.bytes().all(legal)
}
