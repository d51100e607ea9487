//! Lanes that come, change and go while the others run.
//!
//! Promise: a change loses no event and refuses no request of a lane that stays. What a lane holds stays
//! with it: its open batches, its queue, its memory, its disk; new rules hold for what comes from then
//! on. Where the way to the store has changed, new workers take over between two attempts, with the
//! batches that the old ones had.
//! A lane that takes copies of another one's events comes, changes and goes as any other.
//! Not here: the end of a lane that goes (`leaving`).

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::admission::{Admission, AdmissionRules};
use super::forward::{Forwarder, RefusedRules, Signals};
use super::lane_spool::{LaneSpool, SpoolUse};
use super::open::Safety;
use super::queue::SealedQueue;
use super::{Current, Lane, LaneSpec, Pipeline, PipelineRules, Served, shares, spool, tending};
use crate::config::RefusedEvents;
use crate::foundation::budget::Budget;
use crate::foundation::names::LogstoreName;

/// Lanes after a change.
#[derive(Debug)]
pub struct Changed {
    /// Those of the configuration, in the order of their specs.
    pub lanes: Vec<Arc<Lane>>,
    /// Those that are not of it any more, for [`Pipeline::let_go`].
    pub leaving: Vec<Arc<Lane>>,
}

impl Pipeline {
    /// Goes by another configuration: lanes of the same names are changed, the others are started or
    /// left. To be called in a runtime, and by one thread at a time. After the pipeline began to stop
    /// nothing is started that would do anything.
    pub fn change(&self, specs: Vec<LaneSpec>, rules: PipelineRules<'_>) -> Changed {
        let mut served = self.served();
        for upstream in served.iter().flat_map(|it| &it.upstreams) {
            upstream.metrics().serves_none();
        }
        let mut before: Vec<Option<Served>> = served.drain(..).map(Some).collect();
        let of_spec = |spec: &LaneSpec, it: &Option<Served>| {
            it.as_ref().is_some_and(|it| {
                !it.leaving
                    && *it.lane.project() == spec.project
                    && *it.lane.logstore() == spec.logstore
            })
        };
        let known: Vec<Option<Served>> = specs
            .iter()
            .map(|spec| {
                let mut same = before.iter_mut().filter(|it| of_spec(spec, it));
                same.next().and_then(Option::take)
            })
            .collect();
        self.memory().set_limit(rules.limits.memory.get());
        let budgets = known.iter().zip(&specs).map(|(known, spec)| {
            let has = known.as_ref().map(|it| Arc::clone(it.lane.budget()));
            (has, spec.weight)
        });
        let budgets = shares(&self.memory, budgets.collect(), rules);
        let copies: Vec<Option<LogstoreName>> = specs.iter().map(|it| it.also.clone()).collect();
        let mut leaving = Vec::new();
        let staying = specs.into_iter().zip(known).zip(budgets);
        for ((spec, known), budget) in staying {
            served.push(match known {
                Some(known) => self.go_on(known, spec, rules),
                None => self.begin(spec, budget, rules),
            });
        }
        let lanes: Vec<Arc<Lane>> = served.iter().map(|it| Arc::clone(&it.lane)).collect();
        feed_copies(&lanes, &copies);
        for mut gone in before.into_iter().flatten() {
            if !gone.leaving {
                gone.leaving = true;
                if let Some(spool) = gone.lane.spool() {
                    // What it has drains; the others have its part.
                    spool.weigh(0);
                }
                leaving.push(Arc::clone(&gone.lane));
            }
            served.push(gone);
        }
        let spools = served.iter().filter_map(|it| it.lane.spool());
        spools.for_each(|spool| spool.show_part());
        tell_upstreams(&served, rules);
        let all = served.iter().map(|it| Arc::clone(&it.lane)).collect();
        self.current.store(Arc::new(Current::new(all, rules)));
        Changed { lanes, leaving }
    }

