//! What the kernel says about processes and the machine (Linux, `/proc`).
//!
//! Processor time comes from `schedstat`, which counts nanoseconds; `/proc/PID/stat` counts ticks of
//! 10 ms, a sixth of what a good server needs in one repetition.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};

/// A process, told apart from a later one of the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    pid: u32,
    parent: u32,
    /// In ticks since the machine started.
    started: u64,
}

impl Process {
    fn read(pid: u32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // `PID (NAME) STATE PARENT ...`, and the start is the 22nd; a name may have anything in it.
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(1);
        Some(Self {
            pid,
            parent: fields.next()?.parse().ok()?,
            started: fields.nth(17)?.parse().ok()?,
        })
    }

    /// Kills it, if it is still there.
    pub fn kill(self) {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        let is_same = |now: Self| now.started == self.started;
        if let Some(pid) = pid
            && Self::read(self.pid).is_some_and(is_same)
        {
            // It may end by itself in between.
            kill_process(pid, Signal::KILL).unwrap_or_default();
        }
    }
}

/// A process and those that it started, theirs too.
pub fn tree(root: u32) -> anyhow::Result<Vec<Process>> {
    let mut others = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let name = entry?.file_name();
        // A process may end between the listing and the reading.
        let pid = name.to_str().and_then(|name| name.parse().ok());
        others.extend(pid.and_then(Process::read));
    }
    let mut tree: Vec<_> = others.extract_if(.., |it| it.pid == root).collect();
    let mut next = 0;
    while let Some(parent) = tree.get(next).copied() {
        tree.extend(others.extract_if(.., |it| it.parent == parent.pid));
        next += 1;
    }
    Ok(tree)
}

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

    /// Reads the times of a process and of those that it started.
    pub fn of_tree(root: u32) -> anyhow::Result<Self> {
        let mut times = Self::of(root)?;
        for process in tree(root)? {
            if let Ok(own) = Self::of(process.pid) {
                times.0.extend(own.0);
            }
        }
        Ok(times)
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

/// The same of a process and of those that it started. What they share counts for each of them.
pub fn resident_bytes_of_tree(root: u32) -> anyhow::Result<u64> {
    let others = tree(root)?.into_iter().filter(|it| it.pid != root);
    let others = others.filter_map(|it| resident_bytes(it.pid).ok());
    Ok(resident_bytes(root)? + others.sum::<u64>())
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
    /// Starts to watch these processes. The first is a server, and those that it starts are part of it.
    pub fn open(pids: &[u32]) -> anyhow::Result<Self> {
        let mut processes = Vec::new();
        for pid in pids {
            let is_server = processes.is_empty();
            processes.push((*pid, Self::times(*pid, is_server)?));
        }
        Ok(Self {
            start: Instant::now(),
            idle: IdleTime::read()?,
            processes,
        })
    }

    fn times(pid: u32, is_server: bool) -> anyhow::Result<CpuTimes> {
        if is_server {
            CpuTimes::of_tree(pid)
        } else {
            CpuTimes::of(pid)
        }
    }

    /// What it saw so far. Ask when the processes are at rest: the kernel books a running thread's
    /// time late.
    pub fn look(&self) -> anyhow::Result<Seen> {
        let elapsed = self.start.elapsed();
        let now = IdleTime::read()?;
        let processes = self
            .processes
            .iter()
            .enumerate()
            .map(|(at, (pid, before))| Ok(Self::times(*pid, at == 0)?.since(before)))
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
