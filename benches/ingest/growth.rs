//! The cost of a request as the numbers grow: a million tokens, subjects and addresses, a thousand
//! logstores and a hundred schemas, beside a thousand of each, one logstore and one schema.
//!
//! Both gateways have everything on and the same limits. The clients stand behind a proxy that is trusted,
//! which names the address of each. Before anything is measured each of them has sent a request, and the
//! rates of the limits are so slow that what they remember of each is still there to be found. Then
//! requests come in random order: few of a million find what they need in the caches of the processor.
//!
//! Events of a thousand logstores also leave in a thousand LogGroups where those of one leave in a few:
//! that is told apart by a third run, of the large gateway with all requests to one logstore.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use tollgate::config::{Config, Logstore};
use tollgate::foundation::names::LogstoreName;
use tollgate::foundation::network::Network;
use tollgate::foundation::units::ByteSize;
use tollgate::gate::identity::{NewToken, mint_token};

use crate::generator::{Generator, Outcome, Pace, Requests};
use crate::machine::{self, Window};
use crate::report::{Measured, middle};
use crate::servers::Tollgate;
use crate::setup;
use crate::tell;
use crate::traffic::{self, TOKEN_SECONDS, Tokens};

/// Keys that a limit holds, on either side.
const MAX_KEYS: u32 = 4_194_304;
/// A request is remembered for some minutes.
const SLOW_LIMITS: [&str; 3] = [
    "name = \"per-address\"\nkey = [\"address\"]\nrate = [{ count = 10000, per = \"31d\" }]",
    "name = \"per-subject\"\nkey = [\"subject\"]\nunit = \"events\"\nrate = [{ count = 10000, per = \"31d\" }]",
    "name = \"per-logstore\"\nkey = [\"logstore\"]\nunit = \"bytes\"\nrate = [{ count = \"10GiB\", per = \"1s\" }]",
];
/// The most that a request may cost, as a multiple of what it costs with small numbers.
const GOAL: f64 = 1.2;
const CONNECTIONS: usize = 32;
const REST: Duration = Duration::from_millis(20);
const DELIVERY: Duration = Duration::from_millis(500);
const SETTLE: Duration = Duration::from_secs(60);

/// Options.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Tokens, each of another subject.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1000..=2_000_000))]
    tokens: u32,
    /// Addresses, at most as many as tokens.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1000..=2_000_000))]
    addresses: u32,
    /// Logstores.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    logstores: u32,
    /// Schemas, of which each logstore has one.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    schemas: u32,
    /// Requests a second.
    #[arg(long, default_value_t = 4000, value_parser = clap::value_parser!(u32).range(10..=100_000))]
    rate: u32,
    /// Repetitions of each.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u16).range(3..=100))]
    repetitions: u16,
    /// Seconds of load in a repetition.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=60))]
    seconds: u32,
}

/// How many there are of each.
#[derive(Clone, Copy, Debug)]
struct Numbers {
    tokens: u32,
    addresses: u32,
    logstores: u32,
    schemas: u32,
}

const FEW: Numbers = Numbers {
    tokens: 1000,
    addresses: 1000,
    logstores: 1,
    schemas: 1,
};

/// Runs it and prints it. False when a request was not answered with 200 or an event was lost.
pub fn run(options: &Options) -> anyhow::Result<bool> {
    let many = Numbers {
        tokens: options.tokens,
        addresses: options.addresses.min(options.tokens),
        logstores: options.logstores,
        schemas: options.schemas,
    };
    let (few, many) = (Site::start(FEW)?, Site::start(many)?);
    machine::wake_precisely()?;
    let mut answered = [few.fill()?, many.fill()?];
    let pace = Pace::Rate {
        per_second: options.rate,
        duration: Duration::from_secs(u64::from(options.seconds)),
    };
    let mut rows = Vec::new();
    for _ in 0..options.repetitions {
        let row = [
            few.measure(pace, None, &mut answered[0])?,
            many.measure(pace, Some(0), &mut answered[1])?,
            many.measure(pace, None, &mut answered[1])?,
        ];
        tell(format_args!(
            "  few {:6.1} us   many to one logstore {:6.1} us   many {:6.1} us   others {:4.1} %",
            row[0].cpu_us,
            row[1].cpu_us,
            row[2].cpu_us,
            100.0 * row.iter().map(|side| side.others).fold(0.0, f64::max),
        ));
        rows.push(row);
    }
    report(&rows)?;
    let mut honest = true;
    for (site, answered) in [&few, &many].into_iter().zip(&answered) {
        let counts = site.tollgate.settle(SETTLE)?;
        let agrees = answered.others == 0
            && counts.accepted == answered.good
            && counts.delivered == answered.good;
        honest &= agrees;
        tell(format_args!(
            "{} tokens: answered with 200 {}, otherwise {}; delivered {}: {}",
            site.numbers.tokens,
            answered.good,
            answered.others,
            counts.delivered,
            if agrees {
                "all accounted for"
            } else {
                "NOT all accounted for"
            }
        ));
    }
    Ok(honest)
}

/// Few, many to one logstore, and many.
type Row = [Measured; 3];

