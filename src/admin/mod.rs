//! The private listener: health, readiness and metrics.
