//! Limits and classes: what they name is there, and what they allow can be had.

use super::{Findings, refers, unique};
use crate::config::walk::nearest;
use crate::config::{Config, Limit, LimitAction, LimitMode, LimitUnit, Part, RateRule, stage_of};
use crate::foundation::names::{LogstoreName, ProjectName};
use crate::foundation::units::{Amount, ByteSize, Span};

/// Windows of a limit.
const MOST_WINDOWS: usize = 4;
/// Longer, and a budget of a month is meant.
const LONGEST_RATE: Span = Span::secs(31 * 86_400);
/// A budget counts in 48 bits.
const LARGEST_BUDGET: u64 = (1 << 48) - 1;
const LARGEST_RESERVE: u64 = 90;
/// Letters of a name.
const LONGEST_NAME: usize = 63;
/// Limits and classes are searched one by one.
const MOST_LIMITS: usize = 64;
const MOST_CLASSES: usize = 64;

pub(super) fn check(config: &Config, findings: &mut Findings) {
    check_quota(config, findings);
    check_classes(config, findings);
    let rules = config.limit_rules.iter().enumerate();
    unique(
        rules.map(|(index, rule)| (format!("limit[{index}].name"), rule.name.as_str())),
        "limit",
        findings,
    );
    if config.limit_rules.len() > MOST_LIMITS {
        let message = format!("there are more than {MOST_LIMITS} limits");
        findings.error("limit", message);
    }
    for (index, rule) in config.limit_rules.iter().enumerate() {
        check_limit(config, rule, &format!("limit[{index}]"), findings);
    }
}

fn check_quota(config: &Config, findings: &mut Findings) {
    let quota = &config.quota;
    if quota.offset_seconds().is_none() {
        let message = format!("`{}` is no offset from UTC", quota.utc_offset);
        findings
            .error("quota.utc_offset", message)
            .help("write `+08:00`, `-03:30` or `+00:00`");
    }
    if quota.save_interval < Span::millis(100) || quota.save_interval > Span::secs(3600) {
        findings.error("quota.save_interval", "must be from 100ms to 1h");
    }
    if quota.max_overrides == 0 || quota.max_overrides > 100_000 {
        findings.error("quota.max_overrides", "must be from 1 to 100000");
    }
    let on = config
        .limit_rules
        .iter()
        .filter(|rule| rule.mode != LimitMode::Off);
    let needed = on.map(Limit::state_bytes).fold(0, u64::saturating_add);
    if needed > quota.memory.get() {
        let mib = needed.div_ceil(1 << 20);
        let message = format!("the limits need {mib}MiB, and there are {}", quota.memory);
        findings
            .error("quota.memory", message)
            .help("raise it, or lower max_keys of a limit")
            .beside("limit");
    }
}

fn check_classes(config: &Config, findings: &mut Findings) {
    let classes = &config.classes;
    unique(
        classes
            .iter()
            .enumerate()
            .map(|(index, class)| (format!("class[{index}].name"), class.name.as_str())),
        "class",
        findings,
    );
    if classes.len() > MOST_CLASSES {
        findings.error(
            "class",
            format!("there are more than {MOST_CLASSES} classes"),
        );
    }
    for (index, class) in classes.iter().enumerate() {
        let path = format!("class[{index}]");
        check_name(&format!("{path}.name"), &class.name, "class", findings);
        match (&class.field, class.values.is_empty()) {
            (Some(field), true) => {
                findings
                    .error(
                        format!("{path}.field"),
                        format!("no value of `{field}` is named"),
                    )
                    .help("name values, such as [\"purchase\"]");
            }
            (None, false) => {
                findings
                    .error(format!("{path}.values"), "values of which field?")
                    .help("set field");
            }
            (None, true) if class.topics.is_empty() => {
                findings
                    .error(format!("{path}.name"), "no event can be of this class")
                    .help("name topics, or a field and values");
            }
            _ => {}
        }
    }
}

