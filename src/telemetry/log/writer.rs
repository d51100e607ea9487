//! A queue of lines between those who write and whoever reads.
//!
//! Promise: to write never waits. When [`LINES`] wait, further ones are dropped and counted; so a
//! pipe that nobody reads, or a full disk behind it, stops no request.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use tracing_subscriber::fmt::MakeWriter;

/// Lines that wait, at most.
const LINES: usize = 1024;
/// Bytes of a line; what is longer is cut.
const LONGEST: usize = 16 << 10;
const CUT: &[u8] = b" (cut)\n";

enum Order {
    Line(Box<[u8]>),
    /// Tell when all before it is written.
    Flush(SyncSender<()>),
}

/// The writing end.
#[derive(Clone, Debug)]
pub(super) struct Queue {
    orders: SyncSender<Order>,
    dropped: Arc<AtomicU64>,
}

impl Queue {
    /// A queue that a thread writes to `out`.
    ///
    /// # Errors
    /// When there can be no such thread.
    pub(super) fn start(out: impl Write + Send + 'static) -> io::Result<Self> {
        let (orders, taken) = sync_channel(LINES);
        let dropped = Arc::new(AtomicU64::new(0));
        let lost = Arc::clone(&dropped);
        thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || write(out, &taken, &lost))?;
        Ok(Self { orders, dropped })
    }

    /// Waits until what came before is written, but no longer than `most`.
    pub(super) fn flush(&self, most: Duration) {
        let until = Instant::now() + most;
        let (told, done) = sync_channel(1);
        let mut order = Order::Flush(told);
        while let Err(TrySendError::Full(back)) = self.orders.try_send(order) {
            if Instant::now() >= until {
                return;
            }
            order = back;
            thread::sleep(Duration::from_millis(5));
        }
        // Told, late, or the thread is gone: there is nothing else to do.
        done.recv_timeout(until.saturating_duration_since(Instant::now()))
            .ok();
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    fn put(&self, line: &[u8]) {
        let line = match line.get(..LONGEST) {
            Some(start) if line.len() > LONGEST + CUT.len() => [start, CUT].concat().into(),
            _ => line.into(),
        };
        if self.orders.try_send(Order::Line(line)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn write(mut out: impl Write, orders: &Receiver<Order>, lost: &AtomicU64) {
    for order in orders {
        match order {
            Order::Line(line) => {
                if out.write_all(&line).is_err() {
                    lost.fetch_add(1, Ordering::Relaxed);
                }
            }
            Order::Flush(told) => {
                // Who asked may have gone.
                told.try_send(()).ok();
            }
        }
    }
}

/// Takes one line: `tracing` writes each at once.
#[derive(Debug)]
pub(super) struct OneLine<'q>(&'q Queue);

impl Write for OneLine<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.put(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'q> MakeWriter<'q> for Queue {
    type Writer = OneLine<'q>;

    fn make_writer(&'q self) -> Self::Writer {
        OneLine(self)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// A reader that reads only while it is let.
    #[derive(Clone, Default)]
    struct Pipe(Arc<Mutex<Vec<u8>>>);

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_does_not_read_holds_nobody_up_and_lines_beyond_the_bound_are_counted() {
        let pipe = Pipe::default();
        let queue = Queue::start(pipe.clone()).unwrap();
        let stuck = pipe.0.lock().unwrap();
        // One is in the hands of the thread, perhaps.
        for _ in 0..LINES + 51 {
            queue.put(b"a line\n");
        }
        assert!((50..=51).contains(&queue.dropped()), "{}", queue.dropped());
        queue.flush(Duration::from_millis(20));
        drop(stuck);
        queue.flush(Duration::from_secs(10));
        let lines = pipe.0.lock().unwrap().split(|b| *b == b'\n').count() - 1;
        assert_eq!(lines as u64 + queue.dropped(), LINES as u64 + 51);
    }

    #[test]
    fn a_long_line_is_cut() {
        let pipe = Pipe::default();
        let queue = Queue::start(pipe.clone()).unwrap();
        queue.put(&vec![b'x'; LONGEST * 2]);
        queue.flush(Duration::from_secs(10));
        let written = pipe.0.lock().unwrap();
        assert_eq!(written.len(), LONGEST + CUT.len());
        assert!(written.ends_with(CUT));
    }
}
