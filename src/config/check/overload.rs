//! Overload: times that mean something, shares in their order, and room for a body in each logstore.

use super::Findings;
use crate::config::{Config, Priority};
use crate::foundation::budget::fair::{FairRules, FairTerms, divide};
use crate::foundation::budget::{Budget, percent_of};
use crate::foundation::units::{ByteSize, Span};

pub(super) fn check(config: &Config, findings: &mut Findings) {
    let overload = &config.overload;
    for (key, time) in [
        ("overload.max_delay", overload.max_delay),
        ("overload.quota_memory", overload.quota_memory),
        ("overload.quota_delay", overload.quota_delay),
        ("overload.max_lag", overload.max_lag),
    ] {
        if time == Span::default() {
            findings.error(key, "must be more than 0");
        }
    }
    if overload.low_share > overload.normal_share {
        let (low, normal) = (overload.low_share, overload.normal_share);
        let message = format!("{low} is more than overload.normal_share ({normal})");
        findings
            .error("overload.low_share", message)
            .beside("overload.normal_share");
    }
    if overload.quota_delay > overload.max_delay {
        let (quota, most) = (overload.quota_delay, overload.max_delay);
        let message = format!("{quota} is longer than overload.max_delay ({most})");
        findings
            .error("overload.quota_delay", message)
            .beside("overload.max_delay");
    }
    if config.batch.max_age >= overload.max_delay {
        let (age, most) = (config.batch.max_age, overload.max_delay);
        let message = format!("events may wait for {age} (batch.max_age) before they are sent");
        findings
            .warning("overload.max_delay", message)
            .help(format!("set it well above {age}; it is {most}"))
            .beside("batch.max_age");
    }
    room(config, findings);
}

/// The largest body must fit in what its logstore may hold when the others hold nothing.
fn room(config: &Config, findings: &mut Findings) {
    let limits = &config.limits;
    let (memory, body) = (limits.memory.get(), limits.body.get());
    let share = percent_of(memory, limits.memory_share);
    if body > share {
        return; // told by the check of the shares
    }
    let logstores = || {
        let projects = config.projects.iter().enumerate();
        projects.flat_map(|(i, project)| {
            let logstores = project.logstores.iter().enumerate();
            logstores.map(move |(j, logstore)| (format!("project[{i}].logstore[{j}]"), logstore))
        })
    };
    let terms: Vec<FairTerms> = logstores()
        .map(|(_, logstore)| FairTerms {
            weight: logstore.weight,
            limit: share,
        })
        .collect();
    let rules = FairRules {
        reserved: config.overload.reserved,
        alpha: config.overload.alpha,
    };
    let budgets = divide(&Budget::new(memory), &terms, rules);
    for ((key, logstore), budget) in logstores().zip(budgets) {
        let percent = match logstore.priority {
            Priority::Low => config.overload.low_share,
            Priority::Normal => config.overload.normal_share,
            Priority::High => 100,
        };
        let most = percent_of(budget.allowed(), percent);
        if body > most {
            let most = ByteSize::bytes(most);
            let message = format!(
                "a body of limits.body ({}) never fits: with nothing else held it may hold {most}",
                limits.body
            );
            findings
                .error(key, message)
                .help("lower limits.body, raise limits.memory, or give the logstore a larger weight or priority")
                .beside("limits.body")
                .beside("limits.memory");
        }
    }
}
