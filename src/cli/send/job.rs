//! The work of `tollgate send`: from the arguments to the last answer.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use http::Uri;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::batch::{Batcher, Envelope};
use super::deliver::{Courier, Delivered, Halt, Patience};
use super::lines::{self, Chunk};
use super::pace::Pacer;
use super::post::Endpoint;
use super::report::{Report, Summary};
use super::{SendArgs, token};
use crate::cli::output::escape;
use crate::cli::source::choose_logstore;
use crate::cli::{Exit, Failure};
use crate::config::{Config, Ingest};
use crate::foundation::secret::Secret;

/// First pause after a busy answer; each further one doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// Longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Everything that sending needs, decided.
pub(super) struct Job {
    courier: Arc<Courier>,
    place: Place,
    /// Why there is no token, when there is none.
    tokenless: Option<String>,
    concurrency: usize,
    max_events: usize,
    rate: Option<f64>,
}

/// Where the service is, for people.
struct Place {
    /// Without the path, in which a token may stand, and without a password.
    url: String,
    /// What to do when it cannot be reached, to be put behind the failure.
    help: &'static str,
}

/// The sending under way.
struct Sending {
    job: Job,
    report: Report,
    batcher: Batcher,
    pacer: Pacer,
    tasks: JoinSet<Delivered>,
    reading: bool,
    halt: Option<Halt>,
    broken: Option<io::Error>,
}

impl Job {
    /// Decides where events go and with what.
    ///
    /// # Errors
    /// When the arguments do not fit together, or a key that is there cannot be used.
    pub(super) fn new(args: &SendArgs, config: &Config) -> Result<Self, Failure> {
        let wrong = |message: &dyn std::fmt::Display| Failure::new(Exit::Config, message);
        let (project, logstore) =
            choose_logstore(config, args.project.as_ref(), args.logstore.as_ref())?;
        let mut keys = BTreeSet::new();
        if let Some((key, _)) = args.tags.iter().find(|(key, _)| !keys.insert(key)) {
            return Err(wrong(&format_args!("--tag {key} is given twice")));
        }
        let url = match &args.url {
            Some(url) => url.clone(),
            None => local_url(&config.ingest).map_err(|error| wrong(&error))?,
        };
        let own =
            args.url.is_none() || args.source.config.is_some() || args.source.data_dir.is_some();
        let token: Option<Secret> = match &args.token {
            Some(token) => Some(token.clone()).filter(|token| !token.expose().is_empty()),
            None if own => token::mint(config, &project, &logstore)?,
            None => None,
        };
        let tokenless = token.is_none().then(|| match own {
            true => format!(
                "No token was sent, since there is no key in {}: name the folder of the node with \
                 --data-dir, or give a token in TOLLGATE_TOKEN",
                config.data_dir.join("keys").display()
            ),
            false => "No token was sent: give one in TOLLGATE_TOKEN".to_owned(),
        });
        let endpoint = Endpoint::new(&url, project.as_str(), logstore.as_str(), token.as_ref())
            .map_err(|error| wrong(&error))?;
        let courier = Courier {
            endpoint,
            envelope: Envelope::new(
                args.topic.as_deref(),
                args.source_field.as_deref(),
                &args.tags,
            ),
            patience: Patience {
                tries: args.tries,
                first_pause: FIRST_PAUSE,
                longest_pause: LONGEST_PAUSE,
            },
            stop: CancellationToken::new(),
            reached: AtomicBool::new(false),
        };
        Ok(Self {
            courier: Arc::new(courier),
            place: Place::new(&url, args.url.is_none()),
            tokenless,
            concurrency: usize::from(args.concurrency),
            max_events: usize::from(args.batch),
            rate: args.rate,
        })
    }

    /// Sends everything. The summary is there also when it ended early.
    ///
    /// # Errors
    /// A fault of ours, or a second Ctrl-C.
    pub(super) async fn conduct(
        self,
        input: Box<dyn Read + Send>,
        length: Option<u64>,
    ) -> Result<(Summary, Result<Exit, Failure>), Failure> {
        let chunks =
            lines::spawn_reader(input).map_err(|error| Failure::new(Exit::Internal, error))?;
        let pacer = Pacer::new(self.rate, Instant::now());
        let batcher = Batcher::new(pacer.batch_size(self.max_events));
        let mut sending = Sending {
            report: Report::new(length),
            job: self,
            batcher,
            pacer,
            tasks: JoinSet::new(),
            reading: true,
            halt: None,
            broken: None,
        };
        let fault = sending.drive(chunks).await;
        let summary = sending.report.finish();
        fault?;
        Ok((summary, sending.verdict()))
    }
}

