//! Headers of tokens that were proven, so that the next token with the same one need not have it read.
//!
//! All tokens of one issuer and key begin with the same bytes; to decode and parse them takes as long
//! as the hash of a short token. Only what a good signature stood behind is kept, so nobody without a
//! key can fill this.
//!
//! At the bound the oldest gives way, at most one a second: with more issuers than places the rest
//! have their headers read, and nothing else changes.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::{ArcSwap, Guard};

use super::header::TokenHeader;

/// Headers that are kept.
const PLACES: usize = 8;

/// Headers that were proven.
#[derive(Default)]
pub(super) struct KnownHeaders {
    all: ArcSwap<Vec<Arc<Known>>>,
    /// When the last one was added, unix seconds.
    added: AtomicU64,
}

/// A header, read.
pub(super) struct Known {
    /// As it stands in tokens: the first part, encoded.
    part: Box<[u8]>,
    alg: Box<str>,
    kid: Option<Box<str>>,
    typ: Option<Box<str>>,
}

impl Known {
    /// What it says.
    pub(super) fn header(&self) -> TokenHeader<'_> {
        TokenHeader {
            alg: Cow::Borrowed(&self.alg),
            kid: self.kid.as_deref().map(Cow::Borrowed),
            typ: self.typ.as_deref().map(Cow::Borrowed),
        }
    }
}

impl KnownHeaders {
    /// All of them.
    pub(super) fn load(&self) -> Guard<Arc<Vec<Arc<Known>>>> {
        self.all.load()
    }

    /// The one that stands so in a token.
    pub(super) fn find<'a>(known: &'a [Arc<Known>], part: &[u8]) -> Option<&'a Known> {
        let found = known.iter().find(|known| *known.part == *part);
        found.map(|known| &**known)
    }

    /// Keeps a header that stood in a token which was proven at `now` (unix seconds).
    pub(super) fn remember(&self, part: &[u8], header: &TokenHeader<'_>, now: u64) {
        let known = self.all.load();
        let full = known.len() >= PLACES;
        let added = self.added.swap(now, Ordering::Relaxed);
        if (full && added == now) || Self::find(&known, part).is_some() {
            return;
        }
        let text = |text: &Cow<'_, str>| Box::from(&**text);
        let new = Arc::new(Known {
            part: part.into(),
            alg: text(&header.alg),
            kid: header.kid.as_ref().map(text),
            typ: header.typ.as_ref().map(text),
        });
        let mut all: Vec<_> = known.iter().skip(usize::from(full)).cloned().collect();
        all.push(new);
        // Of two at the same time one is lost, and read once more.
        self.all.store(Arc::new(all));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remember(headers: &KnownHeaders, number: usize, now: u64) {
        let header = TokenHeader {
            alg: "HS256".into(),
            kid: Some(format!("key-{number}").into()),
            typ: None,
        };
        headers.remember(format!("part-{number}").as_bytes(), &header, now);
    }

    fn kid(headers: &KnownHeaders, number: usize) -> Option<String> {
        let known = headers.load();
        let found = KnownHeaders::find(&known, format!("part-{number}").as_bytes())?;
        found.header().kid.map(Cow::into_owned)
    }

    #[test]
    fn the_oldest_gives_way_once_a_second_and_what_is_kept_is_told_as_it_was() {
        let headers = KnownHeaders::default();
        for number in 0..PLACES {
            remember(&headers, number, 1);
        }
        assert_eq!(kid(&headers, 0).as_deref(), Some("key-0"));
        remember(&headers, 100, 1);
        assert_eq!(kid(&headers, 100), None, "all in the same second");
        remember(&headers, 101, 2);
        assert_eq!(kid(&headers, 101).as_deref(), Some("key-101"));
        assert_eq!(kid(&headers, 0), None);
        for number in 0..1000 {
            remember(&headers, number, number as u64 + 3);
        }
        assert_eq!(headers.load().len(), PLACES);
    }
}
