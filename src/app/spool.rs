//! The spool of a configuration: its folder, its keys, and the log of each lane.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::StartError;
use crate::config::{Compression, Config, Logstore, Spool, SpoolOrder, SpoolUse, WhenFull};
use crate::foundation::names::{LogstoreName, ProjectName};
use crate::foundation::secret::Secret;
use crate::pipeline::spool::{
    Claim, KeyRing, Log, LogRules, Order, Packing, RealFiles, Space, SpoolDirectory,
    WhenFull as LogWhenFull,
};

/// A spool that is open.
#[derive(Debug)]
pub(super) struct OpenSpool {
    pub(super) directory: SpoolDirectory,
}

/// The folder of the spool.
#[must_use]
pub fn spool_dir(config: &Config) -> PathBuf {
    let own = || config.data_dir.join("spool");
    config.spool.dir.clone().unwrap_or_else(own)
}

/// The keys of the spool, where it is encrypted.
///
/// # Errors
/// When a secret cannot be read, or is too short.
pub fn spool_keys(config: &Config) -> Result<Option<Arc<KeyRing>>, StartError> {
    let keys = &config.spool.keys;
    if keys.is_empty() {
        return Ok(None);
    }
    let read = keys.iter().map(|reference| reference.read());
    let read: Result<Vec<Secret>, _> = read.collect();
    let secrets = read.map_err(|error| StartError::SpoolKey(error.to_string()))?;
    let secrets: Vec<&[u8]> = secrets.iter().map(Secret::expose).collect();
    let ring = KeyRing::new(&secrets);
    let ring = ring.map_err(|error| StartError::SpoolKey(error.to_string()))?;
    Ok(Some(Arc::new(ring)))
}

/// Opens the spool, where there is one.
pub(super) fn open(config: &Config) -> Result<Option<OpenSpool>, StartError> {
    let rules = &config.spool;
    if !rules.enabled {
        return Ok(None);
    }
    let keys = spool_keys(config)?;
    let (files, space) = (Arc::new(RealFiles), space_of(rules));
    let directory = SpoolDirectory::open(files, &spool_dir(config), space, keys)?;
    for lane in directory.lanes()? {
        let known = config.logstore_of_lane(&lane.project, &lane.logstore);
        if known.is_none() && lane.segments > 0 {
            tracing::warn!(
                project = %lane.project, logstore = %lane.logstore, bytes = lane.bytes,
                "events wait in the spool for a logstore that is not configured any more; they stay there"
            );
        }
    }
    Ok(Some(OpenSpool { directory }))
}

impl OpenSpool {
    /// The log of a lane.
    pub(super) fn log(
        &self,
        config: &Config,
        (project, lane): (&ProjectName, &LogstoreName),
        logstore: &Logstore,
    ) -> Result<Log, StartError> {
        let claim = Claim {
            weight: logstore.weight,
            copies: *lane != logstore.name,
        };
        let rules = LogRules {
            claim,
            ..log_rules(config, &logstore.spool)
        };
        Ok(self.directory.log(project, lane, rules)?)
    }
}

/// Takes the lock of the spool of a configuration, whether it is enabled or not: for commands on a node
/// that does not run.
///
/// # Errors
/// When another process has it, or a key cannot be read.
pub fn lock_spool(config: &Config, dir: &Path) -> Result<SpoolDirectory, StartError> {
    let space = space_of(&config.spool);
    let keys = spool_keys(config)?;
    Ok(SpoolDirectory::open(Arc::new(RealFiles), dir, space, keys)?)
}

fn space_of(rules: &Spool) -> Arc<Space> {
    let space = Space::new(rules.max_size.get(), rules.reserve.get());
    Arc::new(space.guaranteeing(rules.guaranteed))
}

/// How a command may write to the log of a lane, configured or not: nothing gives way to what it brings.
#[must_use]
pub fn command_log_rules(
    config: &Config,
    project: &ProjectName,
    logstore: &LogstoreName,
) -> LogRules {
    let known = config.logstore_of_lane(project, logstore);
    LogRules {
        when_full: LogWhenFull::Refuse,
        ..log_rules(config, known.map_or(&SpoolUse::default(), |it| &it.spool))
    }
}

fn log_rules(config: &Config, used: &SpoolUse) -> LogRules {
    let spool = &config.spool;
    let max_age = spool.max_age.get().as_millis();
    LogRules {
        segment_bytes: spool.segment_size.get(),
        max_bytes: used.max_size.unwrap_or(spool.max_size).get(),
        max_age: u64::try_from(max_age).ok().filter(|age| *age > 0),
        when_full: match used.when_full {
            WhenFull::Refuse => LogWhenFull::Refuse,
            WhenFull::DropOldest => LogWhenFull::DropOldest,
        },
        order: match used.order {
            SpoolOrder::Oldest => Order::OldestFirst,
            SpoolOrder::Newest => Order::NewestFirst,
        },
        packing: match spool.compression {
            Compression::Lz4 => Packing::Lz4,
            Compression::Zstd => Packing::Zstd,
            Compression::None => Packing::Plain,
        },
        ..LogRules::default()
    }
}
