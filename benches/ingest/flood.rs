//! A flood of bad tokens, each another, beside good clients: is memory flat, and do the good ones
//! notice?
//!
//! Both loads are offered at a fixed rate, whatever the server does. The latency of the good clients
//! is taken in stretches, before, during and after the flood, and the median of the stretches' p99
//! counts: one stretch that the machine disturbed does not decide. Server, store and both loads
//! share the machine's processors, so the flood costs the good clients also what sending it costs.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tollgate::config::{JwtAlgorithm, JwtKey};

use crate::generator::{Generator, Outcome, Pace, Requests};
use crate::machine;
use crate::servers::Tollgate;
use crate::tell;
use crate::traffic::{self, Tokens};

/// Connections of the flood.
const CONNECTIONS: usize = 32;
/// Stretches of the flood, after each of which memory is read.
const STRETCHES: u32 = 10;
/// Stretches before the flood, and as many after it.
const QUIET: u32 = 4;
const SETTLE: Duration = Duration::from_secs(60);
/// How much more memory the second half may hold than the first quarter.
const FLAT: f64 = 1.10;
/// The most that the p99 of good clients may be, as a multiple of that without the flood.
const GOAL: f64 = 2.0;

const ISSUER: &str = "https://login.example.com/";
const RSA_KID: &str = "login";

/// Options of the flood.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Bad tokens to send.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1000..))]
    tokens: u32,
    /// Bad tokens a second.
    #[arg(long, default_value_t = 8000, value_parser = clap::value_parser!(u32).range(10..=100_000))]
    rate: u32,
    /// Requests of good clients a second.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(10..=100_000))]
    good: u32,
}

/// Bad tokens without end, each another: one in four of each kind.
struct BadTokens {
    next: AtomicU64,
    head: Vec<u8>,
    tail: Vec<u8>,
    /// The key that the second kind names.
    kid: String,
    expires: u64,
}

impl BadTokens {
    fn new(tollgate: &Tollgate) -> anyhow::Result<Self> {
        let (head, tail) = traffic::around_token()?;
        let key = tollgate.config.identity.jwt.first().context("no key")?;
        Ok(Self {
            next: AtomicU64::new(0),
            head,
            tail,
            kid: key.kid.clone(),
            expires: tollgate::foundation::clock::unix_seconds() + 3600,
        })
    }

    fn token(&self, number: u64) -> String {
        let kid = self.kid.as_str();
        match number % 4 {
            // No token at all.
            0 => format!("{number:032x}{}", "A".repeat(180)),
            // The right key, and another's signature.
            1 => self.compact("HS256", kid, "tollgate", number, 32),
            2 => self.compact("HS256", &format!("key-{number}"), "tollgate", number, 32),
            // The whole work of RSA, for nothing.
            _ => self.compact("RS256", RSA_KID, ISSUER, number, 256),
        }
    }

    fn compact(
        &self,
        algorithm: &str,
        kid: &str,
        issuer: &str,
        number: u64,
        signed: usize,
    ) -> String {
        let header = format!(r#"{{"alg":"{algorithm}","kid":"{kid}","typ":"JWT"}}"#);
        let claims = format!(
            r#"{{"iss":"{issuer}","aud":"tollgate","sub":"visitor-{number:012}","jti":"{number:022}","exp":{},"project":"sls-webtracking-mini","logstore":"web-tracking-logstore"}}"#,
            self.expires
        );
        // As a number it is smaller than any modulus, and is raised like a true one.
        let mut signature = vec![0u8; signed];
        let bytes = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
        let filled = signature.iter_mut().skip(1);
        filled
            .zip(bytes.iter().cycle())
            .for_each(|(to, from)| *to = *from);
        let mut token = String::with_capacity(1024);
        URL_SAFE_NO_PAD.encode_string(header, &mut token);
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(claims, &mut token);
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        token
    }
}

impl Requests for BadTokens {
    fn request<'s>(&'s self, _: usize, scratch: &'s mut Vec<u8>) -> &'s [u8] {
        let token = self.token(self.next.fetch_add(1, Ordering::Relaxed));
        scratch.clear();
        scratch.extend_from_slice(&self.head);
        scratch.extend_from_slice(token.as_bytes());
        scratch.extend_from_slice(&self.tail);
        scratch
    }

    fn count(&self) -> usize {
        usize::MAX / 64
    }
}

/// The good clients: how late they were answered, stretch by stretch.
#[derive(Default)]
pub struct Good {
    p50: Vec<u64>,
    p99: Vec<u64>,
}

impl Good {
    /// Adds a stretch.
    pub fn add(&mut self, outcome: &Outcome) {
        self.p50.extend(outcome.percentile(0.50));
        self.p99.extend(outcome.percentile(0.99));
    }

    /// Adds the stretches of another.
    pub fn join(&mut self, other: Self) {
        self.p50.extend(other.p50);
        self.p99.extend(other.p99);
    }

    /// The least and the most p99 of a stretch, in microseconds.
    pub fn range(&self) -> String {
        let micros = |nanos: Option<&u64>| nanos.copied().unwrap_or_default() / 1000;
        format!(
            "{}-{}",
            micros(self.p99.iter().min()),
            micros(self.p99.iter().max())
        )
    }

