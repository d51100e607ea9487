//! Credentials to a `Principal`.