fn report(rows: &[Row]) -> anyhow::Result<()> {
    tell(format_args!(
        "\n{:<22} {:>10} {:>7} {:>22} {:>14}",
        "", "CPU, us", "ratio", "p50 / p99 / p99.9 us", "resident, MiB"
    ));
    let mut last = f64::NAN;
    for (at, name) in ["few", "many, to one logstore", "many"].iter().enumerate() {
        let of = |figure: &dyn Fn(&Measured) -> f64| {
            let sides = rows.iter().filter_map(|row| row.get(at));
            middle(sides.map(figure).collect()).context("no repetition")
        };
        let ratios = rows
            .iter()
            .filter_map(|row| Some(row.get(at)?.cpu_us / row.first()?.cpu_us));
        last = middle(ratios.collect()).context("no repetition")?;
        let micros =
            |latency: fn(&Measured) -> Option<f64>| of(&|m| latency(m).unwrap_or(f64::NAN));
        tell(format_args!(
            "{name:<22} {:>10.1} {last:>7.2} {:>22} {:>14.1}",
            of(&|m| m.cpu_us)?,
            format!(
                "{:.0} / {:.0} / {:.0}",
                micros(|m| m.p50_us)?,
                micros(|m| m.p99_us)?,
                micros(|m| m.p999_us)?
            ),
            of(&|m| m.resident_mib)?,
        ));
    }
    tell(format_args!(
        "many of few: {last:.2}, goal <= {GOAL} {}\n",
        if last <= GOAL { "met" } else { "MISSED" }
    ));
    Ok(())
}

#[derive(Debug, Default)]
struct Answered {
    good: u64,
    others: u64,
}

impl Answered {
    fn add(&mut self, outcome: &Outcome) {
        let good = outcome.answered(200);
        self.good += good;
        self.others += outcome.answers() - good;
    }
}

/// A gateway with its numbers, and clients for it.
struct Site {
    numbers: Numbers,
    tollgate: Tollgate,
    crowd: Crowd,
}

impl Site {
    fn start(numbers: Numbers) -> anyhow::Result<Self> {
        let tollgate = Tollgate::start(machine::processors(), |config| configure(config, numbers))?;
        let start = Instant::now();
        let crowd = Crowd::new(&tollgate.config, numbers)?;
        tell(format_args!(
            "{} tokens made in {:.0} s, for {} logstores with {} schemas",
            numbers.tokens,
            start.elapsed().as_secs_f64(),
            numbers.logstores,
            numbers.schemas,
        ));
        Ok(Self {
            numbers,
            tollgate,
            crowd,
        })
    }

    /// Each client sends a request.
    fn fill(&self) -> anyhow::Result<Answered> {
        let turn = Turn {
            crowd: &self.crowd,
            next: AtomicU64::new(0),
            order: Order::InTurn,
            logstore: None,
        };
        let mut answered = Answered::default();
        let (mut generator, warm) = Generator::connect(self.tollgate.ingest, &turn, CONNECTIONS)?;
        answered.add(&warm);
        let requests = u64::from(self.numbers.tokens);
        let outcome = generator.run(Pace::Count { requests })?;
        answered.add(&outcome);
        tell(format_args!(
            "{requests} requests in {:.0} s; limits remember {} keys; {} MiB resident",
            outcome.elapsed.as_secs_f64(),
            self.tollgate.total("tollgate_limit_keys")?,
            machine::resident_bytes(self.tollgate.pid())? >> 20,
        ));
        self.tollgate.settle(SETTLE)?;
        Ok(answered)
    }

    /// One repetition, with requests in random order; all of them to this logstore, if it is given.
    fn measure(
        &self,
        pace: Pace,
        logstore: Option<usize>,
        answered: &mut Answered,
    ) -> anyhow::Result<Measured> {
        let turn = Turn {
            crowd: &self.crowd,
            // Begins anywhere, and each time elsewhere.
            next: AtomicU64::new(answered.good << 20),
            order: Order::Random,
            logstore,
        };
        let (mut generator, warm) = Generator::connect(self.tollgate.ingest, &turn, CONNECTIONS)?;
        answered.add(&warm);
        let pids = [
            self.tollgate.pid(),
            std::process::id(),
            self.tollgate.logstore_pid(),
        ];
        let window = Window::open(&pids)?;
        let outcome = generator.run(pace)?;
        std::thread::sleep(REST);
        let others = window.look()?.others;
        std::thread::sleep(self.tollgate.config.batch.max_age.get() + DELIVERY);
        answered.add(&outcome);
        let resident = machine::resident_bytes(self.tollgate.pid())?;
        Measured::new(&outcome, &window.look()?, others, resident)
    }
}