fn check_name(key: &str, name: &str, what: &str, findings: &mut Findings) {
    let letter = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    if name.is_empty() || name.len() > LONGEST_NAME || !name.bytes().all(letter) {
        let message = format!("`{name}` is not the name of a {what}");
        findings.error(key, message).help(format!(
            "use 1 to {LONGEST_NAME} letters, digits, `-` and `_`"
        ));
    }
}

fn check_limit(config: &Config, rule: &Limit, path: &str, findings: &mut Findings) {
    let key = |name: &str| format!("{path}.{name}");
    check_name(&key("name"), &rule.name, "limit", findings);
    check_windows(config, rule, path, findings);
    let mut sound = check_key(config, &key("key"), &rule.key, findings);
    if let Some(parent) = &rule.parent {
        sound &= check_parent(config, rule, path, findings);
        if parent.ipv4_prefix > 32 || parent.ipv6_prefix > 128 {
            findings.error(key("parent"), "a prefix has at most 32 or 128 bits");
        }
    }
    if rule.action == LimitAction::Sample {
        sound &= check_key(config, &key("sample_by"), &rule.sample_by, findings);
        if sound {
            check_sample(rule, &key("sample_by"), findings);
        }
    }
    check_scope(config, rule, path, findings);
    check_divert(config, rule, path, findings);
    let names = || config.classes.iter().map(|class| class.name.as_str());
    for (index, class) in rule.classes.iter().enumerate() {
        let key = format!("{}[{index}]", key("classes"));
        refers(key, class, names(), "[[class]]", findings);
    }
    check_reserve(config, rule, path, findings);
}

fn check_windows(config: &Config, rule: &Limit, path: &str, findings: &mut Findings) {
    let windows = rule.rates.len() + rule.budgets.len();
    if windows == 0 {
        findings
            .error(format!("{path}.name"), "the limit limits nothing")
            .help("add a [[limit.rate]] or a [[limit.budget]]");
    }
    if windows > MOST_WINDOWS {
        let message = format!("has {windows} rates and budgets; {MOST_WINDOWS} are possible");
        findings.error(format!("{path}.name"), message);
    }
    check_rates(
        config,
        rule.unit,
        &rule.rates,
        &format!("{path}.rate"),
        findings,
    );
    for (index, budget) in rule.budgets.iter().enumerate() {
        let key = format!("{path}.budget[{index}].count");
        if budget.count.get() > LARGEST_BUDGET {
            findings.error(key, format!("must be at most {LARGEST_BUDGET}"));
        } else if budget.count.get() == 0 {
            findings
                .error(key, "a budget of 0 lets nothing through, ever")
                .help("name the units of the period; `tollgate limits ban` closes single keys");
        } else {
            never_passes(config, rule.unit, &key, budget.count, findings);
        }
    }
    let by_address = rule.key.iter().any(|part| part == "address");
    if by_address && !rule.budgets.is_empty() && rule.rates.is_empty() && rule.parent.is_none() {
        findings
            .error(
                format!("{path}.budget"),
                "each new address would have a budget of its own, and new addresses cost nothing",
            )
            .help("add a [[limit.rate]], which bounds new addresses of a prefix too, or a [limit.parent]");
    }
}

fn check_rates(
    config: &Config,
    unit: LimitUnit,
    rates: &[RateRule],
    path: &str,
    findings: &mut Findings,
) {
    for (index, rate) in rates.iter().enumerate() {
        let key = |name: &str| format!("{path}[{index}].{name}");
        if rate.per < Span::millis(1) || rate.per > LONGEST_RATE {
            findings
                .error(key("per"), "must be from 1ms to 31d")
                .help("a [[limit.budget]] counts months");
        }
        if let Some(burst) = rate.burst
            && burst.get() == 0
        {
            findings
                .error(key("burst"), "a burst of 0 lets nothing through")
                .help("leave it out, or write count = 0 where that is meant");
            continue;
        }
        if rate.count.get() > 0 {
            let (name, burst) = match rate.burst {
                Some(burst) => ("burst", burst),
                None => ("count", rate.count),
            };
            never_passes(config, unit, &key(name), burst, findings);
        }
    }
}

