//! What is counted, and how it is shown to Prometheus.
//!
//! Every metric is declared in `families.rs`, with its help. Labels come from the configuration
//! and from closed enums, never from a client. Counting is one atomic addition on a cell that was
//! resolved when the configuration was loaded.

mod edge_families;
mod families;
mod limits;
mod load;
mod metrics;
mod shared_limits;

pub use self::limits::{LimitFigures, QuotaFigures};
pub use self::load::{LogstoreLoad, MachineLoad};
pub use self::metrics::{
    AdminCall, AdminOutcome, ConnectionEnd, Counter, CredentialKind, DropReason, EdgeMetrics,
    Gauge, HttpVersion, JwksFigures, LimitOutcome, LogstoreMetrics, Metrics, PlatformLabel,
    RelayOutcome, RouteLabel, TokenSource,
};
pub use self::shared_limits::SharedFigures;
