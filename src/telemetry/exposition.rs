//! The two forms in which Prometheus reads metrics: its text format and OpenMetrics 1.0.
//!
//! Own code, since the `prometheus` crate knows the first only, and its vectors tell series apart by
//! a hash of their label values run together: `("ab", "c")` and `("a", "bc")` would be one series. Held
//! to the parsers of others by tests/clients.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::declared::{Declaration, Kind};
use super::latency::{Exemplar, Observed};

/// The name in the series of all that have none of their own. No configured name of a logstore begins so;
/// anything else that is called so is among those that share.
pub(super) const OTHER: &str = "_other";

/// Names and values of labels.
pub(super) type Labels<'a> = Vec<(&'static str, &'a str)>;

/// A form of the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The text format of Prometheus, 0.0.4.
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Form {
    /// The content type of this form.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// What a client that sends this `Accept` gets: OpenMetrics when it asks for it, and not less than
    /// for text.
    #[must_use]
    pub fn of_accept(accept: &str) -> Self {
        let (mut open, mut text) = (0_u16, 0_u16);
        for range in accept.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default();
            let (mut weight, mut known) = (1000, true);
            for parameter in parts {
                match parameter.split_once('=') {
                    Some(("q", value)) => weight = thousandths(value),
                    Some(("version", version)) if kind.ends_with("openmetrics-text") => {
                        known = matches!(version, "1.0.0" | "0.0.1");
                    }
                    _ => {}
                }
            }
            let best = match kind {
                "application/openmetrics-text" if known => &mut open,
                "text/plain" | "text/*" | "*/*" => &mut text,
                _ => continue,
            };
            *best = weight.max(*best);
        }
        if open > 0 && open >= text {
            Self::OpenMetrics
        } else {
            Self::Text
        }
    }
}

/// A weight of `Accept`, from 0 to 1, in thousandths.
fn thousandths(value: &str) -> u16 {
    let (whole, part) = value.split_once('.').unwrap_or((value, ""));
    let digits = part.bytes().chain(*b"000").take(3);
    let part = digits.fold(0, |sum, digit| {
        sum * 10 + u16::from(digit.saturating_sub(b'0').min(9))
    });
    if whole == "0" { part } else { 1000 }
}

/// The series of one metric, as they are collected.
#[derive(Debug)]
pub(super) struct Family {
    declared: &'static Declaration,
    lines: String,
    /// Series that several names share, by their labels, in their order.
    shared: BTreeMap<String, usize>,
    sums: Vec<f64>,
}

impl Family {
    pub(super) fn of(declared: &'static Declaration) -> Self {
        Self {
            declared,
            lines: String::new(),
            shared: BTreeMap::new(),
            sums: Vec::new(),
        }
    }

    pub(super) fn push(&mut self, labels: Labels<'_>, value: u64) {
        self.push_part(labels, value, 1);
    }

    /// Pushes `value / per`: Prometheus wants whole units.
    #[expect(clippy::cast_precision_loss, reason = "Prometheus values are floats")]
    pub(super) fn push_part(&mut self, labels: Labels<'_>, value: u64, per: u32) {
        debug_assert!(
            labels.iter().map(|(name, _)| name).eq(self.declared.labels),
            "{}: {labels:?}",
            self.declared.name
        );
        if is_shared(&labels) {
            self.share(&series("", &labels, None), value as f64 / f64::from(per));
            return;
        }
        self.begin("", &labels, None);
        // Exact where it can be.
        let written = match per {
            1 => writeln!(self.lines, "{value}"),
            per => writeln!(self.lines, "{}", value as f64 / f64::from(per)),
        };
        debug_assert!(written.is_ok(), "a String takes everything");
    }

    /// Pushes a histogram, with what a few of its buckets have last seen.
    pub(super) fn push_histogram(
        &mut self,
        labels: &Labels<'_>,
        observed: &Observed,
        exemplars: &[Option<Exemplar>],
    ) {
        let folded = is_shared(labels);
        let mut count = 0;
        for (index, (bound, here)) in observed.buckets().enumerate() {
            count += here;
            if folded {
                #[expect(clippy::cast_precision_loss, reason = "Prometheus values are floats")]
                self.share(&series("_bucket", labels, Some(&bound)), count as f64);
                continue;
            }
            self.begin("_bucket", labels, Some(&bound));
            self.put(format_args!("{count}"));
            if let Some(Some(exemplar)) = exemplars.get(index) {
                self.put(format_args!(" # {{request_id=\"{}\"", exemplar.id.as_str()));
                if let Some(trace) = exemplar.trace {
                    self.put(format_args!(",trace_id=\"{}\"", trace.trace_text()));
                }
                self.put(format_args!(
                    "}} {} {}.{:03}",
                    exemplar.seconds,
                    exemplar.unix_millis / 1000,
                    exemplar.unix_millis % 1000
                ));
            }
            self.lines.push('\n');
        }
        if folded {
            #[expect(clippy::cast_precision_loss, reason = "Prometheus values are floats")]
            let count = count as f64;
            self.share(&series("_count", labels, None), count);
            self.share(&series("_sum", labels, None), observed.seconds());
            return;
        }
        self.begin("_count", labels, None);
        self.put(format_args!("{count}\n"));
        self.begin("_sum", labels, None);
        self.put(format_args!("{}\n", observed.seconds()));
    }

    fn put(&mut self, what: std::fmt::Arguments<'_>) {
        let written = self.lines.write_fmt(what);
        debug_assert!(written.is_ok(), "a String takes everything");
    }

