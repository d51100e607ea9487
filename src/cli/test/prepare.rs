//! From a file of tests to requests that can be sent, with everything that is wrong with it.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use crate::app::{Stage, TrialRequest};
use crate::cli::moment;
use crate::config::{Config, Document, Problem, Problems, Scalar, nearest_word};
use crate::event::Reason;
use crate::foundation::clock;

use super::file::{Expect, RequestSpec, Test, TestFile};
use super::request::Making;

/// Requests of a test.
const MAX_REQUESTS: u32 = 10_000;
/// Expected events of a request.
const MAX_STORED: usize = 256;
/// The address of a request that does not say (RFC 5737).
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1));

/// A test that can be run.
#[derive(Debug)]
pub(super) struct Prepared<'f> {
    pub(super) test: &'f Test,
    pub(super) requests: Vec<PreparedRequest<'f>>,
}

/// A request that can be sent.
#[derive(Debug)]
pub(super) struct PreparedRequest<'f> {
    pub(super) request: TrialRequest,
    /// When it comes for the first time, unix milliseconds.
    pub(super) first: u64,
    /// Milliseconds from one time to the next.
    pub(super) step: u64,
    pub(super) spec: &'f RequestSpec,
    /// For people: its method and path, without credentials.
    pub(super) shown: String,
}

/// The tests of a file.
///
/// # Errors
/// Everything that is wrong with them.
pub(super) fn prepare<'f>(
    document: &'f Document<TestFile>,
    folder: &Path,
    config: &Config,
) -> Result<Vec<Prepared<'f>>, Problems> {
    let mut preparing = Preparing {
        config,
        folder,
        now: clock::unix_millis(),
        problems: Vec::new(),
    };
    let tests = &document.value.tests;
    if tests.is_empty() {
        preparing.wrong("", "the file has no [[test]]");
    }
    let prepared = tests.iter().enumerate();
    let prepared = prepared.map(|(index, test)| preparing.test(&format!("test[{index}]"), test));
    let prepared = prepared.collect();
    match document.problems(preparing.problems) {
        None => Ok(prepared),
        Some(problems) => Err(problems),
    }
}

struct Preparing<'c> {
    config: &'c Config,
    folder: &'c Path,
    now: u64,
    problems: Vec<Problem>,
}

