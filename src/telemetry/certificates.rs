//! Certificates of the public listeners: when they end, and how reading them again went.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use super::declared;
use super::exposition::{Family, OTHER};
use super::labels::NameKind;
use super::metrics::{Counter, Gauge, Metrics};

/// What is counted for one file of certificates of one listener.
#[derive(Debug, Default)]
pub struct CertificateMetrics {
    /// When the certificate in use ends, in Unix seconds; 0 where the file holds authorities.
    pub not_after: Gauge,
    /// Times that the changed file was taken into use.
    pub reloaded: Counter,
    /// Times that the changed file could not be used.
    pub failed: Counter,
}

type Key = (String, String);

/// Cells by listener and file, from the configuration.
#[derive(Debug, Default)]
pub(super) struct Certificates(Mutex<BTreeMap<Key, Arc<CertificateMetrics>>>);

impl Certificates {
    /// What `see` makes of each listener, file and its cells.
    pub(super) fn each<T>(
        &self,
        see: impl Fn(&str, &str, &CertificateMetrics) -> Option<T>,
    ) -> Vec<T> {
        let map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let each = map.iter();
        each.filter_map(|((listener, file), cells)| see(listener, file, cells))
            .collect()
    }
}

impl Metrics {
    /// The cells of a configured certificate, or of a file of client authorities, by its path; made on
    /// first use.
    #[must_use]
    pub fn certificate(&self, listener: &str, file: &str) -> Arc<CertificateMetrics> {
        let map = &self.certificates.0;
        let mut map = map.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (listener.to_owned(), file.to_owned());
        Arc::clone(map.entry(key).or_default())
    }

    /// Forgets the files that no listener uses any more.
    pub fn keep_certificates(&self, used: &BTreeSet<(String, String)>) {
        let map = &self.certificates.0;
        let mut map = map.lock().unwrap_or_else(PoisonError::into_inner);
        map.retain(|key, _| used.contains(key));
    }

    pub(super) fn certificate_families(&self) -> [Family; 3] {
        let mut expiry = Family::of(&declared::TLS_CERTIFICATE_EXPIRY_SECONDS);
        let mut reloaded = Family::of(&declared::TLS_RELOAD_SUCCESS);
        let mut failed = Family::of(&declared::TLS_RELOAD_FAILED);
        let map = &self.certificates.0;
        let map = map.lock().unwrap_or_else(PoisonError::into_inner);
        let name = |(listener, file): &Key| format!("{listener}\0{file}");
        let sharing = self.sharing(NameKind::Certificate, map.keys().map(name));
        for (key, cells) in &*map {
            let (listener, file) = match sharing.has(&name(key)) {
                true => (OTHER, OTHER),
                false => (key.0.as_str(), key.1.as_str()),
            };
            let labels = || vec![("listener", listener), ("file", file)];
            if cells.not_after.get() > 0 {
                expiry.push(labels(), cells.not_after.get());
            }
            reloaded.push(labels(), cells.reloaded.get());
            failed.push(labels(), cells.failed.get());
        }
        [expiry, reloaded, failed]
    }
}
