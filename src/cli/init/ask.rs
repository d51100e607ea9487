//! The questions.

use std::io::{self, BufRead as _, Write as _};
use std::path::PathBuf;

use super::plan::{
    Clients, ENDPOINT, Front, KEY_ID, KEY_SECRET, OF_ENDPOINT, OF_REDIS, Plan, Shared, Sls,
    without_password,
};
use super::{InitArgs, reference};
use crate::cli::{Exit, Failure, output};
use crate::foundation::names::{LogstoreName, ProjectName};
use crate::foundation::network::Network;

/// Asks for what no option says.
pub(super) fn plan(args: &InitArgs) -> Result<Plan, Failure> {
    output::note("A first configuration. Enter takes what stands in brackets.\n");
    let mut plan = Plan::of(args)?;
    if args.clients.is_none() {
        let asked = "Who sends events?
  1  web pages, with tokens (JWT) that your backend makes
  2  mini programs, with temporary credentials from your app server
  3  anyone (a demo)";
        plan.clients = match choice(asked, 3)? {
            1 => Clients::Web,
            2 => Clients::MiniProgram,
            _ => Clients::Open,
        };
    }
    if args.project.is_none() {
        let read = |text: &str| ProjectName::new(text).map_err(|error| error.to_string());
        plan.project = question("Project, as clients name it", &plan.project, read)?
            .as_str()
            .to_owned();
    }
    if args.logstore.is_none() {
        let read = |text: &str| LogstoreName::new(text).map_err(|error| error.to_string());
        plan.logstore = question("Logstore, as clients name it", &plan.logstore, read)?
            .as_str()
            .to_owned();
    }
    if args.origin.is_empty() && plan.clients == Clients::Web {
        let asked = "Origins of your pages, such as https://shop.example.com (`*` for all)";
        plan.origins = question(asked, "*", words)?;
    }
    if args.store.is_none() && args.endpoint.is_none() {
        let asked = "Where do events go?
  1  the embedded logstore, on local disk (development, small sites)
  2  Simple Log Service";
        if choice(asked, 2)? == 2 {
            plan.sls = Some(sls()?);
        }
    }
    if matches!(plan.front, Front::Plain) {
        plan.front = front()?;
    }
    if args.redis.is_empty() {
        plan.shared = shared()?;
    }
    if !args.make_keys {
        let asked = "Make the keys that it needs now, for their owner only? (yes or no)";
        plan.make_keys = question(asked, "yes", yes)?;
    }
    Ok(plan)
}

fn sls() -> Result<Sls, Failure> {
    let any = |text: &str| Ok(text.to_owned());
    let secret = |text: &str| reference(text).map(|it| it.to_string());
    let asked = "Id of the access key, or env:NAME or file:PATH, which hold it";
    Ok(Sls {
        endpoint: question("Endpoint, without the project", ENDPOINT, |text| {
            without_password(text, OF_ENDPOINT)
        })?,
        region: None,
        key_id: question(asked, KEY_ID, any)?,
        key_secret: question(
            "Where its secret is: env:NAME or file:PATH",
            KEY_SECRET,
            secret,
        )?,
    })
}

fn front() -> Result<Front, Failure> {
    let asked = "What stands in front?
  1  nothing, or a proxy on this machine: plain HTTP on 127.0.0.1
  2  a load balancer
  3  nothing, and TLS ends here";
    Ok(match choice(asked, 3)? {
        1 => Front::Plain,
        2 => {
            let read = |text: &str| {
                let words = text.split_whitespace();
                let all: Result<Vec<Network>, _> = words.map(str::parse).collect();
                all.map_err(|error| error.to_string())
            };
            Front::LoadBalancer(question(
                "Networks of the load balancer",
                "10.0.0.0/8",
                read,
            )?)
        }
        _ => {
            let path = |text: &str| match text {
                "" => Err("name a file".to_owned()),
                text => Ok(PathBuf::from(text)),
            };
            Front::Tls {
                cert: question("File of the certificate", "tls-cert.pem", path)?,
                key: question("File of its key", "tls-key.pem", path)?,
            }
        }
    })
}

fn shared() -> Result<Option<Shared>, Failure> {
    let count = |text: &str| match text.parse() {
        Ok(count @ 1..=1024) => Ok(count),
        _ => Err("a number from 1 to 1024".to_owned()),
    };
    let nodes: u32 = question("How many nodes?", "1", count)?;
    if nodes == 1 {
        return Ok(None);
    }
    let asked = "Redis or Valkey that they share limits through";
    let urls = question(asked, "redis://127.0.0.1:6379", |text| {
        without_password(text, OF_REDIS).and_then(|text| words(&text))
    })?;
    let password = |text: &str| match text {
        "none" => Ok(None),
        text => reference(text).map(|it| Some(it.to_string())),
    };
    let asked = "Where its password is: env:NAME or file:PATH (or none)";
    Ok(Some(Shared {
        urls,
        password: question(asked, "none", password)?,
        nodes,
    }))
}

fn words(text: &str) -> Result<Vec<String>, String> {
    let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
    match words.is_empty() {
        true => Err("at least one".to_owned()),
        false => Ok(words),
    }
}

fn yes(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(true),
        "n" | "no" => Ok(false),
        _ => Err("yes or no".to_owned()),
    }
}

/// One of the numbers from 1 on; the first is usual.
fn choice(asked: &str, most: u8) -> Result<u8, Failure> {
    question(asked, "1", |text| match text.parse() {
        Ok(number) if (1..=most).contains(&number) => Ok(number),
        _ => Err(format!("a number from 1 to {most}")),
    })
}

/// Asks until there is an answer that can be read.
fn question<T>(
    asked: &str,
    usual: &str,
    read: impl Fn(&str) -> Result<T, String>,
) -> Result<T, Failure> {
    let failed = |error: io::Error| Failure::new(Exit::Partial, format!("no answer: {error}"));
    loop {
        let mut stderr = io::stderr().lock();
        write!(stderr, "{asked} [{usual}]: ")
            .and_then(|()| stderr.flush())
            .map_err(failed)?;
        drop(stderr);
        let mut line = String::new();
        if io::stdin().lock().read_line(&mut line).map_err(failed)? == 0 {
            return Err(Failure::new(
                Exit::Partial,
                "no answer; nothing was written",
            ));
        }
        let text = match line.trim() {
            "" => usual,
            text => text,
        };
        match read(text) {
            Ok(answer) => return Ok(answer),
            Err(why) => output::note(output::escape(&why)),
        }
    }
}
