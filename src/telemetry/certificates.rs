//! Certificates of the public listeners: when they end, and how reading them again went.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::proto::MetricType;

use super::families::Family;
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

    pub(super) fn certificate_families(&self) -> [Family; 3] {
        let mut expiry = Family::new(
            "tollgate_tls_certificate_expiry_seconds",
            "When the certificate in use ends, in Unix seconds. Alert on less than two weeks from now.",
            MetricType::GAUGE,
        );
        let mut reloaded = Family::new(
            "tollgate_tls_reload_success_total",
            "Times that a changed certificate, key or file of client authorities was taken into use.",
            MetricType::COUNTER,
        );
        let mut failed = Family::new(
            "tollgate_tls_reload_failed_total",
            "Times that a changed certificate, key or file of client authorities could not be used, and the one before it stayed. Alert on any.",
            MetricType::COUNTER,
        );
        let map = &self.certificates.0;
        let map = map.lock().unwrap_or_else(PoisonError::into_inner);
        for ((listener, file), cells) in &*map {
            let labels = || vec![("listener", listener.as_str()), ("file", file.as_str())];
            if cells.not_after.get() > 0 {
                expiry.push(labels(), cells.not_after.get());
            }
            reloaded.push(labels(), cells.reloaded.get());
            failed.push(labels(), cells.failed.get());
        }
        [expiry, reloaded, failed]
    }
}
