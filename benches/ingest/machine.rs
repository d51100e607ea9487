//! What the kernel says about processes and the machine (Linux, `/proc`).
//!
//! Processor time comes from `schedstat`, which counts nanoseconds; `/proc/PID/stat` counts ticks of
//! 10 ms, a sixth of what a good server needs in one repetition.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;

/// Processor time of each thread of a process since the thread began.
#[derive(Clone, Debug)]
pub struct CpuTimes(BTreeMap<String, Duration>);

impl CpuTimes {
    /// Reads the times of a process.
    pub fn of(pid: u32) -> anyhow::Result<Self> {
        let mut times = BTreeMap::new();
        for entry in std::fs::read_dir(format!("/proc/{pid}/task"))? {
            let thread = entry?;
            // A thread may end between the listing and the reading.
            let Ok(text) = std::fs::read_to_string(thread.path().join("schedstat")) else {
                continue;
            };
            let nanoseconds = text.split(' ').next().unwrap_or_default().parse()?;
            let name = thread.file_name().to_string_lossy().into_owned();
            times.insert(name, Duration::from_nanos(nanoseconds));
        }
        Ok(Self(times))
    }

    /// Time spent since an earlier reading. Threads that ended in between are not counted.
    pub fn since(&self, earlier: &Self) -> Duration {
        self.0
            .iter()
            .map(|(thread, now)| {
                now.saturating_sub(earlier.0.get(thread).copied().unwrap_or_default())
            })
            .sum()
    }
}

/// Memory of a process that is in RAM (`VmRSS`), in bytes.
pub fn resident_bytes(pid: u32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kib: u64 = status
        .lines()
        .find_map(|line| {
            line.strip_prefix("VmRSS:")?
                .split_whitespace()
                .next()?
                .parse()
                .ok()
        })
        .context("no VmRSS in /proc/PID/status")?;
    Ok(kib * 1024)
}

/// Processor time of this thread since it began.
pub fn thread_time() -> anyhow::Result<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds = text.split(' ').next().unwrap_or_default().parse()?;
    Ok(Duration::from_nanos(nanoseconds))
}

/// Asks the kernel to wake this process's sleepers at once and not up to 50 us later, for threads
/// started from now on. Without it, latencies are larger by that, for every server.
pub fn wake_precisely() -> anyhow::Result<()> {
    let path = PathBuf::from("/proc/self/timerslack_ns");
    std::fs::write(&path, "1").with_context(|| format!("cannot write {}", path.display()))
}

/// A stretch of time on the machine, to see what else ran on it.
#[derive(Debug)]
pub struct Window {
    start: Instant,
    idle: IdleTime,
    processes: Vec<(u32, CpuTimes)>,
}

/// What a window saw.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Processor time of each process, in the order in which they were given.
    pub processes: Vec<Duration>,
    /// The share of all processors, from 0 to 1, that none of these processes used and that was not
    /// idle: other processes, interrupts, and what the host took.
    pub others: f64,
}

impl Window {
    /// Starts to watch these processes.
    pub fn open(pids: &[u32]) -> anyhow::Result<Self> {
        let processes = pids
            .iter()
            .map(|pid| Ok((*pid, CpuTimes::of(*pid)?)))
            .collect::<anyhow::Result<_>>()?;
        Ok(Self {
            start: Instant::now(),
            idle: IdleTime::read()?,
            processes,
        })
    }

    /// What it saw so far. Ask when the processes are at rest: the kernel books a running thread's
    /// time late.
    pub fn look(&self) -> anyhow::Result<Seen> {
        let elapsed = self.start.elapsed();
        let now = IdleTime::read()?;
        let processes = self
            .processes
            .iter()
            .map(|(pid, before)| Ok(CpuTimes::of(*pid)?.since(before)))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let idle = now.total.saturating_sub(self.idle.total);
        let known = idle + processes.iter().sum::<Duration>();
        let all = elapsed * now.processors;
        let others = 1.0 - known.as_secs_f64() / all.as_secs_f64();
        Ok(Seen {
            processes,
            others: others.clamp(0.0, 1.0),
        })
    }
}

/// Processors that this process may use.
pub fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Time that the machine's processors had nothing to do since it started.
#[derive(Debug)]
struct IdleTime {
    total: Duration,
    processors: u32,
}

impl IdleTime {
    fn read() -> anyhow::Result<Self> {
        let stat = std::fs::read_to_string("/proc/stat")?;
        let mut lines = stat.lines();
        let all = lines.next().context("/proc/stat is empty")?;
        // `cpu user nice system idle iowait ...`: a processor that waits for a disk is free as well.
        let mut ticks: u64 = 0;
        for number in all.split_whitespace().skip(4).take(2) {
            ticks += number
                .parse::<u64>()
                .context("/proc/stat has no idle time")?;
        }
        let processors = lines.take_while(|line| line.starts_with("cpu")).count();
        // A tick of /proc is 10 ms for every program on Linux.
        Ok(Self {
            total: Duration::from_millis(ticks * 10),
            processors: u32::try_from(processors)?,
        })
    }
}
