//! Says yes or no to a request.

pub mod guard;
pub mod identity;
pub mod policy;
pub mod quota;
pub mod schema;
pub mod transform;
