//! Steps on the fields of accepted events.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::token_step::{DecodeToken, EncodeToken};
use crate::foundation::names::LogstoreName;
use crate::foundation::secret::SecretRef;

/// A step on the fields of accepted events, by its `type`. Steps run in their order; see docs/transforms.md.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Transform {
    /// Sets a field to a text, which may hold values of other fields and facts of the request.
    Add(AddField),
    /// Gives a field another name.
    Rename(RenameField),
    /// Takes fields away.
    Remove(RemoveFields),
    /// Takes all other fields away, and the tags of clients.
    KeepOnly(KeepFields),
    /// Sets a field to the client's address.
    ClientAddress(AddressField),
    /// Sets a field to the User-Agent of the request.
    UserAgent(AgentField),
    /// Sets a field to the Referer of the request.
    Referer(RefererField),
    /// Sets a field to the time at which the request came.
    ReceiveTime(TimeField),
    /// Sets a field to the name of this node.
    ServerId(ServerField),
    /// Puts a character in the place of others: of whole values, or of personal data inside them.
    Mask(MaskFields),
    /// Puts a keyed hash (HMAC-SHA256) in the place of values.
    Hash(HashFields),
    /// Heeds what browsers say of privacy: `DNT: 1` and `Sec-GPC: 1`.
    PrivacySignals(PrivacySignals),
    /// Lets a share of the events through. The same keys each time; clients cannot tell which.
    Sample(SampleEvents),
    /// Takes the members of a JSON object that stands in a field out to fields of their own.
    ParseJson(ParseJson),
    /// Takes the parameters of a URL or query string that stands in a field out to fields of their own.
    SplitQuery(SplitQuery),
    /// Makes a token (JWT) of the JSON object in a field; see docs/jwt-functions.md.
    JwtEncoding(EncodeToken),
    /// Checks the token (JWT) in a field, and takes its payload out; see docs/jwt-functions.md.
    JwtDecoding(DecodeToken),
    /// Sends events to another logstore of the project, or to another topic.
    Route(RouteEvents),
}

/// What an event must be like for a step to run. Exactly one of `equals`, `glob`, `matches` and `exists` stands beside `field`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct When {
    /// The field that is looked at. One that is missing is equal to nothing.
    pub field: String,
    /// Its value is this text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"purchase")]
    pub equals: Option<String>,
    /// Its value is of this form: `*` for any characters, `?` for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"/pay/*")]
    pub glob: Option<String>,
    /// This regular expression is found in its value. Look-around and back-references do not exist: matching takes linear time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"^v[0-9]+$")]
    pub matches: Option<String>,
    /// The field is there, or is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = true)]
    pub exists: Option<bool>,
    /// Turns the answer round.
    #[serde(default)]
    pub not: bool,
}

/// What happens to an event at which a step fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnError {
    /// It goes on as it was before the step.
    Keep,
    /// It goes on without the field that the step reads or writes.
    DropField,
    /// It is set aside, as it came, with the step and the reason.
    Quarantine,
}

/// What becomes of a template of which a part is missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Missing {
    /// The part is empty.
    #[default]
    Empty,
    /// The field is not written.
    LeaveOut,
}

/// How a client's address is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AddressForm {
    /// As it is.
    #[default]
    Whole,
    /// Cut to a network: `203.0.113.0`, `2001:db8:1::`.
    Prefix,
    /// As a keyed hash of the network.
    KeyedHash,
}

/// How a Referer is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RefererForm {
    /// As it is.
    #[default]
    Whole,
    /// Without query and fragment.
    WithoutQuery,
    /// Scheme, host and port.
    Origin,
}

/// How a time is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TimeFormat {
    /// Seconds since 1970.
    #[default]
    Unix,
    /// `2026-11-22T12:00:00Z`.
    Rfc3339,
}

/// Personal data that is found inside values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PersonalPattern {
    /// Mail addresses. What stands before the `@` is masked.
    Email,
    /// Mobile numbers of China, and numbers that begin with `+` and a country.
    Phone,
    /// Identity numbers of China with 18 places, of which date and checksum are right.
    IdCard,
    /// Card numbers of 13 to 19 digits with the right Luhn checksum.
    BankCard,
}

/// How a hash is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum HashEncoding {
    /// Lower-case hexadecimal, at most 64 characters.
    #[default]
    Hex,
    /// Base64 of URLs without padding, at most 43 characters.
    Base64url,
}

