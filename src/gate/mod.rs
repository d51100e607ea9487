//! Says yes or no to a request.

pub mod identity;
pub mod policy;
pub mod quota;
pub mod transform;