fn configure(config: &mut Config, numbers: Numbers) -> anyhow::Result<()> {
    setup::everything(config)?;
    config.limit_rules.clear();
    for text in SLOW_LIMITS {
        let mut rule: tollgate::config::Limit = toml::from_str(text)?;
        rule.max_keys = MAX_KEYS;
        config.limit_rules.push(rule);
    }
    config.quota.memory = ByteSize::mib(1024);
    config.ingest.trusted_proxies.networks = vec!["127.0.0.0/8".parse::<Network>()?];
    config.metrics.max_logstores = numbers.logstores + 10;
    let schemas = (0..numbers.schemas).map(|index| setup::schema(&schema_name(index)));
    config.schemas = schemas.collect::<anyhow::Result<_>>()?;
    let project = config.projects.first_mut().context("no project")?;
    let like = project.logstores.first().context("no logstore")?.clone();
    let logstores = (0..numbers.logstores).map(|index| {
        let mut schema = like.schema.clone().context("no schema")?;
        schema.names = vec![schema_name(index % numbers.schemas)];
        Ok(Logstore {
            name: LogstoreName::new(&logstore_name(index))?,
            schema: Some(schema),
            ..like.clone()
        })
    });
    project.logstores = logstores.collect::<anyhow::Result<_>>()?;
    Ok(())
}

fn schema_name(index: u32) -> String {
    format!("event-{index:03}")
}

fn logstore_name(index: u32) -> String {
    format!("web-{index:04}")
}

/// Clients, each with a token, an address and a logstore.
struct Crowd {
    tokens: Vec<Box<str>>,
    addresses: usize,
    logstores: Vec<String>,
    /// Requests from their second line on, without a token.
    rest: Vec<Vec<u8>>,
}

impl Crowd {
    fn new(config: &Config, numbers: Numbers) -> anyhow::Result<Self> {
        let key = traffic::signing_key(config)?;
        let project = config.projects.first().context("no project")?;
        let logstores: Vec<_> = (0..numbers.logstores).map(logstore_name).collect();
        let names = logstores.iter().map(String::as_str).cycle();
        let first = logstores.first().context("no logstore")?;
        let tokens = (0..numbers.tokens).zip(names).map(|(client, own)| {
            let minted = mint_token(
                &key,
                NewToken {
                    project: project.name.as_str(),
                    logstores: &[own, first],
                    ttl_seconds: TOKEN_SECONDS,
                    subject: Some(&format!("visitor-{client:07}")),
                    ..NewToken::default()
                },
            )?;
            Ok(minted.token.into_boxed_str())
        });
        let tokens = tokens.collect::<anyhow::Result<_>>()?;
        let whole = traffic::requests(config, Tokens::Missing, 1)?;
        let rest = whole.into_iter().map(|request| {
            let line = memchr::memmem::find(&request, b"\r\n").context("no line")?;
            Ok(request.get(line + 2..).unwrap_or_default().to_vec())
        });
        Ok(Self {
            tokens,
            addresses: usize::try_from(numbers.addresses)?,
            rest: rest.collect::<anyhow::Result<_>>()?,
            logstores,
        })
    }

    /// The request of this client, to its own logstore or another.
    fn write(&self, client: usize, logstore: Option<usize>, into: &mut Vec<u8>) {
        let of = |count: usize| client.checked_rem(count).unwrap_or(0);
        let logstore = logstore.unwrap_or_else(|| of(self.logstores.len()));
        let name = self.logstores.get(logstore).map_or("", String::as_str);
        let token = self.tokens.get(client).map_or("", Box::as_ref);
        let [a, b, c, d] = address(of(self.addresses)).to_be_bytes();
        into.clear();
        for part in [
            "POST /logstores/",
            name,
            "/track?APIVersion=0.6.0 HTTP/1.1\r\nx-forwarded-for: ",
            &format!("{a}.{b}.{c}.{d}"),
            "\r\nauthorization: Bearer ",
            token,
            "\r\n",
        ] {
            into.extend_from_slice(part.as_bytes());
        }
        let rest = self.rest.get(of(self.rest.len()));
        into.extend_from_slice(rest.map_or(&[], Vec::as_slice));
    }
}

/// Addresses from 32.0.0.0 to 95.255.255.255, each index another, most of them in networks of their own.
fn address(index: usize) -> u32 {
    let spread = u32::try_from(index)
        .unwrap_or_default()
        .wrapping_mul(0x9e37_79b1);
    0x2000_0000 + (spread & 0x3fff_ffff)
}

#[derive(Clone, Copy)]
enum Order {
    InTurn,
    Random,
}

/// What the clients send in one run.
struct Turn<'a> {
    crowd: &'a Crowd,
    next: AtomicU64,
    order: Order,
    logstore: Option<usize>,
}

impl Requests for Turn<'_> {
    fn request<'s>(&'s self, _: usize, scratch: &'s mut Vec<u8>) -> &'s [u8] {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let number = match self.order {
            Order::InTurn => number,
            Order::Random => scattered(number),
        };
        let count = self.crowd.tokens.len();
        let client = u64::try_from(count)
            .ok()
            .and_then(|count| number.checked_rem(count))
            .and_then(|client| usize::try_from(client).ok());
        self.crowd
            .write(client.unwrap_or_default(), self.logstore, scratch);
        scratch
    }

    fn count(&self) -> usize {
        self.crowd.tokens.len()
    }
}

/// A number that looks random (splitmix64).
fn scattered(number: u64) -> u64 {
    let mut bits = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