/// A signal of a browser.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PrivacySignal {
    /// `DNT: 1`.
    Dnt,
    /// `Sec-GPC: 1`.
    Gpc,
}

/// What happens to the events of a browser that gave a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PrivacyAction {
    /// They are dropped, and counted.
    DropEvent,
    /// They lose `fields`.
    RemoveFields,
    /// Values of `fields` become keyed hashes.
    OnlyHash,
}

macro_rules! steps {
    ($($(#[$doc:meta])* $name:ident { $($(#[$meta:meta])* $key:ident: $type:ty,)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            $($(#[$meta])* pub $key: $type,)*
            /// Runs the step only for such events: `{ field = "event", equals = "purchase" }`.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[schemars(with = "When")]
            pub when: Option<When>,
        }
    )*};
}

steps! {
    /// Sets a field to a text, which may hold values of other fields and facts of the request.
    AddField {
        /// The field that is written.
        field: String,
        /// The text. `${name}` is the value of a field; `${client_address}`, `${user_agent}`, `${referer}`, `${receive_time}` (seconds since 1970), `${server_id}`, `${topic}` and `${source}` are those of the request; `${field:name}` is a field whatever its name; `$$` is one `$`.
        value: String,
        /// When a part is missing.
        #[serde(default)]
        missing: Missing,
        /// When the text does not fit into the limits of an event.
        #[serde(default = "keep")]
        on_error: OnError,
    }

    /// Gives a field another name.
    RenameField {
        /// Its name. An event without it stays as it is.
        from: String,
        /// Its new name. A field that had it before is replaced.
        to: String,
    }

    /// Takes fields away.
    RemoveFields {
        /// Their names, or patterns with `*` and `?`; `__topic__`, `__source__` and `__tag__:NAME` are those of the request. Names that only the store and the edge write (`__tag__:...`) are meant by patterns that begin with `__`.
        fields: Vec<String>,
    }

    /// Takes all other fields away, and the tags of clients.
    KeepFields {
        /// Names, or patterns with `*` and `?`, of what stays; `__tag__:NAME` is a tag of a client. What the edge gives stays as well, and so do topic and source.
        fields: Vec<String>,
    }

    /// Sets a field to the client's address.
    AddressField {
        /// The field that is written. What a client wrote there is replaced.
        #[serde(default = "client_address")]
        field: String,
        /// How the address is written.
        #[serde(default)]
        form: AddressForm,
        /// For `prefix` and `keyed_hash`: bits of an IPv4 address that are kept. Left out: 24 for `prefix`, 32 for `keyed_hash`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(range(min = 0, max = 32), example = 24)]
        ipv4_prefix: Option<u8>,
        /// For `prefix` and `keyed_hash`: bits of an IPv6 address that are kept. Left out: 48 for `prefix`, 64 for `keyed_hash`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(range(min = 0, max = 128), example = 48)]
        ipv6_prefix: Option<u8>,
        /// For `keyed_hash`: the key, at least 16 bytes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(example = "file:/etc/tollgate/hash.key")]
        key: Option<SecretRef>,
    }

    /// Sets a field to the User-Agent of the request.
    AgentField {
        /// The field that is written. What a client wrote there is replaced, or taken away when there is no such header.
        #[serde(default = "user_agent")]
        field: String,
        /// Adds what it says: `{field}_browser`, `{field}_browser_version`, `{field}_os`, `{field}_os_version`, `{field}_device`.
        #[serde(default)]
        parse: bool,
    }

    /// Sets a field to the Referer of the request.
    RefererField {
        /// The field that is written. What a client wrote there is replaced, or taken away when there is no such header.
        #[serde(default = "referer")]
        field: String,
        /// How it is written.
        #[serde(default)]
        form: RefererForm,
    }

    /// Sets a field to the time at which the request came.
    TimeField {
        /// The field that is written.
        #[serde(default = "receive_time")]
        field: String,
        /// How the time is written.
        #[serde(default)]
        format: TimeFormat,
    }

    /// Sets a field to the name of this node.
    ServerField {
        /// The field that is written.
        #[serde(default = "server_id")]
        field: String,
    }

    /// Puts a character in the place of others.
    MaskFields {
        /// Names, or patterns with `*` and `?`, of fields. Empty: all, where `pattern` or `regex` says what is masked in them.
        #[serde(default)]
        #[schemars(example = vec!["name", "*_phone"])]
        fields: Vec<String>,
        /// Masks only such data inside the values. Left out, with no `regex`: the whole values.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(with = "PersonalPattern", example = &"phone")]
        pattern: Option<PersonalPattern>,
        /// Masks only what this regular expression finds inside the values. Matching takes linear time.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(example = &"[A-Z]{2}[0-9]{6}")]
        regex: Option<String>,
        /// Characters at the beginning of each masked piece that stay. Of a piece that is not longer than what stays, nothing stays.
        #[serde(default)]
        #[schemars(range(max = 64))]
        keep_first: u16,
        /// Characters at the end that stay.
        #[serde(default)]
        #[schemars(range(max = 64))]
        keep_last: u16,
        /// The character that is put in place of each other one.
        #[serde(default = "star")]
        character: String,
        /// When the masked value does not fit into the limits of an event.
        #[serde(default = "drop_field")]
        on_error: OnError,
    }

    /// Puts a keyed hash in the place of values.
    HashFields {
        /// Names, or patterns with `*` and `?`, of fields.
        fields: Vec<String>,
        /// The key, at least 16 bytes. With another key all hashes are others.
        #[schemars(example = "file:/etc/tollgate/hash.key")]
        key: SecretRef,
        /// How the hash is written.
        #[serde(default)]
        encoding: HashEncoding,
        /// Characters of it that are kept, from 8. Left out: all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(range(min = 8, max = 64), example = 32)]
        length: Option<u8>,
        /// Gives one value other hashes in other fields, so that fields cannot be joined by them.
        #[serde(default)]
        by_field: bool,
        /// When the hash does not fit into the limits of an event.
        #[serde(default = "drop_field")]
        on_error: OnError,
    }

    /// Heeds what browsers say of privacy.
    PrivacySignals {
        /// Signals that are heeded.
        #[serde(default = "all_signals")]
        signals: Vec<PrivacySignal>,
        /// What happens to the events.
        action: PrivacyAction,
        /// For `remove_fields` and `only_hash`: names, or patterns with `*` and `?`. Names that only the store and the edge write are meant by patterns that begin with `__`.
        #[serde(default)]
        #[schemars(example = vec!["user_*", "__tag__:__client_ip__"])]
        fields: Vec<String>,
        /// For `only_hash`: the key, at least 16 bytes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(example = "file:/etc/tollgate/hash.key")]
        key: Option<SecretRef>,
    }

    /// Lets a share of the events through.
    SampleEvents {
        /// The share, in percent.
        #[schemars(range(min = 0.0, max = 100.0))]
        percent: f64,
        /// Fields whose values decide together, so that what is kept of one user or session is whole. An entry may be a template, as in `add`: `${client_address}`. Empty: each event for itself.
        #[serde(default)]
        #[schemars(example = vec!["user_id"])]
        by: Vec<String>,
        /// The key of the choice, at least 16 bytes; nodes with one key choose alike. Left out: this node's own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(example = "file:/etc/tollgate/sample.key")]
        key: Option<SecretRef>,
    }

    /// Takes the members of a JSON object out to fields of their own.
    ParseJson {
        /// The field that holds the object.
        field: String,
        /// What is put before the name of each member.
        #[serde(default)]
        prefix: String,
        /// Takes members of inner objects out too, their names joined by `.`. Otherwise an inner object is a value, as arrays always are.
        #[serde(default)]
        flatten: bool,
        /// Members that are taken at most. More is an error.
        #[serde(default = "members")]
        #[schemars(range(min = 1, max = 1024))]
        max_fields: u32,
        /// Leaves the field itself in the event.
        #[serde(default)]
        keep_source: bool,
        /// When the value is no JSON object, or its members do not fit into the limits of an event.
        #[serde(default = "keep")]
        on_error: OnError,
    }

    /// Takes the parameters of a URL or query string out to fields of their own.
    SplitQuery {
        /// The field that holds it.
        field: String,
        /// What is put before the name of each parameter.
        #[serde(default)]
        prefix: String,
        /// Parameters that are taken at most. More is an error.
        #[serde(default = "members")]
        #[schemars(range(min = 1, max = 1024))]
        max_fields: u32,
        /// Leaves the field itself in the event.
        #[serde(default = "yes")]
        keep_source: bool,
        /// When the parameters are no UTF-8, or do not fit into the limits of an event.
        #[serde(default = "keep")]
        on_error: OnError,
    }

    /// Sends events to another logstore of the project, or to another topic.
    RouteEvents {
        /// The logstore. Its own steps do not run. Left out: the same.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(example = &"payments")]
        logstore: Option<LogstoreName>,
        /// The topic. Left out: the same.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(example = &"payments")]
        topic: Option<String>,
    }
}