/// Tells of requests that are allowed by `limits` and could never pass.
fn never_passes(
    config: &Config,
    unit: LimitUnit,
    key: &str,
    most: Amount,
    findings: &mut Findings,
) {
    let limits = &config.limits;
    let (bound, told, named) = match unit {
        LimitUnit::Requests => return,
        LimitUnit::Events => {
            let events = u64::from(limits.events);
            (events, format!("{events} events"), "limits.events")
        }
        LimitUnit::Bytes => (
            limits.body.get(),
            ByteSize::bytes(limits.body.get()).to_string(),
            "limits.body",
        ),
    };
    if most.get() < bound {
        let message = format!(
            "a request of more than {} never passes, and {told} are allowed",
            most.get()
        );
        findings
            .warning(key, message)
            .help(format!("raise it, or lower {named}"))
            .beside(named);
    }
}

/// Whether all parts of a key are sound.
/// Headers whose values may not be shown.
const SECRET_HEADERS: [&str; 4] = [
    "authorization",
    "cookie",
    "proxy-authorization",
    "x-acs-security-token",
];

fn check_key(config: &Config, path: &str, key: &[String], findings: &mut Findings) -> bool {
    const PLAIN: [&str; 7] = [
        "address",
        "credential",
        "subject",
        "origin",
        "project",
        "logstore",
        "topic",
    ];
    let mut sound = true;
    for (index, text) in key.iter().enumerate() {
        let at = format!("{path}[{index}]");
        match text.parse::<Part>() {
            Err(error) => {
                sound = false;
                let finding = findings.error(at.clone(), error.to_string());
                if let Some(near) = nearest(text, &PLAIN) {
                    finding.help(format!("did you mean `{near}`?"));
                }
            }
            Ok(Part::Cookie(name)) => {
                let allowed = &config.identity.cookies.allow;
                if !allowed.iter().any(|known| **known == *name) {
                    findings
                        .error(at.clone(), format!("`{name}` is not a trusted cookie"))
                        .help("add it to identity.cookies.allow")
                        .beside("identity.cookies.allow");
                }
            }
            Ok(Part::Header(name)) if SECRET_HEADERS.contains(&name.as_str()) => {
                findings
                    .error(
                        at.clone(),
                        format!("`{name}` holds a secret, and keys are shown to operators"),
                    )
                    .help("use `credential` or `subject`, or `cookie:NAME` for a trusted cookie");
            }
            Ok(Part::Claim(name)) if config.identity.jwt.is_empty() => {
                findings
                    .warning(
                        at.clone(),
                        format!("nobody has a claim `{name}`: there is no key of tokens"),
                    )
                    .help("add an [[identity.jwt]]")
                    .beside("identity.jwt");
            }
            Ok(_) => {}
        }
        if key.iter().take(index).any(|before| before == text) {
            findings.error(at, format!("`{text}` is there twice"));
        }
    }
    sound
}

fn check_parent(config: &Config, rule: &Limit, path: &str, findings: &mut Findings) -> bool {
    let Some(parent) = &rule.parent else {
        return true;
    };
    let key = format!("{path}.parent.key");
    let sound = check_key(config, &key, &parent.key, findings);
    if parent.rates.is_empty() || parent.rates.len() > MOST_WINDOWS {
        findings.error(
            format!("{path}.parent.rate"),
            format!("must be 1 to {MOST_WINDOWS}"),
        );
    }
    let rates = format!("{path}.parent.rate");
    check_rates(config, rule.unit, &parent.rates, &rates, findings);
    if let (Ok(own), Ok(above)) = (stage_of(&rule.key), stage_of(&parent.key))
        && above > own
    {
        findings
            .error(
                key,
                "is known later than the key of the limit, which would wait for it",
            )
            .help("use parts that are in the key, or wider ones");
    }
    sound
}

fn check_sample(rule: &Limit, key: &str, findings: &mut Findings) {
    let (Ok(known), Ok(wanted)) = (rule.stage(), stage_of(&rule.sample_by)) else {
        return;
    };
    if wanted > known {
        findings
            .error(key, "is not known yet when the limit is asked")
            .help("sample by parts of the limit's key, or by address");
    }
    if rule.sample_by.iter().any(|part| part.starts_with("event:")) {
        findings
            .error(key, "a field of single events cannot tell senders apart")
            .help("sample by address, subject or credential");
    }
    if rule.sample_by.is_empty() {
        findings.error(key, "must name at least one part");
    }
}

