//! JWK sets that are fetched, and kept fresh.
//!
//! Promise: nothing is fetched on the way of a request. A set is fetched at start, at its age, and
//! sooner when a token names a key that is not known, but never twice within [`Pace::between`]
//! after a success: whatever tokens say, there is one fetch at a time and none for a single `kid`.
//! When fetching fails, or brings a document without a key to use, the last good set counts on for
//! `jwks_keep`; after that, and before the first good one, tokens of the issuer are refused as ones
//! that can be sent again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::fetch::{FetchError, Fetcher};
use super::jwk::{self, JwkFault, Origin, SetFault};
use super::key::{Key, Life};
use super::verdicts::{TokenDigest, digest_of};
use crate::config::{JwksUrl, JwtAlgorithm, JwtKey};
use crate::foundation::clock;
use crate::gate::identity::keys::KeyFault;

/// How often and how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// The least time between a good fetch and the next one that an unknown `kid` asks for.
    pub(super) between: Duration,
    /// The wait after a first failure; it doubles up to `between`.
    pub(super) retry: Duration,
    /// The longest that a fetch may take.
    pub(super) total: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            between: Duration::from_secs(60),
            retry: Duration::from_secs(1),
            total: Duration::from_secs(10),
        }
    }
}

/// How a fetched set of keys stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceStatus {
    /// The `kid` of its `[[identity.jwt]]`.
    pub name: String,
    /// Fetches that were begun.
    pub fetches: u64,
    /// Fetches that brought a set to use, be it the one that was there.
    pub successes: u64,
    /// Fetches that brought no set to use.
    pub failures: u64,
    /// When a set was last fetched, unix seconds.
    pub fetched_at: Option<u64>,
    /// Until when the set counts, unix seconds.
    pub good_until: Option<u64>,
    /// Keys of the set that are used.
    pub keys: usize,
    /// Keys of the last document that are not used: weak, broken, or for something else.
    pub skipped: usize,
    /// Why the last fetch failed, if it did. It holds nothing that the server said.
    pub last_error: Option<String>,
}

impl SourceStatus {
    fn renew(&mut self, now: u64, until: u64) {
        self.successes += 1;
        self.fetched_at = Some(now);
        self.good_until = Some(until);
        self.last_error = None;
    }
}

/// A set of keys that is fetched.
pub(super) struct Source {
    place: usize,
    rules: Arc<JwtKey>,
    fetcher: Fetcher,
    pace: Pace,
    wake: Notify,
    /// The last second at which its keys count. 0: there never were any.
    good_until: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    status: SourceStatus,
    digest: Option<TokenDigest>,
    life: Option<Arc<Life>>,
    /// The keys of that document. Here and not in the table alone, so that document and keys are
    /// of one fetch whenever they are looked at.
    keys: Vec<Arc<Key>>,
}

/// What a fetch brought.
pub(super) struct Fetched {
    pub(super) keys: Vec<Arc<Key>>,
    /// The life of the keys that these replace.
    pub(super) former: Option<Arc<Life>>,
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("the document was not taken: {0}")]
    Set(#[from] SetFault),
    #[error("the document was not taken: it holds no key to use; {0}")]
    NoKey(JwkFault),
    #[error("the document was not taken: it holds no key")]
    Empty,
}

impl Source {
    pub(super) fn new(place: usize, rules: &Arc<JwtKey>, url: &str) -> Result<Self, KeyFault> {
        let url = JwksUrl::parse(url).map_err(KeyFault::Url)?;
        let state = State {
            status: SourceStatus {
                name: rules.kid.clone(),
                ..SourceStatus::default()
            },
            ..State::default()
        };
        Ok(Self {
            place,
            rules: Arc::clone(rules),
            fetcher: Fetcher::new(&url).map_err(KeyFault::Tls)?,
            pace: Pace::default(),
            wake: Notify::new(),
            good_until: AtomicU64::new(0),
            state: Mutex::new(state),
        })
    }

    #[cfg(test)]
    pub(super) fn set_pace(&mut self, pace: Pace) {
        self.pace = pace;
    }

    pub(super) fn rules(&self) -> &Arc<JwtKey> {
        &self.rules
    }

    /// Whether tokens of this issuer and algorithm may be of this source.
    pub(super) fn serves(&self, issuer: &str, algorithm: JwtAlgorithm) -> bool {
        self.rules.issuer == issuer && self.rules.algorithms.contains(&algorithm)
    }

    /// Whether it has no keys that count.
    pub(super) fn is_empty_handed(&self, now: u64) -> bool {
        self.good_until.load(Ordering::Acquire) < now
    }

