//! The end of a lane that is not of the configuration any more.
//!
//! Promise: nothing that it holds is lost while the pipeline runs. It takes events until nobody knows it
//! any more, and is delivered then; what its store does not take in time goes to its disk and stays there.
//! What neither takes stays in memory, and both are tried in turn until one of them does, or the pipeline
//! stops. Without a disk only the store is tried.

#[cfg(test)]
mod tests;

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::lane_spool::Job;
use super::stop::records_are_on_disk;
use super::{Current, Lane, Pipeline, Served};
use crate::foundation::names::{LogstoreName, ProjectName};

/// For how long the store is tried again, at least, before the disk is.
const AGAIN: Duration = Duration::from_secs(1);

impl Pipeline {
    /// Whether a lane of that name that is not of the configuration any more still has its disk.
    #[must_use]
    pub fn is_leaving(&self, project: &ProjectName, logstore: &LogstoreName) -> bool {
        let of_this = |it: &Served| {
            let lane = &it.lane;
            let names = (lane.project(), lane.logstore()) == (project, logstore);
            it.leaving && names && lane.spool().is_some()
        };
        self.served().iter().any(of_this)
    }

    /// Ends a lane that is not of the configuration any more: once `unknown` says that no request knows
    /// it any more, nothing is taken, and what it holds is delivered. Where it has a disk, that gets
    /// what is not delivered within `patience`. Once nothing is held any more `gone` is called, with
    /// whether another lane has its name now; it asks nothing of the pipeline.
    pub fn let_go(
        &self,
        lane: &Arc<Lane>,
        unknown: impl Future<Output = ()> + Send + 'static,
        patience: Duration,
        gone: impl FnOnce(bool) + Send + 'static,
    ) {
        let of_this = |it: &&Served| Arc::ptr_eq(&it.lane, lane);
        let Some(mut leaving) = self.served().iter().find(of_this).cloned() else {
            return;
        };
        let (all, current) = (Arc::clone(&self.served), Arc::clone(&self.current));
        let (stopping, deadline) = (self.stopping.clone(), self.deadline.clone());
        let tasks = self.tasks.clone();
        self.spawn(async move {
            let again = |leaving: &mut Served| {
                leaving.deadline = deadline.child_token();
                let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
                let same = all.iter_mut();
                for it in same.filter(|it| Arc::ptr_eq(&it.lane, &leaving.lane)) {
                    it.deadline = leaving.deadline.clone();
                }
                drop(all);
                leaving.work(&tasks);
            };
            tokio::select! {
                () = ended(&mut leaving, unknown, patience, again) => {}
                // The stop of the pipeline ends it with the others.
                () = stopping.cancelled() => return,
            }
            if let Some(spool) = leaving.lane.spool() {
                let finishing = Arc::clone(spool);
                let finished = tokio::task::spawn_blocking(move || finishing.finish()).await;
                if finished.is_err() || !spool.is_finished() {
                    // It keeps its disk: whoever wants the name again is told.
                    tracing::error!("the spool of a logstore was not finished");
                    return;
                }
                spool.detach();
            }
            let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
            let lane = &leaving.lane;
            let mut others = all.iter().filter(|it| !Arc::ptr_eq(&it.lane, lane));
            let names = |it: &Served| {
                (it.lane.project(), it.lane.logstore()) == (lane.project(), lane.logstore())
            };
            gone(others.any(names));
            all.retain(|it| !Arc::ptr_eq(&it.lane, lane));
            current.rcu(|current| {
                let lanes = current.lanes.iter();
                let lanes = lanes.filter(|it| !Arc::ptr_eq(it, lane)).map(Arc::clone);
                Current {
                    lanes: lanes.collect(),
                    max_age: current.max_age,
                    max_lag: current.max_lag,
                }
            });
        });
    }
}

/// Waits until nobody brings a lane anything, and what it holds is delivered or on its disk. `again` sends
/// workers once more.
///
/// # Cancel safety
/// What has not ended is with the workers, in the queue, or with the disk, where a stop finds it.
async fn ended(
    leaving: &mut Served,
    unknown: impl Future<Output = ()>,
    mut patience: Duration,
    again: impl Fn(&mut Served),
) {
    unknown.await;
    let lane = Arc::clone(&leaving.lane);
    lane.close();
    leaving.workers.close();
    let Some(spool) = lane.spool() else {
        leaving.workers.wait().await;
        return;
    };
    let mut told = false;
    loop {
        let delivered = tokio::time::timeout(patience, leaving.workers.wait());
        if delivered.await.is_err() {
            leaving.deadline.cancel();
            leaving.workers.wait().await;
        }
        // Else their bundles would not be done, and come again.
        records_are_on_disk(std::slice::from_ref(leaving)).await;
        while let Some(batch) = lane.sealed().pop().await {
            spool.push(Job::Spill(batch));
        }
        spool.all_done().await;
        if lane.sealed().is_empty() {
            return;
        }
        if !std::mem::replace(&mut told, true) {
            let (project, logstore) = (lane.project(), lane.logstore());
            tracing::warn!(
                %project, %logstore,
                "a logstore that was taken out holds events that neither its store nor its disk takes; both are tried further"
            );
        }
        patience = patience.max(AGAIN);
        again(leaving);
    }
}
