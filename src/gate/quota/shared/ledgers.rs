//! The ledgers: revocations, and what operators changed for keys of limits.

use std::fmt;
use std::sync::Arc;

use super::super::kept::Overrides;
use super::super::overrides::Override;
use super::news::{Item, Ledger};
use crate::foundation::clock;
use crate::gate::identity::state::{ChangeError, IdentityState, Revocation, RevocationKind};

/// The revocations of this node, as a ledger.
#[derive(Debug)]
pub struct RevocationLedger(Arc<IdentityState>);

impl RevocationLedger {
    /// Those of this state.
    #[must_use]
    pub fn new(state: Arc<IdentityState>) -> Arc<Self> {
        Arc::new(Self(state))
    }
}

impl Ledger for RevocationLedger {
    fn kind(&self) -> &'static str {
        "revocation"
    }

    fn bound(&self) -> usize {
        self.0.revocations().max_count() as usize
    }

    fn version(&self) -> u64 {
        self.0.revocations().changes()
    }

    fn list(&self) -> Vec<Item> {
        let now = clock::unix_seconds();
        let (all, _) = self.0.revocations().list(None, None, usize::MAX, now);
        let item = |one: Arc<Revocation>| {
            Some(Item {
                name: format!("{}:{}", one.kind, one.value),
                body: serde_json::to_string(&*one).ok()?,
                // Within its second it counts as later than that it was taken back.
                made: one.created.saturating_mul(1000).saturating_add(999),
                expires: one.expires,
            })
        };
        all.into_iter().filter_map(item).collect()
    }

    fn put(&self, item: &Item) -> Result<(), String> {
        let revocation: Revocation =
            serde_json::from_str(&item.body).map_err(|_| "it is no revocation".to_owned())?;
        if format!("{}:{}", revocation.kind, revocation.value) != item.name {
            return Err("its name is that of another".to_owned());
        }
        let now = clock::unix_seconds();
        if !revocation.is_active(now) {
            return Ok(());
        }
        let put = self.0.revocations().revoke(revocation, now);
        put.map(|_| ()).map_err(|error| error.to_string())
    }

    fn lift(&self, name: &str) -> Result<(), String> {
        let (kind, value) = name.split_once(':').ok_or("it names no revocation")?;
        let kind: RevocationKind = kind.parse().map_err(|_| "it names no kind".to_owned())?;
        match self.0.revocations().lift(kind, value) {
            Ok(_) | Err(ChangeError::NotFound(_)) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// Who keeps the bans and raises of this node.
pub trait OverrideBook: Send + Sync + fmt::Debug {
    /// How many there may be.
    fn bound(&self) -> usize;
    /// A number that changes whenever [`OverrideBook::list`] may have changed.
    fn version(&self) -> u64;
    /// All that are in force.
    fn list(&self) -> Vec<Override>;
    /// Takes one over, in place of an earlier one of the same key. May block on the disk.
    ///
    /// # Errors
    /// When it is not understood, or cannot be kept.
    fn put(&self, one: Override) -> Result<(), String>;
    /// Takes one back. May block on the disk. That there is none is no error.
    ///
    /// # Errors
    /// When that cannot be kept.
    fn lift(&self, limit: &str, key: &str) -> Result<(), String>;
}

impl OverrideBook for Overrides {
    fn bound(&self) -> usize {
        self.max() as usize
    }

    fn version(&self) -> u64 {
        *self.changes().borrow()
    }

    /// What was lifted is an entry like another here.
    fn list(&self) -> Vec<Override> {
        let now = clock::unix_seconds();
        let all = Self::list(self).into_iter();
        all.filter(|one| one.expires > now)
            .map(|one| (*one).clone())
            .collect()
    }

    fn put(&self, one: Override) -> Result<(), String> {
        let put = self.apply(one);
        put.map(|_| ()).map_err(|error| error.to_string())
    }

    fn lift(&self, limit: &str, key: &str) -> Result<(), String> {
        match Self::lift(self, limit, key) {
            Ok(_) | Err(ChangeError::NotFound(_)) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// The bans and raises of this node, as a ledger.
#[derive(Debug)]
pub struct OverrideLedger(Arc<dyn OverrideBook>);

impl OverrideLedger {
    /// Those of this book.
    #[must_use]
    pub fn new(book: Arc<dyn OverrideBook>) -> Arc<Self> {
        Arc::new(Self(book))
    }
}

impl Ledger for OverrideLedger {
    fn kind(&self) -> &'static str {
        "override"
    }

    fn bound(&self) -> usize {
        self.0.bound()
    }

    fn version(&self) -> u64 {
        self.0.version()
    }

    fn list(&self) -> Vec<Item> {
        let item = |one: Override| {
            Some(Item {
                body: serde_json::to_string(&one).ok()?,
                name: format!("{}:{}", one.limit, one.key),
                made: one.made,
                expires: Some(one.expires),
            })
        };
        self.0.list().into_iter().filter_map(item).collect()
    }

    fn put(&self, item: &Item) -> Result<(), String> {
        let one: Override =
            serde_json::from_str(&item.body).map_err(|_| "it is no ban and no raise".to_owned())?;
        if format!("{}:{}", one.limit, one.key) != item.name {
            return Err("its name is that of another".to_owned());
        }
        self.0.put(one)
    }

    fn lift(&self, name: &str) -> Result<(), String> {
        // The name of a limit has no colon.
        let (limit, key) = name.split_once(':').ok_or("it names no key of a limit")?;
        self.0.lift(limit, key)
    }
}
