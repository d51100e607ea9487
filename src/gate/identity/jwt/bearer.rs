//! Whom a verified token speaks for, what it may do, and for how long.
//!
//! Promise: a [`Bearer`] is made by the verifier alone, after signature and claims were checked. It
//! is cheap to clone, and never prints what the token holds.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::claims::{Claims, Names, for_each_text};
use super::key::Key;
use crate::config::JwtKey;
use crate::event::{Reason, Refusal, put_content};

/// The longest claim that is attached to events, in bytes.
const MAX_ATTACHED: usize = 1024;

/// A token that lives too long. Without that bound it could outlive its revocation.
const TOO_LONG: &str = "exp is later than max_lifetime allows";

/// Whom a verified token speaks for.
#[derive(Clone)]
pub struct Bearer {
    key: Arc<Key>,
    payload: Arc<str>,
    subject: Option<Text>,
    id: Option<Text>,
    project: Option<Text>,
    logstores: Texts,
    actions: Texts,
    platform: Option<Text>,
    appid: Option<Text>,
    times: Times,
    attached: Option<Arc<Attached>>,
}

/// When a token is good, in unix seconds.
#[derive(Clone, Copy, Debug)]
struct Times {
    expires: u64,
    not_before: Option<u64>,
    issued: Option<u64>,
}

/// What events of the bearer get.
struct Attached {
    fields: Vec<u8>,
    tags: Vec<(String, String)>,
}

/// A text of the payload: where it stands, or itself when it holds escapes there.
#[derive(Clone)]
enum Text {
    At(Range<usize>),
    Own(Arc<str>),
}

/// None, one or several texts.
#[derive(Clone)]
enum Texts {
    Absent,
    One(Text),
    Many(Arc<[String]>),
}

impl Text {
    fn of(payload: &str, text: &str) -> Self {
        let start = text.as_ptr().addr().wrapping_sub(payload.as_ptr().addr());
        let place = start..start.wrapping_add(text.len());
        match payload.get(place.clone()) {
            Some(found) if found == text => Self::At(place),
            _ => Self::Own(Arc::from(text)),
        }
    }

    fn get<'a>(&'a self, payload: &'a str) -> &'a str {
        match self {
            Self::At(place) => payload.get(place.clone()).unwrap_or_default(),
            Self::Own(text) => text,
        }
    }
}

impl Texts {
    fn of(payload: &str, names: Option<&Names<'_>>) -> Self {
        match names {
            None => Self::Absent,
            Some(Names::One(one)) => Self::One(Text::of(payload, one)),
            Some(Names::Many(many)) => Self::Many(many.as_slice().into()),
        }
    }
}

impl Bearer {
    /// Checks the claims of a payload whose signature `key` has verified.
    pub(super) fn admit(key: &Arc<Key>, payload: &str, now: u64) -> Result<Self, Refusal> {
        let rules = key.rules();
        let claims = Claims::read(payload, rules)?;
        let times = checked(&claims, rules)?;
        times.check(rules, now)?;
        let text = |text: &Option<Cow<'_, str>>| Some(Text::of(payload, text.as_deref()?));
        let attached = Attached::of(payload, rules)?;
        Ok(Self {
            subject: text(&claims.sub),
            id: text(&claims.jti),
            project: text(&claims.project),
            logstores: Texts::of(payload, claims.logstore.as_ref()),
            actions: Texts::of(payload, claims.action.as_ref()),
            platform: text(&claims.platform),
            appid: text(&claims.appid),
            times,
            attached: attached.map(Arc::new),
            key: Arc::clone(key),
            payload: Arc::from(payload),
        })
    }

    /// Checks the times alone: for a token that was verified before.
    pub(super) fn still_good(&self, now: u64) -> Result<(), Refusal> {
        self.times.check(self.key.rules(), now)
    }

    pub(super) fn key(&self) -> &Key {
        &self.key
    }

    /// Whether it is this very key, with these rules, that verified it.
    pub(super) fn is_under(&self, key: &Arc<Key>) -> bool {
        Arc::ptr_eq(&self.key, key)
    }

