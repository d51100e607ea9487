//! The wire protocols that clients speak.

pub mod transcode;
