//! How fast a start reads what an earlier life has left on disk, beside a plain read of the same files.
//!
//! What a start does is [`Log::recover`]: every record is read, and its checksum and place are checked.
//! Both sides are measured warm, with the files in the memory of the kernel, and cold, after the kernel was
//! told to forget them. It needs twice as much room in the temporary folder as it is told to write.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::fs::Advice;
use tollgate::config::Config;
use tollgate::foundation::units::ByteSize;
use tollgate::pipeline::spool::{
    BundleId, KeyRing, Log, LogRules, Packing, Part, RealFiles, Space, SpoolDirectory,
};

use crate::tell;
use crate::traffic::{self, Tokens};

/// Bytes that the plain read takes at once.
const BLOCK: usize = 1 << 20;
/// Requests of a bundle, of ten events each.
const PARTS: u16 = 50;
const EVENTS: u32 = 10;
/// Goal, in megabytes a second; or as fast as the plain read.
const GOAL: f64 = 500.0;

/// Options.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Bytes of each spool.
    #[arg(long, default_value = "1GiB")]
    bytes: ByteSize,
    /// Readings of each kind; the median is told.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=20))]
    repetitions: u8,
}

/// A spool of one lane.
struct Spool {
    path: PathBuf,
    packing: Packing,
    keys: Option<Arc<KeyRing>>,
    config: Config,
}

impl Spool {
    fn open(&self) -> anyhow::Result<(SpoolDirectory, Log)> {
        let space = Arc::new(Space::new(u64::MAX / 2, 1));
        let files = Arc::new(RealFiles);
        let directory = SpoolDirectory::open(files, &self.path, space, self.keys.clone())?;
        let rules = LogRules {
            packing: self.packing,
            max_bytes: u64::MAX / 2,
            ..LogRules::default()
        };
        let project = self.config.projects.first().context("no project")?;
        let logstore = project.logstores.first().context("no logstore")?;
        let log = directory.log(&project.name, &logstore.name, rules)?;
        Ok((directory, log))
    }

    /// Writes so many bytes of bundles, and leaves them there. How many bundles.
    fn fill(&self, bytes: u64, bodies: &[Vec<u8>]) -> anyhow::Result<u64> {
        let (_directory, mut log) = self.open()?;
        let (mut bundles, mut bodies) = (0, bodies.iter().cycle());
        while log.counts().disk_bytes < bytes {
            let id = BundleId {
                prefix: 1,
                number: bundles,
            };
            for number in 0..PARTS {
                let part = Part {
                    bundle: id,
                    number,
                    last: number + 1 == PARTS,
                    events: EVENTS,
                    key: (number == 0).then_some(b"key"),
                    logs: bodies.next().context("no bodies")?,
                };
                log.append(&part, 1)?;
            }
            log.release(id);
            bundles += 1;
        }
        log.sync()?;
        Ok(bundles)
    }

    fn segments(&self) -> anyhow::Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        let mut folders = vec![self.path.clone()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder)? {
                let path = entry?.path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|it| it == "seg") {
                    found.push(path);
                }
            }
        }
        found.sort();
        Ok(found)
    }

    /// Time to find again all that was left.
    fn recover(&self, bundles: u64) -> anyhow::Result<Duration> {
        let began = Instant::now();
        let (_directory, mut log) = self.open()?;
        anyhow::ensure!(log.recover(u64::MAX)?, "the recovery did not end");
        let took = began.elapsed();
        let found = log.counts().held_bundles;
        anyhow::ensure!(found == bundles, "{found} bundles of {bundles} were found");
        Ok(took)
    }
}

/// Makes the kernel read files from the disk again.
fn forget(files: &[PathBuf]) -> anyhow::Result<()> {
    for path in files {
        let file = File::open(path)?;
        file.sync_all()?;
        rustix::fs::fadvise(&file, 0, None, Advice::DontNeed)?;
    }
    Ok(())
}

/// Reads files and does nothing with them. How many bytes, and how long it took.
fn read_all(files: &[PathBuf]) -> anyhow::Result<(u64, Duration)> {
    let began = Instant::now();
    let (mut block, mut bytes) = (vec![0; BLOCK], 0);
    for path in files {
        let mut file = File::open(path)?;
        loop {
            match file.read(&mut block)? {
                0 => break,
                read => bytes += read as u64,
            }
        }
    }
    Ok((bytes, began.elapsed()))
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times
        .get(times.len() / 2)
        .map_or(f64::NAN, Duration::as_secs_f64)
}

/// Runs it and prints it. False when something was not found again.
pub fn run(options: &Options) -> anyhow::Result<bool> {
    let folder = tempfile::tempdir()?;
    let config = Config::quickstart();
    // As it is in a spool: what a request of ten events becomes is of the size of its body.
    let bodies = traffic::requests(&with_keys(&config, folder.path()), Tokens::Good, 10)?;
    let keys = || {
        Ok::<_, anyhow::Error>(Arc::new(KeyRing::new(&[
            b"a key of this bench, 32 bytes, at least",
        ])?))
    };
    tell(format_args!(
        "{:<22} {:>12} {:>16} {:>16} {:>8}",
        "spool", "bytes", "recovery, MB/s", "plain, MB/s", "goal"
    ));
    for (name, packing, keys) in [
        ("plain", Packing::Plain, None),
        ("lz4", Packing::Lz4, None),
        ("lz4, encrypted", Packing::Lz4, Some(keys()?)),
    ] {
        let spool = Spool {
            path: folder.path().join(name.replace(", ", "-")),
            packing,
            keys,
            config: config.clone(),
        };
        let bundles = spool.fill(options.bytes.get(), &bodies)?;
        let files = spool.segments()?;
        for cold in [false, true] {
            let (mut ours, mut plain, mut bytes) = (Vec::new(), Vec::new(), 0);
            read_all(&files)?;
            for _ in 0..options.repetitions {
                if cold {
                    forget(&files)?;
                }
                let (read, took) = read_all(&files)?;
                (bytes, plain) = (read, [plain, vec![took]].concat());
                if cold {
                    forget(&files)?;
                }
                ours.push(spool.recover(bundles)?);
            }
            #[expect(clippy::cast_precision_loss, reason = "bytes are far below 2^52")]
            let rate = |times| bytes as f64 / median(times) / 1e6;
            let (ours, plain) = (rate(ours), rate(plain));
            tell(format_args!(
                "{:<22} {bytes:>12} {ours:>16.0} {plain:>16.0} {:>8}",
                format!("{name}, {}", if cold { "cold" } else { "warm" }),
                if ours >= GOAL.min(plain) {
                    "met"
                } else {
                    "MISSED"
                }
            ));
        }
        std::fs::remove_dir_all(&spool.path)?;
    }
    Ok(true)
}

/// The configuration with keys in a folder.
fn with_keys(config: &Config, folder: &Path) -> Config {
    Config {
        data_dir: folder.join("data"),
        ..config.clone()
    }
}