    /// About how many bytes it keeps.
    pub(super) fn weight(&self) -> usize {
        let list = |texts: &Texts| match texts {
            Texts::Many(many) => many.iter().map(|one| one.len() + 32).sum(),
            Texts::Absent | Texts::One(_) => 0,
        };
        let attached = self.attached.as_ref().map_or(0, |attached| {
            let tags = attached.tags.iter();
            let tags: usize = tags.map(|(key, value)| key.len() + value.len() + 64).sum();
            attached.fields.len() + tags + 64
        });
        // Texts that hold escapes are shorter than what they are made from.
        2 * self.payload.len() + list(&self.logstores) + list(&self.actions) + attached
    }

    /// The name of the key that verified it: the `kid` of a JWK, or that of the configuration.
    #[must_use]
    pub fn kid(&self) -> &str {
        self.key.kid()
    }

    /// The configured key or set that it is under: the `kid` of `[[identity.jwt]]`.
    #[must_use]
    pub fn key_name(&self) -> &str {
        &self.key.rules().kid
    }

    /// `iss`, which is the configured issuer.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.key.rules().issuer
    }

    /// `sub`: whose token it is.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.text(self.subject.as_ref())
    }

    /// `jti`: the name of this one token.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.text(self.id.as_ref())
    }

    /// `exp`, unix seconds. It is accepted for the key's `leeway` longer.
    #[must_use]
    pub fn expires(&self) -> u64 {
        self.times.expires
    }

    /// The last second, in unix seconds, at which it is accepted: where a revocation may end.
    #[must_use]
    pub fn accepted_until(&self) -> u64 {
        let leeway = self.key.rules().leeway.as_secs();
        self.times.expires.saturating_add(leeway).saturating_sub(1)
    }

    /// `iat`, unix seconds.
    #[must_use]
    pub fn issued_at(&self) -> Option<u64> {
        self.times.issued
    }

    /// The project that it is for: its own, or the one that the key gives to tokens without.
    #[must_use]
    pub fn project(&self) -> Option<&str> {
        let own = self.text(self.project.as_ref());
        own.or(self.key.rules().project.as_deref())
    }

    /// The logstores that it is for: its own, or those that the key gives to tokens without.
    pub fn logstores(&self) -> impl Iterator<Item = &str> {
        let given = match self.logstores {
            Texts::Absent => self.key.rules().logstores.as_slice(),
            Texts::One(_) | Texts::Many(_) => &[],
        };
        let own = self.texts(&self.logstores).into_iter().flatten();
        own.chain(given.iter().map(String::as_str))
    }

    /// The actions that it is for; without, every one that writes.
    pub fn actions(&self) -> Option<impl Iterator<Item = &str>> {
        self.texts(&self.actions)
    }

    /// The mini-program platform that it is for, if it says.
    #[must_use]
    pub fn platform(&self) -> Option<&str> {
        self.text(self.platform.as_ref())
    }

    /// The mini program that it is for, if it says.
    #[must_use]
    pub fn appid(&self) -> Option<&str> {
        self.text(self.appid.as_ref())
    }

    /// The fields that each event of the bearer gets: `Contents` of a Log, in wire form.
    #[must_use]
    pub fn fields(&self) -> &[u8] {
        self.attached.as_ref().map_or(&[], |it| &it.fields)
    }

    /// The tags that a LogGroup of the bearer gets.
    #[must_use]
    pub fn tags(&self) -> &[(String, String)] {
        self.attached.as_ref().map_or(&[], |it| &it.tags)
    }

    /// A claim by its name: a text as it is, numbers and booleans as their JSON. It reads the
    /// payload anew, so it is for what few requests ask, such as conditions of policies.
    #[must_use]
    pub fn claim(&self, name: &str) -> Option<Cow<'_, str>> {
        let mut found = None;
        for_each_text(&self.payload, |claim, value| {
            if claim == name {
                found = value;
            }
        })
        .ok()?;
        found
    }

    /// Whether it is for one of `actions` (the names of one action) on a logstore.
    ///
    /// # Errors
    /// [`Reason::TokenScope`], with what it is not for.
    pub fn may(&self, project: &str, logstore: &str, actions: &[&str]) -> Result<(), Refusal> {
        let refuse = |what: &'static str| Err(Refusal::new(Reason::TokenScope, what));
        if self.project() != Some(project) {
            return refuse("not for this project");
        }
        if !self.logstores().any(|one| one == logstore) {
            return refuse("not for this logstore");
        }
        let named = self.actions();
        if named.is_some_and(|mut own| !own.any(|one| actions.contains(&one))) {
            return refuse("not for this action");
        }
        Ok(())
    }

    fn text<'a>(&'a self, text: Option<&'a Text>) -> Option<&'a str> {
        text.map(|text| text.get(&self.payload))
    }

    fn texts<'a>(&'a self, texts: &'a Texts) -> Option<impl Iterator<Item = &'a str>> {
        let (one, many): (Option<&str>, &[String]) = match texts {
            Texts::Absent => return None,
            Texts::One(one) => (Some(one.get(&self.payload)), &[]),
            Texts::Many(many) => (None, many),
        };
        Some(one.into_iter().chain(many.iter().map(String::as_str)))
    }
}

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bearer")
            .field("kid", &self.kid())
            .field("times", &self.times)
            .finish_non_exhaustive()
    }
}

