//! Every metric that a node can show: its name, kind, labels and help, as data.
//!
//! Promise: nothing is shown that is not declared here (`Family::of` takes a declaration and nothing
//! else), and docs/metrics.md is made of it (`tests/docs.rs`).

mod archive;
mod delivery;
mod edge;
mod identity;
mod limits;
mod load;
mod node;
mod quality;
mod requests;
#[cfg(test)]
mod shown;
mod spool;
mod traces;

pub(super) use self::archive::*;
pub(super) use self::delivery::*;
pub(super) use self::edge::*;
pub(super) use self::identity::*;
pub(super) use self::limits::*;
pub(super) use self::load::*;
pub(super) use self::node::*;
pub(super) use self::quality::*;
pub(super) use self::requests::*;
pub(super) use self::spool::*;
pub(super) use self::traces::*;

/// What a metric is, and how the series of logstores that share one are put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It goes up and down; several are added up.
    Gauge,
    /// It goes up and down; of several the largest is shown.
    Worst,
    /// A moment; of several the first is shown.
    Soonest,
    /// Always 1; what it says is in its labels.
    Info,
    /// Observations in buckets.
    Histogram,
}

impl Kind {
    /// The kind, as docs/metrics.md and the exposition name it.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge | Self::Worst | Self::Soonest => "gauge",
            Self::Info => "info",
            Self::Histogram => "histogram",
        }
    }
}

/// A metric.
#[derive(Debug)]
pub struct Declaration {
    /// Its name, with its unit and `_total`.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// What it says, in sentences.
    pub help: &'static str,
}

impl Declaration {
    /// Its name without `_total` or `_info`: that of its family in OpenMetrics.
    #[must_use]
    pub fn stem(&self) -> &'static str {
        let ending = match self.kind {
            Kind::Counter => "_total",
            Kind::Info => "_info",
            Kind::Gauge | Kind::Worst | Kind::Soonest | Kind::Histogram => "",
        };
        self.name.strip_suffix(ending).unwrap_or(self.name)
    }

    /// Its unit, where it has one; else it counts things.
    #[must_use]
    pub fn unit(&self) -> Option<&'static str> {
        let end = self.stem().rsplit('_').next()?;
        ["seconds", "bytes", "ratio"]
            .into_iter()
            .find(|unit| *unit == end)
    }
}

/// A part of the metrics, as docs/metrics.md shows them.
#[derive(Debug)]
pub struct Group {
    /// Its title.
    pub title: &'static str,
    /// Its metrics.
    pub metrics: &'static [&'static Declaration],
}

/// Every metric, in the order of docs/metrics.md.
pub const GROUPS: &[Group] = &[
    NODE_GROUP,
    REQUESTS_GROUP,
    IDENTITY_GROUP,
    QUALITY_GROUP,
    LIMITS_GROUP,
    LOAD_GROUP,
    DELIVERY_GROUP,
    SPOOL_GROUP,
    ARCHIVE_GROUP,
    EDGE_GROUP,
    TRACES_GROUP,
];

/// Declares the metrics of a group: `NAME = kind "name" [labels] "help";`.
macro_rules! declare {
    (@kind counter) => { $crate::telemetry::declared::Kind::Counter };
    (@kind gauge) => { $crate::telemetry::declared::Kind::Gauge };
    (@kind worst) => { $crate::telemetry::declared::Kind::Worst };
    (@kind soonest) => { $crate::telemetry::declared::Kind::Soonest };
    (@kind info) => { $crate::telemetry::declared::Kind::Info };
    (@kind histogram) => { $crate::telemetry::declared::Kind::Histogram };
    ($group:ident $title:literal $($konst:ident = $kind:ident $name:literal [$($label:literal),*] $help:literal;)+) => {
        $(
            pub(in crate::telemetry) static $konst: $crate::telemetry::declared::Declaration =
                $crate::telemetry::declared::Declaration {
                    name: $name,
                    kind: declare!(@kind $kind),
                    labels: &[$($label),*],
                    help: $help,
                };
        )+
        pub(super) const $group: $crate::telemetry::declared::Group =
            $crate::telemetry::declared::Group { title: $title, metrics: &[$(&$konst),+] };
    };
}
use declare;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn all() -> impl Iterator<Item = &'static Declaration> {
        GROUPS
            .iter()
            .flat_map(|group| group.metrics.iter().copied())
    }

    #[test]
    fn every_name_is_there_once_and_says_what_it_is() {
        let mut seen = BTreeSet::new();
        for declared in all() {
            let name = declared.name;
            assert!(seen.insert(declared.stem()), "{name} is there twice");
            let ours = name.starts_with("tollgate_") || name.starts_with("process_");
            assert!(ours, "{name}");
            let counts = declared.kind == Kind::Counter;
            assert_eq!(name.ends_with("_total"), counts, "{name}");
            assert_eq!(
                name.ends_with("_info"),
                declared.kind == Kind::Info,
                "{name}"
            );
            for ending in ["_bucket", "_count", "_sum", "_created"] {
                assert!(!name.ends_with(ending), "{name}");
            }
            if declared.kind == Kind::Histogram {
                assert_eq!(declared.unit(), Some("seconds"), "{name}");
            }
            assert!(declared.help.ends_with('.'), "{name}: {}", declared.help);
            assert!(!declared.labels.contains(&"le"), "{name}");
        }
        assert!(seen.len() > 100);
    }
}
