//! Compiles the messages in `proto/` (no protoc needed) and records the commit for `--version`: the one that
//! `TOLLGATE_COMMIT` names, for builds without the repository, else that of the work tree.
use std::process::Command;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(["proto/sls.proto", "proto/otlp_trace.proto"], ["proto"])?;
    let mut config = prost_build::Config::new();
    config.bytes(["."]);
    config.compile_fds(descriptors)?;

    println!("cargo:rerun-if-changed=.git/HEAD");
    println!("cargo:rerun-if-changed=.git/refs/heads");
    println!("cargo:rerun-if-env-changed=TOLLGATE_COMMIT");
    let named = std::env::var_os("TOLLGATE_COMMIT").and_then(|it| it.into_string().ok());
    let named = named.map(|it| it.chars().take(12).collect::<String>());
    let commit = named.filter(|it| !it.is_empty()).or_else(of_work_tree);
    let commit = commit.unwrap_or_else(|| "unknown".to_owned());
    println!("cargo:rustc-env=TOLLGATE_COMMIT={commit}");
    Ok(())
}

fn of_work_tree() -> Option<String> {
    let output = Command::new("git")
        .args(["rev-parse", "--short=12", "HEAD"])
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}