    fn begin(&mut self, ending: &str, labels: &Labels<'_>, bound: Option<&str>) {
        self.lines.push_str(self.declared.name);
        write_series(&mut self.lines, ending, labels, bound);
    }

    /// Adds to a series that several names share.
    fn share(&mut self, series: &str, value: f64) {
        let next = self.sums.len();
        let at = *self.shared.entry(series.to_owned()).or_insert(next);
        let Some(sum) = self.sums.get_mut(at) else {
            self.sums.push(value);
            return;
        };
        *sum = match self.declared.kind {
            Kind::Worst => sum.max(value),
            Kind::Soonest => sum.min(value),
            _ => *sum + value,
        };
    }

    fn write(mut self, form: Form, out: &mut String) {
        let mut shared: Vec<(String, usize)> =
            std::mem::take(&mut self.shared).into_iter().collect();
        shared.sort_unstable_by_key(|(_, at)| *at);
        for ((series, _), sum) in shared.iter().zip(std::mem::take(&mut self.sums)) {
            self.lines.push_str(self.declared.name);
            self.lines.push_str(series);
            self.put(format_args!("{sum}\n"));
        }
        if self.lines.is_empty() {
            return;
        }
        let Declaration {
            name, kind, help, ..
        } = self.declared;
        let (name, kind) = match (form, kind) {
            (Form::OpenMetrics, kind) => (self.declared.stem(), kind.label()),
            (Form::Text, Kind::Info) => (*name, "gauge"),
            (Form::Text, kind) => (*name, kind.label()),
        };
        out.push_str("# HELP ");
        out.push_str(name);
        out.push(' ');
        // Both forms escape a backslash and a line feed; OpenMetrics a quotation mark as well.
        for letter in help.chars() {
            match letter {
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '"' if form == Form::OpenMetrics => out.push_str("\\\""),
                letter => out.push(letter),
            }
        }
        for part in ["\n# TYPE ", name, " ", kind, "\n"] {
            out.push_str(part);
        }
        if let (Form::OpenMetrics, Some(unit)) = (form, self.declared.unit()) {
            for part in ["# UNIT ", name, " ", unit, "\n"] {
                out.push_str(part);
            }
        }
        out.push_str(&self.lines);
    }
}

/// Whether these are the labels of a series that several names share, of whichever kind they are.
fn is_shared(labels: &Labels<'_>) -> bool {
    labels.iter().any(|(_, value)| *value == OTHER)
}

/// Everything behind the name of a metric.
fn series(ending: &str, labels: &Labels<'_>, bound: Option<&str>) -> String {
    let mut out = String::new();
    write_series(&mut out, ending, labels, bound);
    out
}

fn write_series(out: &mut String, ending: &str, labels: &Labels<'_>, bound: Option<&str>) {
    out.push_str(ending);
    let bound = bound.map(|bound| ("le", bound));
    let mut before = '{';
    for (name, value) in labels.iter().copied().chain(bound) {
        out.push(before);
        out.push_str(name);
        out.push_str("=\"");
        for letter in value.chars() {
            match letter {
                '\\' => out.push_str("\\\\"),
                '"' => out.push_str("\\\""),
                '\n' => out.push_str("\\n"),
                letter => out.push(letter),
            }
        }
        out.push('"');
        before = ',';
    }
    if before == ',' {
        out.push('}');
    }
    out.push(' ');
}

/// Writes the families that have series.
pub(super) fn write(families: impl Iterator<Item = Family>, form: Form) -> String {
    let mut out = String::new();
    families.for_each(|family| family.write(form, &mut out));
    if form == Form::OpenMetrics {
        out.push_str("# EOF\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::declared;
    use super::*;

    #[test]
    fn the_form_is_the_one_that_is_asked_for() {
        let prometheus = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                          application/openmetrics-text;version=0.0.1;q=0.5,\
                          text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
                          text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        for (accept, form) in [
            ("", Form::Text),
            ("*/*", Form::Text),
            ("text/html, */*;q=0.8", Form::Text),
            (prometheus, Form::OpenMetrics),
            ("application/openmetrics-text", Form::OpenMetrics),
            (
                "application/openmetrics-text; version=2.0.0, text/plain",
                Form::Text,
            ),
            ("application/openmetrics-text;q=0", Form::Text),
            (
                "application/openmetrics-text;q=0.2,text/plain;q=0.35",
                Form::Text,
            ),
            (
                "application/openmetrics-text;q=1.0,text/plain",
                Form::OpenMetrics,
            ),
            ("q;q;;=,,", Form::Text),
        ] {
            assert_eq!(Form::of_accept(accept), form, "{accept}");
        }
    }

    #[test]
    fn a_family_without_series_is_left_out_and_values_are_escaped() {
        let mut upstreams = Family::of(&declared::UPSTREAM_PROBES);
        upstreams.push(vec![("upstream", "a\"b\\c\nd")], u64::MAX);
        let empty = Family::of(&declared::REQUESTS);
        let text = write([upstreams, empty].into_iter(), Form::OpenMetrics);
        assert!(!text.contains("tollgate_requests"), "{text}");
        let line = format!(
            "tollgate_upstream_probes_total{{upstream=\"a\\\"b\\\\c\\nd\"}} {}\n# EOF\n",
            u64::MAX
        );
        assert!(text.ends_with(&line), "{text}");
        assert!(
            text.contains("# TYPE tollgate_upstream_probes counter\n"),
            "{text}"
        );
    }
}