    /// Starts a lane.
    fn begin(&self, mut spec: LaneSpec, budget: Arc<Budget>, rules: PipelineRules<'_>) -> Served {
        let names = (spec.project.clone(), spec.logstore.clone());
        let metrics = Arc::clone(&spec.metrics);
        // Under the same lock as the end of a lane of that name, which forgets them.
        let shown = rules.metrics;
        shown.keep_logstore(names.0.as_str(), names.1.as_str(), &metrics);
        let (ack, log, shared) = (spec.ack, spec.log.take(), Arc::clone(&budget));
        let admission = admission_rules(rules);
        let admission = Admission::new(budget, spec.weight, admission, Arc::clone(&metrics));
        let safety = |sealed: &Arc<SealedQueue>| {
            let cells = Arc::clone(&metrics);
            let start = |log: spool::Log| {
                let used = SpoolUse::new(rules.spool, log.order(), &self.pace);
                LaneSpool::start(log, used, (shared, Arc::clone(sealed)), cells)
            };
            Safety {
                ack,
                patience: rules.delivery.ack_timeout.get(),
                spool: log.map(start),
            }
        };
        let lane = Lane::new(names, admission, rules.batch, Arc::clone(&metrics), safety);
        let mut served = Served {
            lane: Arc::new(lane),
            metrics,
            way: String::new(),
            upstreams: Vec::new(),
            deadline: self.deadline.child_token(),
            relieved: CancellationToken::new(),
            workers: TaskTracker::new(),
            forwarder: None,
            records: TaskTracker::new(),
            leaving: false,
        };
        self.send_workers(&mut served, spec, rules);
        served
    }

    /// Changes a lane that runs.
    fn go_on(&self, mut served: Served, spec: LaneSpec, rules: PipelineRules<'_>) -> Served {
        let batch = (rules.batch, rules.delivery.ack_timeout.get());
        let admission = admission_rules(rules);
        served.lane.change_rules(batch, spec.weight, admission);
        if served.way != spec.way {
            served.relieved.cancel();
            self.send_workers(&mut served, spec, rules);
        }
        served
    }

    /// Gives a lane its workers.
    fn send_workers(&self, served: &mut Served, spec: LaneSpec, rules: PipelineRules<'_>) {
        let delivery = rules.delivery;
        let keeps = delivery.refused == RefusedEvents::Quarantine;
        let aside = RefusedRules {
            quarantine: rules.quarantine.filter(|_| keeps).map(Arc::clone),
            max_splits: delivery.max_splits,
        };
        served.relieved = CancellationToken::new();
        served.way.clone_from(&spec.way);
        let routes = std::iter::once(&spec.store).chain(&spec.fallback);
        served.upstreams = routes.map(|route| Arc::clone(&route.upstream)).collect();
        let signals = Signals {
            stopping: self.stopping.clone(),
            records: served.records.clone(),
            relieved: served.relieved.clone(),
        };
        let routes = std::iter::once(&spec.store).chain(&spec.fallback);
        let tended = routes.filter(|route| route.destination.needs_tending());
        tending::tended(&self.tended).extend(tended.map(|route| Arc::clone(&route.destination)));
        let lane = Arc::clone(&served.lane);
        let rest = (aside, rules.spans.cloned());
        let forwarder = Forwarder::new(spec, lane, delivery, rest, signals);
        served.forwarder = Some(Arc::new(forwarder));
        served.work(&self.tasks);
    }
}

/// Gives each lane the one that takes copies of its events. A lane that is left keeps its own: requests
/// may still know it.
fn feed_copies(lanes: &[Arc<Lane>], copies: &[Option<LogstoreName>]) {
    for (lane, copy) in lanes.iter().zip(copies) {
        let of_this = |it: &&Arc<Lane>| {
            it.project() == lane.project() && Some(it.logstore()) == copy.as_ref()
        };
        lane.copy_to(lanes.iter().find(of_this).map(Arc::clone));
    }
}

/// Notes at each upstream which logstores are delivered there.
fn tell_upstreams(served: &[Served], rules: PipelineRules<'_>) {
    for Served {
        lane,
        upstreams,
        leaving,
        ..
    } in served
    {
        // The second is the fallback. A lane that takes copies has its own name, and its own first.
        for (place, upstream) in upstreams.iter().enumerate() {
            let (project, logstore) = (lane.project().as_str(), lane.logstore().as_str());
            if !leaving {
                upstream.show(rules.delivery, rules.metrics);
            }
            upstream.metrics().serves(project, logstore, place > 0);
        }
    }
}

fn admission_rules(rules: PipelineRules<'_>) -> AdmissionRules {
    AdmissionRules::new(rules.overload, rules.delivery.timeout.get())
}
