//! What is counted, and how it is shown to Prometheus.
//!
//! Every metric is declared in `families.rs`, with its help. Labels come from the configuration
//! and from closed enums, never from a client. Counting is one atomic addition on a cell that was
//! resolved when the configuration was loaded.

mod books;
mod certificates;
mod edge_families;
mod families;
mod guards;
mod labels;
mod limits;
mod load;
mod metrics;
mod quality;
mod shared_limits;
mod spool;
mod transforms;
mod upstreams;

pub use self::books::{Books, LogstoreBook};
pub use self::certificates::CertificateMetrics;
pub use self::guards::{GuardFigures, GuardedValues};
pub use self::labels::{
    AddressOutcome, AdminCall, AdminOutcome, BreakerState, ConnectionEnd, CredentialKind,
    DropReason, HttpVersion, Judge, LimitOutcome, PlatformLabel, RelayOutcome, RouteLabel,
    TlsHandshake, TokenSource,
};
pub use self::limits::{LimitFigures, QuotaFigures};
pub use self::load::{LogstoreLoad, MachineLoad};
pub use self::metrics::{
    Counter, EdgeMetrics, Gauge, JwksFigures, LogstoreMetrics, Metrics, QuarantineMetrics,
};
pub use self::shared_limits::SharedFigures;
pub use self::spool::LogstoreSpool;
pub use self::transforms::TransformFigures;
pub use self::upstreams::{LogstoreDelivery, UpstreamMetrics};
