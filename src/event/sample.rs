//! A request as it is kept in the sample: what is needed to try it out again, without its secrets.
//!
//! One JSON object a line. What proves a credential (the signature of a token, of a ticket or of a
//! request, a security token) is replaced by `*`; whether it was good is said in `credential`.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A request, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SampledRequest {
    /// Its id, as its client was told.
    pub id: String,
    /// When it came, unix milliseconds.
    pub time: u64,
    /// The client's address.
    pub client: IpAddr,
    /// Whether it was encrypted on its way.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub secure: bool,
    /// The method.
    pub method: String,
    /// The path and the query.
    pub target: String,
    /// Headers, in their order; those of transport and those that nothing here looks at are left out.
    pub headers: Vec<(String, String)>,
    /// The body before compression.
    pub body: SampledBody,
    /// Whether personal data in the query or the body was replaced.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hidden: bool,
    /// The credential, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<SampledCredential>,
    /// What became of it.
    pub verdict: SampledVerdict,
}

/// A body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SampledBody {
    /// It is text.
    Text(String),
    /// It is not; in base64.
    Base64(String),
    /// It is not kept, and why.
    LeftOut(String),
}

/// A credential, without what proves it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SampledCredential {
    /// Its kind, such as `jwt`.
    pub kind: String,
    /// Its name, for the books.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The `kid` of the `[[identity.jwt]]` that proved it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// What was found when its proof was checked.
    pub proof: SampledProof,
    /// Temporary credentials: what they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SampledSession>,
}

/// What was found when a proof was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SampledProof {
    /// It was good.
    Good,
    /// It was not.
    Bad,
    /// It was not looked at, or there was nothing to check it with.
    Unchecked,
}

/// What temporary credentials are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SampledSession {
    /// ARN of the role.
    pub role: String,
    /// Name of the session.
    pub name: String,
    /// When they were made, unix seconds.
    pub issued_at: u64,
    /// When they end, unix seconds.
    pub expires_at: u64,
    /// The session policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
}

/// What became of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SampledVerdict {
    /// The status of the answer.
    pub status: u16,
    /// The reason of a refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The stage that it came to.
    pub stage: String,
    /// Why it would have been refused, where that is only observed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed: Option<String>,
    /// The limit that refused it, or took events out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<String>,
    /// The project and the logstore, where there are such.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logstore: Option<(String, String)>,
    /// How many events it held.
    pub events: u32,
    /// Events that were not simply kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<SampledEvent>,
}

/// An event that was not simply kept.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SampledEvent {
    /// Its place in the request, from 0.
    pub event: u32,
    /// How it ended.
    pub end: String,
    /// What found it wanting.
    pub check: String,
}
