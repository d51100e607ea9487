//! `tollgate cert self-signed` and what `tollgate check` says of certificates.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Output;

use super::*;
use crate::support::binary;

fn self_signed(folder: &Path, arguments: &[&str]) -> Output {
    binary()
        .args(["cert", "self-signed", "--out"])
        .arg(folder)
        .args(arguments)
        .output()
        .unwrap()
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_pair_for_development_is_made_and_serves() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("new/folder");
    let made = self_signed(&out, &["--name", "edge.test", "--name", "127.0.0.1"]);
    assert!(made.status.success(), "{made:?}");
    let (cert, key) = (out.join("tls-cert.pem"), out.join("tls-key.pem"));
    assert_eq!((mode(&cert), mode(&key)), (0o644, 0o600));
    // What it prints is what the configuration takes.
    let lines = String::from_utf8(made.stdout).unwrap();
    let tollgate = start("", &lines);
    let mut roots = RootCertStore::empty();
    roots.add(pem_of(&cert)).unwrap();
    let client = Client {
        roots,
        versions: rustls::ALL_VERSIONS.to_vec(),
        protocols: Vec::new(),
        identity: None,
    };
    for name in ["edge.test", "127.0.0.1"] {
        assert_eq!(client.send(&tollgate, name).unwrap().answer.status, 200);
    }
    assert!(client.send(&tollgate, "other.test").is_err());
    assert!(tollgate.banner.contains("https://"), "{}", tollgate.banner);

    let before = std::fs::read(&key).unwrap();
    let again = self_signed(&out, &[]);
    assert_eq!(again.status.code(), Some(73));
    assert!(String::from_utf8_lossy(&again.stderr).contains("--force"));
    assert_eq!(std::fs::read(&key).unwrap(), before);
    let forced = self_signed(&out, &["--force", "--days", "1"]);
    assert!(forced.status.success(), "{forced:?}");
    assert_ne!(std::fs::read(&key).unwrap(), before);
    assert_eq!((mode(&cert), mode(&key)), (0o644, 0o600));
    assert_eq!(
        std::fs::read_dir(&out).unwrap().count(),
        2,
        "no draft stays behind"
    );
}

#[test]
fn a_name_that_is_none_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let refused = self_signed(folder.path(), &["--name", "https://edge.test"]);
    assert_eq!(refused.status.code(), Some(2));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

fn check(authority: &Authority, tables: &str) -> (Option<i32>, String) {
    let path = authority.path("config.toml");
    std::fs::write(&path, super::super::config("", tables)).unwrap();
    let output = binary()
        .arg("check")
        .arg("--config")
        .arg(path)
        .output()
        .unwrap();
    (
        output.status.code(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

#[test]
fn a_check_reads_the_files() {
    let authority = Authority::new();
    let close = |name: &str| {
        let path = authority.path(name);
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    };
    let good = authority.put("good", &["edge.test"]);
    close("good.key");
    let (code, said) = check(&authority, &good);
    assert_eq!((code, said.as_str()), (Some(0), ""));

    let (pem, key) = authority.sign(&["edge.test"], 2021);
    authority.replace("old.pem", &pem);
    authority.replace("old.key", &key);
    let (code, said) = check(&authority, &authority.table("old"));
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("ingest.tls.certificate[0].cert: the certificate has expired"),
        "{said}"
    );
    assert!(
        said.contains("every user of this machine can read"),
        "{said}"
    );

    authority.replace("mixed.pem", &pem);
    authority.replace(
        "mixed.key",
        &std::fs::read_to_string(authority.path("good.key")).unwrap(),
    );
    let tables = format!(
        "{}{}[[ingest.listener]]\nname = \"b\"\nlisten = \"127.0.0.1:9999\"\n{}",
        authority.table("mixed"),
        authority.table("none"),
        authority
            .table("none2")
            .replace("ingest.tls", "ingest.listener.tls"),
    );
    let (code, said) = check(&authority, &tables);
    assert_eq!(code, Some(78), "{said}");
    for words in [
        "ingest.tls.certificate[0].key: ",
        "is not the key of the certificate in ",
        "ingest.tls.certificate[1].cert: ",
        "none.pem: cannot be read",
        "ingest.listener[0].tls.certificate[0].cert: ",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
}
