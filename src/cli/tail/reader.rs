//! The shards of a logstore, read side by side.
//!
//! Promise: what a shard gave is handed on even when the next shard fails, and reading goes on where
//! it stopped, so that no event is shown twice or left out. A round holds at most
//! [`GROUPS_OF_A_PULL`] LogGroups of each shard. Not here: pauses, and what is done about failures.

use super::store::Readable;
use crate::cli::{Exit, Failure, output};
use crate::logstore::client::{CursorFrom, is_at};
use crate::logstore::error::{NextStep, RetryReason, StoreError, next_step};
use crate::logstore::proto::LogGroup;

/// LogGroups asked for at once.
const GROUPS_OF_A_PULL: u32 = 50;

/// What one look at every shard gave.
#[derive(Debug)]
pub(super) struct Round {
    /// What was read.
    pub(super) groups: Vec<LogGroup>,
    /// Why not every shard was read.
    pub(super) failure: Option<StoreError>,
}

/// Reads a logstore.
#[derive(Debug)]
pub(super) struct Reader {
    store: Readable,
    shards: Vec<Shard>,
}

#[derive(Debug)]
struct Shard {
    id: u32,
    cursor: String,
    /// Where reading ends, unless it follows.
    end: Option<String>,
    done: bool,
}

impl Reader {
    /// Finds the shards, and where to begin in each. `to_the_end`: reading ends at what is the end
    /// of each shard now, however much is written meanwhile.
    ///
    /// # Errors
    /// As [`failure`](Self::failure).
    pub(super) async fn open(
        store: Readable,
        from: CursorFrom,
        to_the_end: bool,
    ) -> Result<Self, Failure> {
        let mut reader = Self {
            store,
            shards: Vec::new(),
        };
        match reader.find_shards(from, to_the_end).await {
            Ok(()) => Ok(reader),
            Err(error) => Err(reader.failure(&error)),
        }
    }

    async fn find_shards(&mut self, from: CursorFrom, to_the_end: bool) -> Result<(), StoreError> {
        let listed = match self.list().await {
            // The client has learnt the store's clock from this answer.
            Err(error) if step(&error) == Some(RetryReason::ClockSkew) => self.list().await?,
            listed => listed?,
        };
        for id in listed {
            let cursor = self.cursor(id, from).await?;
            let end = if to_the_end {
                Some(self.cursor(id, CursorFrom::End).await?)
            } else {
                None
            };
            self.shards.push(Shard {
                id,
                cursor,
                end,
                done: false,
            });
        }
        Ok(())
    }

    /// What is told of a failure that ends the reading: what, where, and what to do about it.
    pub(super) fn failure(&self, error: &StoreError) -> Failure {
        let exit = match passes(error) {
            true => Exit::Unavailable,
            false => Exit::Config,
        };
        let help = match error {
            StoreError::Transport { .. } => self.store.help,
            _ => "",
        };
        let (place, error) = (&self.store.place, error.to_string());
        Failure::new(exit, format!("{place}: {}{help}", output::escape(&error)))
    }

    /// Reads once from each shard that is not at its end.
    pub(super) async fn round(&mut self) -> Round {
        let Self { store, shards } = self;
        let mut groups = Vec::new();
        for shard in shards.iter_mut().filter(|shard| !shard.done) {
            let (project, logstore) = (&store.project, &store.logstore);
            let pull = store.client.pull_logs(
                project,
                logstore,
                shard.id,
                &shard.cursor,
                GROUPS_OF_A_PULL,
            );
            match pull.await {
                Ok(pulled) => {
                    shard.take(pulled.next_cursor, pulled.groups.is_empty());
                    groups.extend(pulled.groups);
                }
                Err(error) => {
                    return Round {
                        groups,
                        failure: Some(error),
                    };
                }
            }
        }
        Round {
            groups,
            failure: None,
        }
    }

    /// Takes up shards that the store has made since, as it does when it splits one.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub(super) async fn find_new_shards(&mut self) -> Result<(), StoreError> {
        for id in self.list().await? {
            if self.shards.iter().all(|shard| shard.id != id) {
                let cursor = self.cursor(id, CursorFrom::Begin).await?;
                self.shards.push(Shard {
                    id,
                    cursor,
                    end: None,
                    done: false,
                });
            }
        }
        Ok(())
    }

    /// Whether every shard was read to its end.
    pub(super) fn is_done(&self) -> bool {
        self.shards.iter().all(|shard| shard.done)
    }

    async fn list(&self) -> Result<Vec<u32>, StoreError> {
        let Readable {
            client,
            project,
            logstore,
            ..
        } = &self.store;
        let shards = client.list_shards(project, logstore).await?;
        Ok(shards.into_iter().map(|shard| shard.id).collect())
    }

    async fn cursor(&self, shard: u32, from: CursorFrom) -> Result<String, StoreError> {
        let Readable {
            client,
            project,
            logstore,
            ..
        } = &self.store;
        client.get_cursor(project, logstore, shard, from).await
    }
}

impl Shard {
    fn take(&mut self, next: String, nothing_came: bool) {
        self.done = self
            .end
            .as_ref()
            .is_some_and(|end| nothing_came || is_at(&next, end));
        self.cursor = next;
    }
}

fn step(error: &StoreError) -> Option<RetryReason> {
    match next_step(error) {
        NextStep::Retry { reason } => Some(reason),
        NextStep::Drop => None,
    }
}

/// Whether a failure passes by itself: the store restarts, is busy, or its clock was learnt just now.
pub(super) fn passes(error: &StoreError) -> bool {
    matches!(
        step(error),
        Some(
            RetryReason::Network | RetryReason::Busy | RetryReason::Quota | RetryReason::ClockSkew
        )
    )
}