impl Preparing<'_> {
    fn wrong(&mut self, key: &str, message: impl Into<String>) {
        self.problems.push(Problem::error(key, message));
    }

    fn test<'f>(&mut self, path: &str, test: &'f Test) -> Prepared<'f> {
        if test.name.trim().is_empty() {
            self.wrong(&format!("{path}.name"), "say what holds");
        }
        let requests = &test.request;
        if requests.is_empty() {
            self.wrong(
                &format!("{path}.request"),
                "a test has at least one request",
            );
        }
        let all: u32 = requests
            .iter()
            .fold(0, |sum, it| sum.saturating_add(it.repeat));
        if all > MAX_REQUESTS {
            let message = format!("a test has at most {MAX_REQUESTS} requests, not {all}");
            self.wrong(path, message);
        }
        if test.expect.is_none() && requests.iter().all(|it| it.expect.is_none()) {
            let problem = Problem::error(path, "a test that expects nothing");
            let help = "add [test.expect], or `expect` to a request";
            self.problems.push(problem.help(help));
        }
        if let Some(expect) = &test.expect {
            self.expect(&format!("{path}.expect"), expect);
            let last = requests.last().and_then(|it| it.expect.as_ref());
            if last.is_some() {
                let message = "what is expected of the last request stands in two places";
                self.wrong(&format!("{path}.expect"), message);
            }
        }
        let mut clock = None;
        let requests = requests.iter().enumerate().filter_map(|(index, spec)| {
            let path = format!("{path}.request[{index}]");
            if let Some(expect) = &spec.expect {
                self.expect(&format!("{path}.expect"), expect);
            }
            self.request(&path, spec, &mut clock)
        });
        Prepared {
            requests: requests.collect(),
            test,
        }
    }

    /// A request, and when the next one comes at the earliest.
    fn request<'f>(
        &mut self,
        path: &str,
        spec: &'f RequestSpec,
        clock: &mut Option<u64>,
    ) -> Option<PreparedRequest<'f>> {
        let step = spec.after.map_or(0, |it| {
            u64::try_from(it.get().as_millis()).unwrap_or(u64::MAX)
        });
        let given = spec.time.as_ref();
        let given = given.and_then(|it| self.moment(&format!("{path}.time"), it));
        let before = clock.unwrap_or(self.now);
        let first = match given {
            None => before.saturating_add(step),
            Some(given) if clock.is_some_and(|before| given < before) => {
                let message = "it would come before the request in front of it";
                self.wrong(&format!("{path}.time"), message);
                before
            }
            Some(given) => given,
        };
        let repetitions = u64::from(spec.repeat.saturating_sub(1));
        *clock = Some(first.saturating_add(step.saturating_mul(repetitions)));
        let issued = |spec: Option<&Scalar>, key: &str, this: &mut Self| {
            let issued = spec.and_then(|it| this.moment(&format!("{path}.{key}.issued"), it));
            issued.unwrap_or(first) / 1000
        };
        let of_token = spec.token.as_ref().and_then(|it| it.issued.as_ref());
        let of_session = spec.session.as_ref().and_then(|it| it.issued.as_ref());
        let issued = match of_session {
            Some(_) => issued(of_session, "session", self),
            None => issued(of_token, "token", self),
        };
        let making = Making {
            config: self.config,
            folder: self.folder,
            spec,
            issued,
        };
        match making.request() {
            Ok((request, shown)) => Some(PreparedRequest {
                request: request.from(spec.client.unwrap_or(CLIENT), spec.tls),
                first,
                step,
                spec,
                shown,
            }),
            Err(wrong) => {
                let key = match wrong.key {
                    "" => path.to_owned(),
                    key => format!("{path}.{key}"),
                };
                let mut problem = Problem::error(key, wrong.message);
                problem.help = wrong.help;
                self.problems.push(problem);
                None
            }
        }
    }

    /// Unix milliseconds.
    fn moment(&mut self, key: &str, scalar: &Scalar) -> Option<u64> {
        match moment::parse(&scalar.to_string()) {
            Ok(seconds) => Some(seconds.saturating_mul(1000)),
            Err(message) => {
                self.wrong(key, message);
                None
            }
        }
    }

    fn expect(&mut self, path: &str, expect: &Expect) {
        if expect.is_empty() {
            self.wrong(path, "it expects nothing");
        }
        let reasons = || Reason::ALL.iter().map(|reason| reason.label());
        for (key, word) in [("reason", &expect.reason), ("observed", &expect.observed)] {
            self.word(
                &format!("{path}.{key}"),
                word.as_ref(),
                "reason",
                reasons().collect(),
            );
        }
        let stages = Stage::ALL.iter().map(|stage| stage.label()).collect();
        self.word(
            &format!("{path}.stage"),
            expect.stage.as_ref(),
            "stage",
            stages,
        );
        let config = self.config;
        let limits = config.limit_rules.iter().map(|rule| rule.name.as_str());
        let limit = expect.limit.as_ref();
        self.word(
            &format!("{path}.limit"),
            limit,
            "limit of the configuration",
            limits.collect(),
        );
        let logstores = config.projects.iter().flat_map(|project| {
            let logstores = project.logstores.iter();
            logstores.map(|logstore| logstore.name.as_str())
        });
        let logstore = expect.logstore.as_ref().map(ToString::to_string);
        let what = "logstore of the configuration";
        self.word(
            &format!("{path}.logstore"),
            logstore.as_ref(),
            what,
            logstores.collect(),
        );
        if expect
            .stored
            .as_ref()
            .is_some_and(|it| it.len() > MAX_STORED)
        {
            let message = format!("at most {MAX_STORED} events are looked for; see `stored_count`");
            self.wrong(&format!("{path}.stored"), message);
        }
    }

    /// Checks that a word is one of those that are known.
    fn word(&mut self, key: &str, word: Option<&String>, what: &str, known: Vec<&str>) {
        let Some(word) = word.filter(|word| !known.contains(&word.as_str())) else {
            return;
        };
        let mut problem = Problem::error(key, format!("`{word}` is no {what}"));
        let near = nearest_word(word, &known);
        problem.help = near.map(|near| format!("did you mean `{near}`?"));
        self.problems.push(problem);
    }
}
