//! What is counted, and how it is shown to Prometheus; and the log.
//!
//! Every metric is declared in `declared/`, with its kind, labels and help. Labels come from the configuration
//! and from closed enums, never from a client. Counting is one atomic addition on a cell that was
//! resolved when the configuration was loaded.

mod archive;
mod books;
mod certificates;
mod configuration;
mod dashboard;
mod declared;
mod edge_families;
mod embedded;
mod exposition;
mod families;
mod guards;
mod labels;
mod latency;
mod limits;
mod load;
pub mod log;
mod metrics;
mod names;
mod node;
mod overview;
mod process;
mod quality;
mod shared_limits;
mod span_metrics;
pub mod spans;
mod spool;
mod tally;
mod transforms;
mod upstream_report;
mod upstreams;

pub use self::archive::ArchiveMetrics;
pub use self::books::{Away, Books, Earlier, KeptBooks, LogstoreBook, Sums};
pub use self::certificates::CertificateMetrics;
pub use self::configuration::{ConfigurationMetrics, Generation, Reloads};
pub use self::dashboard::DashboardMetrics;
pub use self::declared::{Declaration, GROUPS, Group, Kind};
pub use self::embedded::EmbeddedMetrics;
pub use self::exposition::Form;
pub use self::guards::{GuardFigures, GuardedValues};
pub use self::labels::{
    AddressOutcome, AdminCall, AdminHandshake, AdminOutcome, BreakerState, ConnectionEnd,
    CredentialKind, CredentialRead, DrainStage, DropReason, HttpVersion, Judge, LimitOutcome,
    LoadPart, LoginOutcome, PlatformLabel, RelayOutcome, ReloadOutcome, ReloadSource, RequestStage,
    RouteLabel, SpanDrop, TlsHandshake, TokenSource,
};
pub use self::latency::{
    Coarse, Fine, Histogram, Latency, LatencyCounts, ONE_IN, Percentiles, Scale, StageTimes, Timer,
};
pub use self::limits::{LimitFigures, QuotaFigures};
pub use self::load::{LogstoreLoad, MachineLoad};
pub use self::metrics::{
    Counter, EdgeMetrics, Gauge, JwksFigures, LogstoreMetrics, Metrics, QuarantineMetrics,
};
pub use self::node::{DrainMetrics, DrainProgress, NodeLoad};
pub use self::overview::{
    CertificateOverview, LogstoreOverview, Numbers, Overview, ProcessOverview, UpstreamOverview,
};
pub use self::shared_limits::SharedFigures;
pub use self::span_metrics::SpanMetrics;
pub use self::spool::LogstoreSpool;
pub use self::tally::Tally;
pub use self::transforms::TransformFigures;
pub use self::upstream_report::{
    LaneReport, ProjectReport, RetryReport, UpstreamReport, UpstreamReports,
};
pub use self::upstreams::{LogstoreDelivery, UpstreamMetrics};