    /// Takes over what another source of equal rules has fetched, for as long as that counts, with
    /// a life of its own: what becomes of the other is nothing to it. Says the keys; none when the
    /// rules differ, or nothing was fetched that counts still. Before [`Self::run`].
    pub(super) fn inherit(&self, other: &Self, now: u64) -> Vec<Arc<Key>> {
        if self.rules != other.rules {
            return Vec::new();
        }
        let (status, digest, keys) = {
            let other = other.lock();
            (other.status.clone(), other.digest, other.keys.clone())
        };
        let Some(until) = status.good_until.filter(|until| *until >= now) else {
            return Vec::new();
        };
        let life = Life::until(until);
        let inherited = |key: &Arc<Key>| Arc::new(key.inherited(&self.rules, self.place, &life));
        let keys: Vec<_> = keys.iter().map(inherited).collect();
        *self.lock() = State {
            status,
            digest,
            life: Some(life),
            keys: keys.clone(),
        };
        self.good_until.store(until, Ordering::Release);
        keys
    }

    /// Asks for a fetch before its time.
    pub(super) fn ask(&self) {
        self.wake.notify_one();
    }

    pub(super) fn status(&self) -> SourceStatus {
        self.lock().status.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fetches again and again until `stop`. `take` gets each new set.
    pub(super) async fn run(&self, stop: &CancellationToken, take: impl Fn(Fetched)) {
        let mut failed: u32 = 0;
        loop {
            let begun = Instant::now();
            let good = tokio::select! {
                () = stop.cancelled() => return,
                good = self.step(&take) => good,
            };
            let (wait, asked) = if good {
                failed = 0;
                let refresh = self.rules.jwks_refresh.get().max(self.pace.retry);
                (refresh, refresh.min(self.pace.between))
            } else {
                let wait = self.pace.retry * 2u32.saturating_pow(failed.min(16));
                failed = failed.saturating_add(1);
                let wait = wait.min(self.pace.between);
                (wait, wait)
            };
            let asked = async {
                self.wake.notified().await;
                sleep_until(begun + asked).await;
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep_until(begun + wait) => {}
                () = asked => {}
            }
        }
    }

    /// One fetch, and what comes of it. Says whether it brought a set to use.
    pub(super) async fn step(&self, take: &impl Fn(Fetched)) -> bool {
        match self.fetch().await {
            Ok((fetched, until)) => {
                fetched.into_iter().for_each(take);
                // Not before the keys are there: tokens are told to wait until then.
                self.good_until.store(until, Ordering::Release);
                true
            }
            Err(error) => {
                self.tell(&error);
                false
            }
        }
    }

    /// One fetch, of which nothing is kept: how many keys of the set can be used.
    ///
    /// # Errors
    /// Why the set is not to be had, for people.
    pub(super) async fn try_out(&self, time: Duration) -> Result<usize, String> {
        let fetched = self
            .fetch_within(time)
            .await
            .map_err(|error| error.to_string())?;
        Ok(fetched.0.map_or(0, |set| set.keys.len()))
    }

    /// One fetch: the keys of a new document, and until when they count. A document that has not
    /// changed brings none, and renews the time of those that are there.
    async fn fetch(&self) -> Result<(Option<Fetched>, u64), Failure> {
        self.fetch_within(self.pace.total).await
    }

    async fn fetch_within(&self, time: Duration) -> Result<(Option<Fetched>, u64), Failure> {
        self.lock().status.fetches += 1;
        let document = timeout(time, self.fetcher.fetch()).await;
        let document = document.map_err(|_| FetchError::Timeout)??;
        let now = clock::unix_seconds();
        let until = now.saturating_add(self.rules.jwks_keep.as_secs()).max(1);
        let digest = digest_of(&document);
        let mut state = self.lock();
        if let (true, Some(life)) = (state.digest == Some(digest), &state.life) {
            life.extend(until);
            state.status.renew(now, until);
            return Ok((None, until));
        }
        let keys = jwk::read_keys(&document, Origin::Fetched, &self.rules.algorithms)?;
        let life = Life::until(until);
        let (keys, skipped, why) = Key::of_fetched(&self.rules, self.place, &life, keys);
        if keys.is_empty() {
            return Err(why.map_or(Failure::Empty, Failure::NoKey));
        }
        let (name, used) = (&self.rules.kid, keys.len());
        tracing::info!(kid = %name, keys = used, skipped, "fetched a new set of keys");
        if let Some(why) = why {
            tracing::warn!(kid = %name, skipped, reason = %why, "keys of a fetched set are not used");
        }
        state.digest = Some(digest);
        state.keys.clone_from(&keys);
        state.status.keys = used;
        state.status.skipped = skipped;
        state.status.renew(now, until);
        let former = state.life.replace(life);
        Ok((Some(Fetched { keys, former }), until))
    }

    fn tell(&self, error: &Failure) {
        let text = error.to_string();
        let mut state = self.lock();
        state.status.failures += 1;
        tracing::warn!(
            kid = %self.rules.kid,
            failures = state.status.failures,
            fetched_at = state.status.fetched_at,
            "cannot fetch the keys of jwks_url: {text}"
        );
        state.status.last_error = Some(text);
    }
}
