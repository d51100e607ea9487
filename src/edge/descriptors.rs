//! File descriptors: the limit is raised as far as the system lets us, and connections leave some
//! for the stores, for the disk and for the private listener.
//!
//! Promise: connections alone never use up the descriptors, so that what was accepted can still be
//! delivered. When the limit is too small for the configuration: fewer connections, and a warning.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::threads;
use crate::config::{Config, UpstreamKind};

/// For the private listener, the public sockets, keys, journals and the log.
const OWN: u64 = 128;
/// Of each thread that serves connections: its poll, a copy of it, and what wakes it.
const OF_THREAD: u64 = 4;
/// Connections to one store for requests that are relayed.
const RELAYED: u64 = 64;
/// For the files of the embedded store.
const EMBEDDED_FILES: u64 = 256;

/// Raises the soft limit to the hard one. The limit that holds now; `None` when there is none.
#[must_use]
pub fn raise() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => maximum,
        Err(error) => {
            tracing::warn!(%error, "the limit of file descriptors could not be raised");
            current
        }
    }
}

/// Descriptors in use now, where the system tells.
#[must_use]
pub fn open() -> Option<u64> {
    let folder = std::path::Path::new("/proc/self/fd");
    match std::fs::metadata(folder).ok()?.len() {
        // An older kernel: they are counted, without the one of the folder itself.
        0 => {
            let entries = std::fs::read_dir(folder).ok()?.count();
            Some(entries.saturating_sub(1) as u64)
        }
        count => Some(count),
    }
}

/// How many public connections a limit of descriptors has room for, besides what else runs.
#[must_use]
pub fn room(config: &Config, limit: Option<u64>) -> u64 {
    let Some(limit) = limit else {
        return u64::MAX;
    };
    let logstores: usize = config.projects.iter().map(|p| p.logstores.len()).sum();
    let lanes = logstores as u64 * u64::from(config.delivery.concurrency);
    let relayed = config.projects.len() as u64 * RELAYED;
    let mut kinds = config.upstreams.iter().map(|upstream| upstream.kind);
    let embedded = if kinds.any(|kind| kind == UpstreamKind::Embedded) {
        // Both ends of the lanes' connections are ours then.
        lanes + EMBEDDED_FILES
    } else {
        0
    };
    let threads = OF_THREAD * threads::count(config.ingest.threads) as u64;
    let reserved = OWN + threads + lanes + relayed + embedded;
    // Under a very small limit both sides get something.
    limit.saturating_sub(reserved).max(limit / 4).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_descriptors_for_the_rest() {
        let config = Config::quickstart();
        assert_eq!(room(&config, None), u64::MAX);
        let of = |limit| room(&config, Some(limit));
        let kept = 100_000 - of(100_000);
        assert!(kept >= OWN + EMBEDDED_FILES, "{kept}");
        assert_eq!(of(1 << 20), (1 << 20) - kept);
        assert_eq!(of(400), 100);
        assert_eq!(of(2), 1);
    }

    #[test]
    fn descriptors_are_counted() {
        let before = open().unwrap();
        let held: Vec<_> = (0..200).map(|_| std::fs::File::open("/dev/null")).collect();
        assert!(open().unwrap() >= before.saturating_sub(50) + 200);
        drop(held);
    }
}