    #[expect(clippy::cast_precision_loss, reason = "microseconds are few")]
    /// p50 and p99, each the median of the stretches, in microseconds.
    pub fn medians(&mut self) -> (f64, f64) {
        let middle = |values: &mut Vec<u64>| {
            values.sort_unstable();
            values.get(values.len() / 2).copied().unwrap_or(0) as f64 / 1e3
        };
        (middle(&mut self.p50), middle(&mut self.p99))
    }
}

/// Runs it and prints it. False when an answer was not the expected one or an event was lost.
#[expect(
    clippy::too_many_lines,
    reason = "one run from its start to its report"
)]
pub fn run(options: &Options) -> anyhow::Result<bool> {
    let tollgate = Tollgate::start(machine::processors(), |config| {
        let keys = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/parsers/keys");
        config.identity.jwt.push(JwtKey {
            algorithms: vec![JwtAlgorithm::RS256],
            public_key: Some([keys, "rsa.pub.pem"].iter().collect()),
            ..JwtKey::named(RSA_KID, ISSUER, "tollgate")
        });
        Ok(())
    })?;
    machine::wake_precisely()?;
    let good = traffic::requests(&tollgate.config, Tokens::Good, 1)?;
    let bad = BadTokens::new(&tollgate)?;
    let duration = Duration::from_secs(1) * options.tokens / (options.rate * STRETCHES);
    let kib = || machine::resident_bytes(tollgate.pid()).map(|bytes| bytes >> 10);
    let (mut clients, warm) = Generator::connect(tollgate.ingest, &good, 16)?;
    let mut statuses = warm.statuses;
    let pace = |per_second| Pace::Rate {
        per_second,
        duration,
    };
    let mut quiet_run = |clients: &mut Generator<'_>, into: &mut Good| {
        for _ in 0..QUIET {
            let outcome = clients.run(pace(options.good))?;
            into.add(&outcome);
            merge(&mut statuses, &outcome);
        }
        anyhow::Ok(())
    };
    tell(format_args!(
        "good clients {}/s; bad tokens {}/s, {} in all, in {STRETCHES} stretches of {:.1} s",
        options.good,
        options.rate,
        options.tokens,
        duration.as_secs_f64()
    ));
    let (mut without, mut with) = (Good::default(), Good::default());
    quiet_run(&mut clients, &mut Good::default())?; // warms up
    quiet_run(&mut clients, &mut without)?;
    let (start, series) = (kib()?, tollgate.series()?);
    tell(format_args!(
        "{:>12} {:>12} {:>12}",
        "bad tokens", "RSS, KiB", "p99, us"
    ));
    tell(format_args!("{:>12} {start:>12} {:>12}", 0, "-"));
    let (mut attackers, first) = Generator::connect(tollgate.ingest, &bad, CONNECTIONS)?;
    // Each kind of refusal has its series from the first one on.
    let series_first = tollgate.series()?;
    let mut refused = first.statuses;
    let mut during = BTreeMap::new();
    let mut resident = Vec::new();
    for _ in 0..STRETCHES {
        let (attack, outcome) = std::thread::scope(|scope| {
            let attack = scope.spawn(|| attackers.run(pace(options.rate)));
            let outcome = clients.run(pace(options.good));
            (crate::generator::join(attack), outcome)
        });
        let (attack, outcome) = (attack?, outcome?);
        merge(&mut refused, &attack);
        merge(&mut during, &outcome);
        with.add(&outcome);
        resident.push(kib()?);
        tell(format_args!(
            "{:>12} {:>12} {:>12}",
            refused.values().sum::<u64>(),
            resident.last().copied().unwrap_or_default(),
            outcome.percentile(0.99).unwrap_or_default() / 1000
        ));
    }
    quiet_run(&mut clients, &mut without)?;
    let series_after = tollgate.series()?;
    during
        .iter()
        .for_each(|(status, count)| *statuses.entry(*status).or_default() += count);
    let counts = tollgate.settle(SETTLE)?;
    let growth = growth(&resident);
    let ((p50, p99), (flood_p50, flood_p99)) = (without.medians(), with.medians());
    tell(format_args!(
        "\nmemory of the second half over the first quarter: {growth:.2}, {}",
        if growth <= FLAT { "flat" } else { "it GROWS" }
    ));
    tell(format_args!(
        "good clients without the flood: p50 {p50:.0} us, p99 {p99:.0} us ({}); with it: p50 {flood_p50:.0} us, \
         p99 {flood_p99:.0} us ({}); p99 ratio {:.2}, goal <= {GOAL} {}",
        without.range(),
        with.range(),
        flood_p99 / p99,
        if flood_p99 <= GOAL * p99 {
            "met"
        } else {
            "MISSED"
        }
    ));
    tell(format_args!(
        "metric series: {series} before, {series_first} after {CONNECTIONS} bad tokens, {series_after} after all"
    ));
    let accepted = statuses.get(&200).copied().unwrap_or(0);
    let honest = series_after == series_first
        && statuses.keys().all(|status| *status == 200)
        && refused.keys().all(|status| *status == 401)
        && counts.accepted == accepted
        && counts.delivered == accepted;
    tell(format_args!(
        "good answers {statuses:?}, bad answers {refused:?}, delivered {}: {}",
        counts.delivered,
        if honest {
            "every answer and event is accounted for"
        } else {
            "NOT all accounted for"
        }
    ));
    Ok(honest)
}

/// Adds the answers of a run.
pub fn merge(into: &mut BTreeMap<u16, u64>, outcome: &Outcome) {
    for (status, count) in &outcome.statuses {
        *into.entry(*status).or_default() += count;
    }
}

/// The most of the second half over the most of the first quarter.
#[expect(clippy::cast_precision_loss, reason = "KiB are far below 2^52")]
fn growth(resident: &[u64]) -> f64 {
    let early = resident.iter().take(resident.len().div_ceil(4)).max();
    let late = resident.iter().skip(resident.len() / 2).max();
    match (early, late) {
        (Some(early), Some(late)) => *late as f64 / *early as f64,
        _ => f64::NAN,
    }
}
