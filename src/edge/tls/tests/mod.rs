//! Certificates in real files: which is shown, what is refused, and what is told.

mod files;
mod reload;
mod shown;

use std::path::PathBuf;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use tempfile::TempDir;

use super::*;
use crate::config::Certificate;

/// A folder of pairs.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn files(&self, name: &str) -> Certificate {
        Certificate {
            cert: self.path(&format!("{name}.pem")),
            key: self.path(&format!("{name}.key")),
        }
    }

    /// Writes a pair for these names, which counts from and until years from 2000 on.
    fn pair_of(&self, name: &str, names: &[&str], years: (i32, i32)) -> Certificate {
        let files = self.files(name);
        let (certificate, key) = self_signed(names, years, &KeyPair::generate().unwrap());
        std::fs::write(&files.cert, certificate).unwrap();
        std::fs::write(&files.key, key).unwrap();
        files
    }

    fn pair(&self, name: &str, names: &[&str]) -> Certificate {
        self.pair_of(name, names, (2020, 2099))
    }
}

fn self_signed(names: &[&str], years: (i32, i32), key: &KeyPair) -> (String, String) {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.not_before = date_time_ymd(years.0, 1, 1);
    params.not_after = date_time_ymd(years.1, 1, 1);
    let certificate = params.self_signed(key).unwrap();
    (certificate.pem(), key.serialize_pem())
}

fn rules(certificates: Vec<Certificate>) -> Tls {
    Tls {
        certificates,
        ..Tls::default()
    }
}

fn provider() -> rustls::crypto::CryptoProvider {
    rustls::crypto::aws_lc_rs::default_provider()
}
