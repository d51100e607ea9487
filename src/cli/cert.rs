//! `tollgate cert`: a certificate and key for development.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use rcgen::{
    CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls_pki_types::DnsName;
use serde_json::json;
use zeroize::Zeroizing;

use super::form::{self, FormArgs};
use super::{Exit, Failure, output};
use crate::foundation::clock;

const EXAMPLES: &str = "\
Examples:
  tollgate cert self-signed
      tls-cert.pem and tls-key.pem in this folder, for localhost, 127.0.0.1 and ::1
  tollgate cert self-signed --name edge.test --name '*.edge.test' --out /etc/tollgate/dev
  curl --cacert tls-cert.pem https://localhost:8080/
      a client that trusts it

For development only: nobody else vouches for it.

Exit codes: 0 made, 2 the command line is wrong, 73 a file is there already, or cannot be written.";

#[derive(Debug, Subcommand)]
pub(super) enum CertCommand {
    /// Make a certificate that vouches for itself, with a new key, and print the lines of the
    /// configuration that use them.
    #[command(after_help = EXAMPLES)]
    SelfSigned(SelfSignedArgs),
}

#[derive(Debug, Args)]
pub(super) struct SelfSignedArgs {
    /// DNS name, wildcard or IP address that it is for. May be repeated. Without any: localhost,
    /// 127.0.0.1 and ::1.
    #[arg(long = "name", value_name = "NAME", value_parser = host_name)]
    names: Vec<String>,
    /// Folder of the two files; made if it is not there.
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
    /// Days until it expires.
    #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u16).range(1..=3650))]
    days: u16,
    /// Overwrite files that are there.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    form: FormArgs,
}

/// Browsers may be an hour behind.
const CLOCK_DIFFERENCE: u64 = 3600;

pub(super) fn run(command: &CertCommand) -> Result<Exit, Failure> {
    let CertCommand::SelfSigned(args) = command;
    let (certificate, key) = make(args).map_err(|error| Failure::new(Exit::Internal, error))?;
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(&args.out)
        .map_err(|error| failed(&args.out, &error))?;
    let cert_path = args.out.join("tls-cert.pem");
    let key_path = args.out.join("tls-key.pem");
    if !args.force
        && let Some(path) = [&cert_path, &key_path].into_iter().find(|it| it.exists())
    {
        let message = format!(
            "{} is there already; overwrite with --force",
            path.display()
        );
        return Err(Failure::new(Exit::DataDir, message));
    }
    // The key first: a certificate without its key would be noticed by a running service.
    write(&key_path, key.as_bytes(), 0o600, args.force)?;
    write(&cert_path, certificate.as_bytes(), 0o644, args.force)?;
    if args.form.is_json() {
        let absolute = |path: &Path| {
            let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
            path.display().to_string()
        };
        form::print(&json!({
            "cert": absolute(&cert_path), "key": absolute(&key_path),
            "names": names(args), "days": args.days,
        }))?;
        return Ok(Exit::Success);
    }
    output::note(format_args!(
        "wrote {} and {} (for {}; {} days). For development only.\nIn the configuration:\n",
        cert_path.display(),
        key_path.display(),
        names(args).join(", "),
        args.days,
    ));
    output::line(format_args!(
        "[[ingest.tls.certificate]]\ncert = {}\nkey = {}",
        quoted(&cert_path),
        quoted(&key_path),
    ))?;
    Ok(Exit::Success)
}

fn names(args: &SelfSignedArgs) -> Vec<String> {
    if args.names.is_empty() {
        ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into()
    } else {
        args.names.clone()
    }
}

/// The certificate and the key, as PEM.
fn make(args: &SelfSignedArgs) -> Result<(String, Zeroizing<String>), rcgen::Error> {
    let names = names(args);
    let mut params = CertificateParams::new(names.clone())?;
    let now = clock::unix_seconds();
    let at = |seconds| date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds);
    params.not_before = at(now.saturating_sub(CLOCK_DIFFERENCE));
    params.not_after = at(now + u64::from(args.days) * 86_400);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params
        .distinguished_name
        .push(DnType::CommonName, "tollgate development");
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    Ok((certificate.pem(), Zeroizing::new(key.serialize_pem())))
}

/// A DNS name, perhaps with a wildcard for its first label, or an address.
fn host_name(text: &str) -> Result<String, String> {
    let name = text.strip_prefix("*.").unwrap_or(text);
    if text.parse::<IpAddr>().is_ok() || DnsName::try_from(name).is_ok() {
        Ok(text.to_ascii_lowercase())
    } else {
        Err("not a DNS name, a wildcard such as `*.example.com`, or an IP address".to_owned())
    }
}

/// Writes a file that only now comes to be, or takes the place of an old one at once.
fn write(path: &Path, text: &[u8], mode: u32, force: bool) -> Result<(), Failure> {
    let fail = |error: io::Error| failed(path, &error);
    if !force {
        return fill(path, text, mode).map_err(fail);
    }
    let mut draft = path.to_owned();
    draft
        .as_mut_os_string()
        .push(format!(".{}", std::process::id()));
    fill(&draft, text, mode)
        .and_then(|()| std::fs::rename(&draft, path))
        .map_err(fail)
}

fn fill(path: &Path, text: &[u8], mode: u32) -> io::Result<()> {
    let mut file: File = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)?;
    file.write_all(text)?;
    file.sync_all()
}

fn failed(path: &Path, error: &io::Error) -> Failure {
    let message = format!("cannot write {}: {error}", path.display());
    Failure::new(Exit::DataDir, message)
}

/// The absolute path, as TOML.
fn quoted(path: &Path) -> String {
    let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    toml::Value::String(path.display().to_string()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_host_a_wildcard_or_an_address() {
        for good in ["localhost", "*.edge.test", "127.0.0.1", "::1", "EDGE.test"] {
            assert!(host_name(good).is_ok(), "{good}");
        }
        for bad in ["", "*", "*.", "a b", "https://x", "x:443", "[::1]", "*.*.x"] {
            assert!(host_name(bad).is_err(), "{bad}");
        }
    }
}
