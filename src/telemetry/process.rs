//! What the system says of this process, under the names that all programs use.

use std::fs;

use super::declared::{self, Declaration};
use super::exposition::Family;
use super::metrics::Metrics;

/// Ticks of a second in `/proc`: the same on all platforms of Linux that we run on.
const TICKS: u32 = 100;

/// Fields of `/proc/self/stat` behind the name of the program, from 0.
const USER_TICKS: usize = 11;
const SYSTEM_TICKS: usize = 12;

impl Metrics {
    /// What cannot be read is left out.
    pub(super) fn system_families(&self) -> Vec<Family> {
        let mut families = Vec::new();
        let mut show = |declared: &'static Declaration, value: Option<u64>, per: u32| {
            let mut family = Family::of(declared);
            if let Some(value) = value {
                family.push_part(vec![], value, per);
            }
            families.push(family);
        };
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        show(&declared::PROCESS_CPU_SECONDS, cpu_ticks(&stat), TICKS);
        let size = |field| number(&status, field).map(|kib| kib << 10);
        show(&declared::PROCESS_RESIDENT_MEMORY_BYTES, size("VmRSS:"), 1);
        show(&declared::PROCESS_VIRTUAL_MEMORY_BYTES, size("VmSize:"), 1);
        show(&declared::PROCESS_THREADS, number(&status, "Threads:"), 1);
        show(
            &declared::PROCESS_START_TIME_SECONDS,
            Some(self.started_millis),
            1000,
        );
        let open = self.edge.descriptors.get().and_then(|open| open());
        show(&declared::PROCESS_OPEN_FDS, open, 1);
        let most = self.edge.descriptor_limit.get();
        show(&declared::PROCESS_MAX_FDS, (most > 0).then_some(most), 1);
        families
    }
}

/// Ticks that the process has used, by a line of `/proc/self/stat`. The name of the program may hold
/// anything, a parenthesis too.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let field = |index| rest.split(' ').nth(index)?.parse::<u64>().ok();
    Some(field(USER_TICKS)? + field(SYSTEM_TICKS)?)
}

fn number(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_of_proc_are_found() {
        let stat = "42 (a) (b)) S 1 42 42 0 -1 4194560 5 0 0 0 250 50 0 0 20 0 4 0 99 1 2";
        assert_eq!(cpu_ticks(stat), Some(300));
        assert_eq!(cpu_ticks("42"), None);
        let status = "Name:\tx\nVmSize:\t  2048 kB\nVmRSS:\t 12 kB\nThreads:\t7\n";
        assert_eq!(number(status, "VmRSS:"), Some(12));
        assert_eq!(number(status, "Threads:"), Some(7));
        let own = fs::read_to_string("/proc/self/stat").unwrap();
        assert!(cpu_ticks(&own).is_some());
    }
}
