//! From the arguments and an input to the summary, against a real HTTP service.

use std::sync::mpsc;

use clap::Parser;

use super::report::Summary;
use super::testing::start;
use super::*;
use crate::config::Config;

#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    args: SendArgs,
}

fn job(url: &str, arguments: &[&str]) -> Result<Job, Failure> {
    let fixed = [
        "send",
        "-",
        "--url",
        url,
        "--project",
        "shop",
        "--logstore",
        "web",
    ];
    let cli = Cli::try_parse_from([fixed.as_slice(), arguments].concat()).unwrap();
    Job::new(&cli.args, &Config::quickstart())
}

fn input(text: &str) -> Box<dyn Read + Send> {
    Box::new(io::Cursor::new(text.to_owned()))
}

fn count(summary: &Summary, name: &str) -> u64 {
    let summary = summary.text();
    let line = summary
        .lines()
        .find(|line| line.trim_start().starts_with(name))
        .unwrap();
    line.rsplit_once(' ').unwrap().1.parse().unwrap()
}

#[tokio::test]
async fn every_line_is_sent_and_every_bad_one_is_counted_by_its_reason() {
    let service = start(vec![]).await;
    let mut lines: Vec<_> = (0..250).map(|n| format!(r#"{{"n":"{n}"}}"#)).collect();
    let job_of = |arguments: &[&str]| job(&service.url, arguments).unwrap();
    let (summary, end) = job_of(&[])
        .conduct(input(&lines.join("\n")), None)
        .await
        .unwrap();
    assert_eq!(
        (count(&summary, "accepted"), end.unwrap()),
        (250, Exit::Success)
    );
    assert_eq!(service.requests.lock().unwrap().iter().max(), Some(&100));
    lines[7] = r#"{"bad":1}"#.to_owned();
    lines[8] = "not json".to_owned();
    let (summary, end) = job_of(&[])
        .conduct(input(&lines.join("\n")), None)
        .await
        .unwrap();
    assert_eq!(end.unwrap(), Exit::Partial);
    for (name, expected) in [
        ("events read", 250),
        ("accepted", 248),
        ("refused", 2),
        ("invalid_key", 1),
        ("not_json", 1),
    ] {
        assert_eq!(
            count(&summary, name),
            expected,
            "{name}\n{}",
            summary.text()
        );
    }
}

#[tokio::test]
async fn an_empty_input_is_a_success() {
    let job = job("http://127.0.0.1:1", &[]).unwrap();
    let (summary, end) = job.conduct(input("\n\n"), None).await.unwrap();
    assert_eq!(
        (count(&summary, "events read"), end.unwrap()),
        (0, Exit::Success)
    );
}

#[tokio::test]
async fn a_service_that_is_not_there_has_its_own_exit_code_and_the_summary_says_what_was_not_sent()
{
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let job = job(&format!("http://me:pass@{free}/t/a-token"), &[]).unwrap();
    let (summary, end) = job.conduct(input("{\"a\":1}\n"), None).await.unwrap();
    let failure = end.unwrap_err();
    assert_eq!(failure.exit(), Exit::Unavailable);
    let start = format!("the service at http://{free} cannot be reached: ");
    assert!(failure.to_string().starts_with(&start), "{failure}");
    assert_eq!(count(&summary, "not sent or not answered"), 1);
}

#[tokio::test]
async fn who_sends_no_token_is_told_why_and_a_service_of_this_machine_how_to_start_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::quickstart();
    config.data_dir = folder.path().to_owned();
    let failure = async |config: &Config| {
        let cli = Cli::try_parse_from(["send", "-", "--project", "shop", "--logstore", "web"]);
        let job = Job::new(&cli.unwrap().args, config).unwrap();
        let (_, end) = job.conduct(input("{\"a\":1}\n"), None).await.unwrap();
        end.unwrap_err().to_string()
    };
    let service = start(vec![(401, "credential_missing")]).await;
    config.ingest.listen = service
        .url
        .strip_prefix("http://")
        .unwrap()
        .parse()
        .unwrap();
    let told = failure(&config).await;
    let keys = folder.path().join("keys").display().to_string();
    assert!(
        told.contains(&keys) && told.contains("--data-dir"),
        "{told}"
    );
    drop(service);
    let told = failure(&config).await;
    assert!(
        told.contains("tollgate run") && told.contains("--url"),
        "{told}"
    );
}

#[test]
fn a_folder_is_no_input() {
    let folder = tempfile::tempdir().unwrap();
    assert!(open(folder.path()).is_err());
}

/// Lines without end.
struct Endless;

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let line = b"{\"a\":1}\n";
        let end = line.len().min(buffer.len());
        buffer[..end].copy_from_slice(&line[..end]);
        Ok(end)
    }
}

#[tokio::test]
async fn a_refused_token_ends_even_an_endless_input() {
    let service = start(vec![
        (200, ""),
        (401, "token_expired"),
        (401, "token_expired"),
    ])
    .await;
    let job = job(&service.url, &["--concurrency", "2", "--token", "a.b.c"]).unwrap();
    let (summary, end) = job.conduct(Box::new(Endless), None).await.unwrap();
    let failure = end.unwrap_err();
    assert_eq!(failure.exit(), Exit::Partial);
    assert!(failure.to_string().contains("token_expired"), "{failure}");
    assert!(count(&summary, "not sent or not answered") > 0);
}

/// Gives what a test sends, and then waits for more.
struct Slow(mpsc::Receiver<&'static [u8]>);

impl Read for Slow {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.0.recv().unwrap_or_default();
        buffer[..bytes.len()].copy_from_slice(bytes);
        Ok(bytes.len())
    }
}

#[tokio::test]
async fn a_slow_input_is_sent_as_it_comes() {
    let service = start(vec![]).await;
    let (lines, slow) = mpsc::channel();
    lines.send(&b"{\"a\":1}\n"[..]).unwrap();
    let requests = std::sync::Arc::clone(&service.requests);
    let job = job(&service.url, &[]).unwrap();
    let feed = async move {
        while requests.lock().unwrap().is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        lines.send(&b"{\"a\":2}\n"[..]).unwrap();
    };
    let (ended, ()) = tokio::join!(job.conduct(Box::new(Slow(slow)), None), feed);
    let (summary, end) = ended.unwrap();
    assert_eq!(
        (count(&summary, "accepted"), end.unwrap()),
        (2, Exit::Success)
    );
}

#[test]
fn a_doubled_tag_is_a_mistake_and_an_empty_token_is_none() {
    let doubled = job("http://127.0.0.1:1", &["--tag", "k=1", "--tag", "k=2"]);
    assert_eq!(doubled.err().unwrap().exit(), Exit::Config);
    assert!(job("http://127.0.0.1:1", &["--token", ""]).is_ok());
}

#[test]
fn arguments_out_of_range_are_refused() {
    for bad in [
        ["--rate", "0"],
        ["--rate", "NaN"],
        ["--batch", "0"],
        ["--tag", "=v"],
        ["--tries", "0"],
    ] {
        let parsed = Cli::try_parse_from([&["send", "-"], bad.as_slice()].concat());
        assert!(parsed.is_err(), "{bad:?}");
    }
}
