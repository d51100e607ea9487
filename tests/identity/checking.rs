//! `tollgate check`: mistakes of identity are found before a start.

use std::process::Output;

use crate::site::{SECRET, USUAL, with};
use crate::support::binary;

fn check(config: &str) -> (tempfile::TempDir, Output) {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().to_str().unwrap();
    std::fs::write(folder.path().join("server-1.secret"), SECRET).unwrap();
    let config = format!("data_dir = \"{{dir}}/data\"\n{config}").replace("{dir}", dir);
    let path = folder.path().join("config.toml");
    std::fs::write(&path, config).unwrap();
    let output = binary().args(["check", "--config"]).arg(path).output();
    (folder, output.unwrap())
}

#[test]
fn a_good_configuration_is_good_and_no_key_is_made() {
    let (folder, output) = check(USUAL);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{error}");
    assert!(!folder.path().join("data").exists());
}

#[test]
fn every_mistake_of_policies_keys_and_secrets_is_told_at_once() {
    let more = r#"
[[identity.policy]]
name = "unused"
document = '{'
[[identity.policy]]
name = "gone"
file = "{dir}/no-such-policy.json"
[[identity.jwt]]
kid = "issuer"
issuer = "login"
audience = "edge"
algorithms = ["RS256"]
public_key = "{dir}/server-1.secret"
[[identity.access_key]]
id = "unset"
secret = "file:{dir}/no-such-secret"
"#;
    let effect = ("\"Effect\": \"Allow\"", "\"Effect\": \"Alow\"");
    let config = format!("{more}{}", with(USUAL, &[effect]));
    let (folder, output) = check(&config);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(78), "{error}");
    for told in [
        "identity.access_key[0].secret: ",
        "identity.policy[0]: `unused`: ",
        "no-such-policy.json: ",
        "identity.policy[2]: `write-web`: /Statement/0/Effect: ",
        "identity.jwt[0]: (`issuer`): ",
    ] {
        assert_eq!(error.matches(told).count(), 1, "{told}\n{error}");
    }
    assert!(!error.contains(SECRET));
    assert!(!folder.path().join("data").exists());
}