/// Checks what stays right or wrong for ever; what depends on the time comes back.
fn checked(claims: &Claims<'_>, rules: &JwtKey) -> Result<Times, Refusal> {
    let refuse = |what: &'static str| Err(Refusal::new(Reason::TokenClaims, what));
    let (Some(expires), Some(iss), Some(aud)) = (claims.exp, &claims.iss, &claims.aud) else {
        return refuse("exp, iss and aud must be there");
    };
    if *iss != rules.issuer {
        return refuse("iss");
    }
    if !aud.contains(&rules.audience) {
        return refuse("aud");
    }
    let whole_life = claims.iat.map(|issued| expires.saturating_sub(issued));
    if whole_life.is_some_and(|life| life > rules.max_lifetime.as_secs()) {
        return refuse(TOO_LONG);
    }
    if rules.max_age.is_some() && claims.iat.is_none() {
        return refuse("iat must be there");
    }
    if let Some(name) = claims.missing(rules) {
        let detail = format!("`{name}` must be there");
        return Err(Refusal::new(Reason::TokenClaims, detail));
    }
    Ok(Times {
        expires,
        not_before: claims.nbf,
        issued: claims.iat,
    })
}

impl Times {
    fn check(self, rules: &JwtKey, now: u64) -> Result<(), Refusal> {
        let leeway = rules.leeway.as_secs();
        if self.expires.saturating_add(leeway) <= now {
            return Err(Reason::TokenExpired.into());
        }
        let latest = now.saturating_add(leeway);
        if self.not_before.is_some_and(|time| time > latest) {
            return Err(Reason::TokenNotYetValid.into());
        }
        if self.issued.is_some_and(|time| time > latest) {
            return Err(Refusal::new(
                Reason::TokenNotYetValid,
                "iat is in the future",
            ));
        }
        if self.expires.saturating_sub(now) > rules.max_lifetime.as_secs() {
            return Err(Refusal::new(Reason::TokenClaims, TOO_LONG));
        }
        let oldest = rules
            .max_age
            .map(|age| now.saturating_sub(age.as_secs()).saturating_sub(leeway));
        match (oldest, self.issued) {
            (Some(oldest), Some(issued)) if issued < oldest => Err(Refusal::new(
                Reason::TokenExpired,
                "it is older than max_age allows",
            )),
            _ => Ok(()),
        }
    }
}

impl Attached {
    /// What `fields` and `tags` of the rules take from a payload.
    fn of(payload: &str, rules: &JwtKey) -> Result<Option<Self>, Refusal> {
        if rules.fields.is_empty() && rules.tags.is_empty() {
            return Ok(None);
        }
        let (mut fields, mut tags) = (Vec::new(), Vec::new());
        let mut fault = None;
        let read = for_each_text(payload, |claim, value| {
            let (field, tag) = (rules.fields.get(claim), rules.tags.get(claim));
            if field.is_none() && tag.is_none() {
                return;
            }
            let Some(value) = value.filter(|value| value.len() <= MAX_ATTACHED) else {
                fault = Some(format!(
                    "`{claim}` must be text, a number or a boolean of at most 1 KiB"
                ));
                return;
            };
            if let Some(field) = field {
                put_content(&mut fields, field.as_bytes(), value.as_bytes());
            }
            if let Some(tag) = tag {
                tags.push((tag.clone(), value.into_owned()));
            }
        });
        read.map_err(|_| Reason::TokenMalformed)?;
        match fault {
            Some(fault) => Err(Refusal::new(Reason::TokenClaims, fault)),
            None => {
                // In one order, whatever that of the claims: equal tags share a batch.
                tags.sort_unstable();
                Ok(Some(Self { fields, tags }))
            }
        }
    }
}
