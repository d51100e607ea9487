//! How long threads wait for a processor once they have something to do, as the kernel counts it.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::{Mutex, PoisonError};

/// What the kernel says of the thread that opens it, to whoever reads it.
const OWN: &str = "/proc/thread-self/schedstat";

/// Threads that are watched.
#[derive(Debug, Default)]
pub struct ThreadWaits(Mutex<Vec<Watched>>);

#[derive(Debug)]
struct Watched {
    file: File,
    seen: Waited,
}

/// How often threads came to a processor, and how long they waited for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waited {
    /// How long.
    pub nanos: u64,
    /// How often.
    pub times: u64,
}

impl ThreadWaits {
    /// Watches the thread that calls this, until it ends. Where the kernel does not count, nothing is
    /// watched.
    pub fn watch_this(&self) {
        let Ok(file) = File::open(OWN) else { return };
        if let Some(seen) = read(&file) {
            let mut threads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            threads.push(Watched { file, seen });
        }
    }

    /// What all have waited since this was asked last.
    pub fn take(&self) -> Waited {
        let mut sum = Waited::default();
        let mut threads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        threads.retain_mut(|thread| {
            // Of a thread that has ended nothing can be read.
            let Some(now) = read(&thread.file) else {
                return false;
            };
            sum.nanos += now.nanos.saturating_sub(thread.seen.nanos);
            sum.times += now.times.saturating_sub(thread.seen.times);
            thread.seen = now;
            true
        });
        sum
    }
}

fn read(file: &File) -> Option<Waited> {
    let mut text = [0; 96];
    let read = file.read_at(&mut text, 0).ok()?;
    parse(std::str::from_utf8(text.get(..read)?).ok()?)
}

/// Time on a processor, time waited for one, and how often it came to one.
fn parse(text: &str) -> Option<Waited> {
    let mut numbers = text.split_ascii_whitespace().map(str::parse);
    let _ran: u64 = numbers.next()?.ok()?;
    Some(Waited {
        nanos: numbers.next()?.ok()?,
        times: numbers.next()?.ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_says_is_read() {
        let waited = Waited {
            nanos: 250,
            times: 3,
        };
        assert_eq!(parse("1000 250 3\n"), Some(waited));
        assert_eq!(parse("1000 250\n"), None);
        assert_eq!(parse(""), None);
    }

    #[test]
    fn threads_are_watched_until_they_end() {
        let waits = ThreadWaits::default();
        std::thread::scope(|scope| {
            let (go, wait) = std::sync::mpsc::channel::<()>();
            let (told, tell) = std::sync::mpsc::channel();
            let watched = &waits;
            let thread = scope.spawn(move || {
                watched.watch_this();
                for () in wait {
                    told.send(()).unwrap();
                }
            });
            for _ in 0..50 {
                go.send(()).unwrap();
                tell.recv().unwrap();
            }
            // Each time it was asked it came to a processor, but it may have found the next one waiting.
            assert!(waits.take().times > 0);
            drop(go);
            thread.join().unwrap();
        });
        assert_eq!(waits.take(), Waited::default());
        assert!(waits.0.lock().unwrap().is_empty(), "it is forgotten");
    }
}
