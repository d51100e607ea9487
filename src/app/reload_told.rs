//! What a reload says: why it is refused, and what it would do.

use crate::admin::{ReloadProblem, ReloadRefused, ReloadReport};
use crate::config::{Problem, Problems, Severity};

/// Refused for what an error says.
pub(super) fn because(error: impl std::fmt::Display) -> ReloadRefused {
    ReloadRefused::because(error.to_string())
}

/// Refused for what is wrong with the text, at its places.
pub(super) fn refused_of(problems: &Problems) -> ReloadRefused {
    let wrong = problems.iter();
    let wrong = wrong.filter(|problem| problem.severity == Severity::Error);
    ReloadRefused {
        problems: wrong
            .map(|problem| problem_of(Some(problems.origin()), problem))
            .collect(),
    }
}

/// A problem of a configuration, of the file that it was read from.
pub(super) fn problem_of(origin: Option<&str>, problem: &Problem) -> ReloadProblem {
    let place = problem.place.as_ref();
    ReloadProblem {
        place: Some(problem.key.clone()).filter(|key| !key.is_empty()),
        message: problem.message.clone(),
        hint: problem.help.clone(),
        file: origin.filter(|it| !it.is_empty()).map(str::to_owned),
        line: place.map(|place| place.line),
        column: place.map(|place| place.column),
    }
}

/// Refused for keys that cannot change while the service runs.
pub(super) fn needs_restart(keys: &[String]) -> ReloadRefused {
    let problem = |key: &String| ReloadProblem {
        place: Some(key.clone()),
        message: "cannot change while the service runs".to_owned(),
        hint: Some("restart to change it, or hand over with SIGUSR2".to_owned()),
        ..ReloadProblem::default()
    };
    ReloadRefused {
        problems: keys.iter().map(problem).collect(),
    }
}

/// What a reload would do, in a sentence.
pub(super) fn dry_message(report: &ReloadReport) -> String {
    match (report.changed.len(), report.needs_restart.len()) {
        (0, 0) => "nothing differs from what is in force".to_owned(),
        (live, 0) => format!("a reload would change {live} keys"),
        (live, fixed) => {
            format!("a reload would be refused: {fixed} keys need a restart; {live} do not")
        }
    }
}