/// The projects and logstores that a limit is for.
fn check_scope(config: &Config, rule: &Limit, path: &str, findings: &mut Findings) {
    let projects = || config.projects.iter().map(|p| p.name.as_str());
    for (index, name) in rule.projects.iter().enumerate() {
        let key = format!("{path}.projects[{index}]");
        refers(key, name.as_str(), projects(), "[[project]]", findings);
    }
    for (index, name) in rule.logstores.iter().enumerate() {
        let of_scope = config.projects.iter().filter(|p| in_scope(rule, &p.name));
        let logstores = of_scope.flat_map(|p| p.logstores.iter().map(|l| l.name.as_str()));
        let key = format!("{path}.logstores[{index}]");
        refers(
            key,
            name.as_str(),
            logstores,
            "[[project.logstore]]",
            findings,
        );
    }
}

fn in_scope(rule: &Limit, project: &ProjectName) -> bool {
    rule.projects.is_empty() || rule.projects.contains(project)
}

fn check_divert(config: &Config, rule: &Limit, path: &str, findings: &mut Findings) {
    let key = format!("{path}.divert_to");
    let target: &LogstoreName = match (&rule.divert_to, rule.action) {
        (None, LimitAction::Divert) => {
            findings
                .error(format!("{path}.action"), "divert where to?")
                .help("set divert_to to a logstore of the project");
            return;
        }
        (Some(_), action) if action != LimitAction::Divert => {
            findings
                .warning(key, "is of no use without action = \"divert\"")
                .beside(format!("{path}.action"));
            return;
        }
        (None, _) => return,
        (Some(target), _) => target,
    };
    for project in config.projects.iter().filter(|p| in_scope(rule, &p.name)) {
        let logstores: Vec<&str> = project.logstores.iter().map(|l| l.name.as_str()).collect();
        let concerned = rule.logstores.is_empty()
            || project
                .logstores
                .iter()
                .any(|l| rule.logstores.contains(&l.name));
        if !concerned || logstores.contains(&target.as_str()) {
            continue;
        }
        let message = format!("project `{}` has no logstore `{target}`", project.name);
        let finding = findings.error(key.clone(), message);
        match nearest(target.as_str(), &logstores) {
            Some(near) => finding.help(format!("did you mean `{near}`?")),
            None => finding.help("add it, or name the projects that have it in `projects`"),
        };
    }
    if rule.logstores.is_empty() || rule.logstores.contains(target) {
        findings
            .error(
                key,
                format!("the limit is for `{target}` too, and would divert to itself"),
            )
            .help("name the logstores that it is for in `logstores`, without this one")
            .beside(format!("{path}.logstores"));
    }
}

fn check_reserve(config: &Config, rule: &Limit, path: &str, findings: &mut Findings) {
    if rule.reserve.is_empty() {
        return;
    }
    for (class, percent) in &rule.reserve {
        let key = format!("{path}.reserve.{class}");
        let names = config.classes.iter().map(|class| class.name.as_str());
        refers(key.clone(), class, names, "[[class]]", findings);
        if *percent == 0 {
            findings.error(key.clone(), "must be at least 1");
        }
        if !rule.classes.is_empty() && !rule.classes.contains(class) {
            findings
                .error(key, format!("the limit does not count events of `{class}`"))
                .help("name the class in `classes` too")
                .beside(format!("{path}.classes"));
        }
    }
    if rule.reserve.len() > 1 {
        findings
            .error(
                format!("{path}.reserve"),
                "a limit can keep a share for one class",
            )
            .help("put what belongs together into one [[class]]");
    }
    let sum: u64 = rule
        .reserve
        .values()
        .map(|percent| u64::from(*percent))
        .sum();
    if sum > LARGEST_RESERVE {
        findings
            .error(
                format!("{path}.reserve"),
                format!("the shares are {sum} % together; at most {LARGEST_RESERVE} are possible"),
            )
            .help("leave something for all other events");
    }
}
