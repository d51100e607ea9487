//! What was found, and what to do about it.

use serde_json::{Value, json};

use crate::cli::{Failure, form, output};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// As it should be.
    Ok,
    /// It works; someone should look at it.
    Warn,
    /// It does not work.
    Fail,
    /// It could not be looked at.
    Skip,
}

impl Verdict {
    const ALL: [Self; 4] = [Self::Ok, Self::Warn, Self::Fail, Self::Skip];

    fn label(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
            Self::Skip => "skip",
        }
    }

    fn colour(self) -> u8 {
        match self {
            Self::Ok => 32,
            Self::Warn => 33,
            Self::Fail => 31,
            Self::Skip => 2,
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    /// What was looked at, by a word that stays.
    check: &'static str,
    /// Which one of its kind.
    subject: String,
    verdict: Verdict,
    message: String,
    /// What to do.
    help: Option<String>,
}

/// All that was looked at, in that order.
#[derive(Debug, Default)]
pub(super) struct Findings(Vec<Finding>);

impl Findings {
    pub(super) fn ok(&mut self, check: &'static str, subject: &str, message: impl Into<String>) {
        self.add(check, subject, Verdict::Ok, message.into(), None);
    }

    pub(super) fn skip(&mut self, check: &'static str, subject: &str, message: impl Into<String>) {
        self.add(check, subject, Verdict::Skip, message.into(), None);
    }

    pub(super) fn warn(
        &mut self,
        check: &'static str,
        subject: &str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        let help = Some(help.into());
        self.add(check, subject, Verdict::Warn, message.into(), help);
    }

    pub(super) fn fail(
        &mut self,
        check: &'static str,
        subject: &str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        let help = Some(help.into());
        self.add(check, subject, Verdict::Fail, message.into(), help);
    }

    fn add(
        &mut self,
        check: &'static str,
        subject: &str,
        verdict: Verdict,
        message: String,
        help: Option<String>,
    ) {
        self.0.push(Finding {
            check,
            subject: subject.to_owned(),
            verdict,
            message,
            help: help.filter(|help| !help.is_empty()),
        });
    }

    fn count(&self, verdict: Verdict) -> usize {
        self.0.iter().filter(|it| it.verdict == verdict).count()
    }

    /// Whether something does not work.
    pub(super) fn failed(&self) -> bool {
        self.count(Verdict::Fail) > 0
    }

    /// For people: a line for each, and below it what to do.
    pub(super) fn text(&self) -> Result<(), Failure> {
        let colours = output::colour(&std::io::stdout());
        let wide = |part: fn(&Finding) -> &str| {
            let widths = self.0.iter().map(|it| part(it).chars().count());
            widths.max().unwrap_or(0)
        };
        let check = wide(|it| it.check);
        for it in &self.0 {
            let word = format!("{:<4}", it.verdict.label());
            let word = output::coloured(&word, it.verdict.colour(), colours);
            let subject = match it.subject.as_str() {
                "" => String::new(),
                subject => format!("{subject}: "),
            };
            let told = output::escape(&format!("{subject}{}", it.message));
            output::line(format_args!("{word}  {:<check$}  {told}", it.check))?;
            if let Some(help) = &it.help {
                let indent = check + 8;
                let help = output::escape(help);
                output::line(format_args!("{:indent$}-> {help}", ""))?;
            }
        }
        let counts = [
            (Verdict::Ok, "ok"),
            (Verdict::Warn, "to look at"),
            (Verdict::Fail, "to mend"),
            (Verdict::Skip, "not looked at"),
        ];
        let counts = counts.map(|(verdict, what)| (self.count(verdict), what));
        let counts = counts.iter().filter(|(count, _)| *count > 0);
        let counts: Vec<String> = counts.map(|(n, what)| format!("{n} {what}")).collect();
        output::line(format_args!("\n{}", counts.join(", ")))
    }

    /// For programs: one object.
    pub(super) fn json(&self) -> Result<(), Failure> {
        let findings = self.0.iter().map(|it| {
            json!({
                "check": it.check, "subject": it.subject, "verdict": it.verdict.label(),
                "message": it.message, "help": it.help,
            })
        });
        let counts = Verdict::ALL.map(|verdict| {
            let count = Value::from(self.count(verdict));
            (verdict.label().to_owned(), count)
        });
        form::print(&json!({
            "ok": !self.failed(),
            "counts": counts.into_iter().collect::<serde_json::Map<_, _>>(),
            "findings": findings.collect::<Vec<_>>(),
        }))
    }
}