impl Sending {
    /// # Errors
    /// As [`Job::conduct`].
    async fn drive(
        &mut self,
        mut chunks: mpsc::Receiver<io::Result<Chunk>>,
    ) -> Result<(), Failure> {
        let internal = |error: &dyn std::fmt::Display| Failure::new(Exit::Internal, error);
        let mut interrupts = signal(SignalKind::interrupt()).map_err(|error| internal(&error))?;
        while self.reading || self.batcher.has_sealed() || !self.tasks.is_empty() {
            let room = self.tasks.len() < self.job.concurrency;
            let ready = self.batcher.has_sealed();
            let linger = self.batcher.deadline();
            tokio::select! {
                Some(done) = self.tasks.join_next() => {
                    self.settle(done).map_err(|error| internal(&error))?;
                }
                chunk = chunks.recv(), if self.reading && !ready => self.take(chunk),
                () = sleep_until(linger), if linger.is_some() && !ready => self.batcher.seal(),
                () = tokio::time::sleep_until(self.pacer.next()), if ready && room => self.send(),
                Some(()) = interrupts.recv() => self.interrupt()?,
            }
        }
        Ok(())
    }

    /// Takes what was read. The end of the input, and a read error, come as the last chunk.
    fn take(&mut self, chunk: Option<io::Result<Chunk>>) {
        match chunk {
            Some(Ok(chunk)) => {
                self.report
                    .read(chunk.bytes, chunk.events.len() + chunk.refused.len());
                chunk
                    .refused
                    .iter()
                    .for_each(|refused| self.report.refuse(refused));
                let now = Instant::now();
                chunk
                    .events
                    .into_iter()
                    .for_each(|event| self.batcher.push(event, now));
            }
            Some(Err(error)) => self.broken = Some(error),
            None => {
                self.reading = false;
                self.batcher.seal();
            }
        }
    }

    /// Sends the next batch.
    fn send(&mut self) {
        if let Some(batch) = self.batcher.pop() {
            self.pacer.sent(batch.len(), Instant::now());
            let courier = Arc::clone(&self.job.courier);
            self.tasks
                .spawn(async move { courier.deliver(&batch).await });
        }
    }

    fn settle(&mut self, done: Result<Delivered, JoinError>) -> Result<(), JoinError> {
        let delivered = done?;
        delivered
            .refused
            .iter()
            .for_each(|refused| self.report.refuse(refused));
        self.report.accept(delivered.accepted);
        if let Some(halt) = delivered.halt {
            self.halt(halt);
        }
        Ok(())
    }

    /// Stops reading and sending; attempts on their way are still waited for. The first cause counts.
    fn halt(&mut self, halt: Halt) {
        self.halt.get_or_insert(halt);
        self.job.courier.stop.cancel();
        self.reading = false;
        self.batcher.clear();
    }

    fn interrupt(&mut self) -> Result<(), Failure> {
        if self.halt == Some(Halt::Interrupted) {
            return Err(Failure::new(
                Exit::Partial,
                "interrupted; the last requests were not waited for",
            ));
        }
        self.halt(Halt::Interrupted);
        Ok(())
    }

    /// How the program ends.
    fn verdict(self) -> Result<Exit, Failure> {
        match (self.halt, self.broken) {
            (Some(Halt::Unreachable(why)), _) => {
                let (Place { url, help }, why) = (&self.job.place, escape(&why));
                let message = format!("the service at {url} cannot be reached: {why}{help}");
                Err(Failure::new(Exit::Unavailable, message))
            }
            (Some(Halt::Refused(told)), _) => {
                let (reason, message) = (escape(&told.reason), escape(&told.message));
                let help = match &self.job.tokenless {
                    Some(help) if told.reason == "credential_missing" => help,
                    _ => &message,
                };
                let message = format!("the service refused: {reason}: {help}");
                Err(Failure::new(Exit::Partial, message))
            }
            (Some(Halt::Interrupted), _) => Err(Failure::new(Exit::Partial, "interrupted")),
            (None, Some(error)) => Err(Failure::new(
                Exit::Partial,
                format!("reading the input: {error}"),
            )),
            (None, None) if self.report.all_accepted() => Ok(Exit::Success),
            (None, None) => Ok(Exit::Partial),
        }
    }
}

impl Place {
    fn new(url: &Uri, own: bool) -> Self {
        let scheme = url.scheme_str().unwrap_or_default();
        let host = url.host().unwrap_or_default();
        let port = url.port().map(|port| format!(":{port}"));
        Self {
            url: format!("{scheme}://{host}{}", port.unwrap_or_default()),
            help: match own {
                true => ". Start `tollgate run`, or name the service with --url",
                false => "",
            },
        }
    }
}

/// The address of a listener of this machine; that of all interfaces stands for the loopback.
fn local_url(ingest: &Ingest) -> Result<Uri, http::uri::InvalidUri> {
    let mut listen = ingest.listen;
    if listen.ip().is_unspecified() {
        listen.set_ip(Ipv4Addr::LOCALHOST.into());
    }
    let scheme = if ingest.tls.is_on() { "https" } else { "http" };
    format!("{scheme}://{listen}").parse()
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
