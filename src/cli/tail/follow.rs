//! Reading on at the end of the shards.
//!
//! Promise: events are shown soon, and a quiet store is asked seldom. A store that goes away is
//! waited for as long as it takes; it must have answered once.

use std::io::Write;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::reader::{Reader, passes};
use super::{Ended, Printer};
use crate::cli::output;

/// How long to wait for what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pauses {
    /// Between looks at a busy logstore, and first after a failure.
    pub(super) shortest: Duration,
    /// Between looks at a quiet logstore.
    pub(super) longest: Duration,
    /// Between looks for new shards.
    pub(super) shards: Duration,
}

impl Default for Pauses {
    fn default() -> Self {
        Self {
            shortest: Duration::from_millis(200),
            longest: Duration::from_secs(2),
            shards: Duration::from_secs(60),
        }
    }
}

/// Reads until enough events were written or the store says no.
pub(super) async fn follow<W: Write>(
    mut reader: Reader,
    printer: &mut Printer<W>,
    pauses: Pauses,
) -> Result<(), Ended> {
    let mut pause = pauses.shortest;
    let mut away = false;
    let mut shards_known = Instant::now();
    loop {
        let round = reader.round().await;
        printer.print(&round.groups)?;
        let mut trouble = round.failure;
        if trouble.is_none() && shards_known.elapsed() >= pauses.shards {
            trouble = reader.find_new_shards().await.err();
            shards_known = Instant::now();
        }
        match trouble {
            Some(error) if !passes(&error) => return Err(Ended::Failed(reader.failure(&error))),
            Some(error) if !away => {
                away = true;
                pause = pauses.shortest;
                let why = output::escape(&error.to_string());
                output::note(format_args!("note: {why}; waiting for the store"));
            }
            None if away => {
                away = false;
                output::note("note: the store is back");
            }
            _ => {}
        }
        if round.groups.is_empty() || away {
            sleep(pause).await;
            pause = (pause * 2).min(pauses.longest);
        } else {
            pause = pauses.shortest;
        }
    }
}