pub(super) fn keep() -> OnError {
    OnError::Keep
}

fn drop_field() -> OnError {
    OnError::DropField
}

fn client_address() -> String {
    "client_address".to_owned()
}

fn user_agent() -> String {
    "user_agent".to_owned()
}

fn referer() -> String {
    "referer".to_owned()
}

fn receive_time() -> String {
    "receive_time".to_owned()
}

fn server_id() -> String {
    "server_id".to_owned()
}

fn star() -> String {
    "*".to_owned()
}

fn all_signals() -> Vec<PrivacySignal> {
    vec![PrivacySignal::Dnt, PrivacySignal::Gpc]
}

fn members() -> u32 {
    32
}

fn yes() -> bool {
    true
}

impl Transform {
    /// The word of its `type`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Add(_) => "add",
            Self::Rename(_) => "rename",
            Self::Remove(_) => "remove",
            Self::KeepOnly(_) => "keep_only",
            Self::ClientAddress(_) => "client_address",
            Self::UserAgent(_) => "user_agent",
            Self::Referer(_) => "referer",
            Self::ReceiveTime(_) => "receive_time",
            Self::ServerId(_) => "server_id",
            Self::Mask(_) => "mask",
            Self::Hash(_) => "hash",
            Self::PrivacySignals(_) => "privacy_signals",
            Self::Sample(_) => "sample",
            Self::ParseJson(_) => "parse_json",
            Self::SplitQuery(_) => "split_query",
            Self::JwtEncoding(_) => "jwt_encoding",
            Self::JwtDecoding(_) => "jwt_decoding",
            Self::Route(_) => "route",
        }
    }

    /// For which events it runs.
    #[must_use]
    pub fn when(&self) -> Option<&When> {
        match self {
            Self::Add(step) => step.when.as_ref(),
            Self::Rename(step) => step.when.as_ref(),
            Self::Remove(step) => step.when.as_ref(),
            Self::KeepOnly(step) => step.when.as_ref(),
            Self::ClientAddress(step) => step.when.as_ref(),
            Self::UserAgent(step) => step.when.as_ref(),
            Self::Referer(step) => step.when.as_ref(),
            Self::ReceiveTime(step) => step.when.as_ref(),
            Self::ServerId(step) => step.when.as_ref(),
            Self::Mask(step) => step.when.as_ref(),
            Self::Hash(step) => step.when.as_ref(),
            Self::PrivacySignals(step) => step.when.as_ref(),
            Self::Sample(step) => step.when.as_ref(),
            Self::ParseJson(step) => step.when.as_ref(),
            Self::SplitQuery(step) => step.when.as_ref(),
            Self::JwtEncoding(step) => step.when.as_ref(),
            Self::JwtDecoding(step) => step.when.as_ref(),
            Self::Route(step) => step.when.as_ref(),
        }
    }

    /// The secret that it refers to, where any text can be one: not a key in PEM.
    pub fn text_key_mut(&mut self) -> Option<&mut SecretRef> {
        match self {
            Self::ClientAddress(step) => step.key.as_mut(),
            Self::Hash(step) => Some(&mut step.key),
            Self::PrivacySignals(step) => step.key.as_mut(),
            Self::Sample(step) => step.key.as_mut(),
            Self::JwtEncoding(step) if step.algorithm.is_secret() => Some(&mut step.key),
            Self::JwtDecoding(step) if step.algorithms.iter().all(|it| it.is_secret()) => {
                step.key.as_mut()
            }
            _ => None,
        }
    }

    /// The secret that it refers to.
    #[must_use]
    pub fn key(&self) -> Option<&SecretRef> {
        match self {
            Self::ClientAddress(step) => step.key.as_ref(),
            Self::Hash(step) => Some(&step.key),
            Self::PrivacySignals(step) => step.key.as_ref(),
            Self::Sample(step) => step.key.as_ref(),
            Self::JwtEncoding(step) => Some(&step.key),
            Self::JwtDecoding(step) => step.key.as_ref(),
            _ => None,
        }
    }
}
