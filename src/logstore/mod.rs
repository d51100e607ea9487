//! The protocol of SLS as pure functions, and a client for it.

pub mod client;
pub mod codec;
pub mod error;
pub mod header;
pub mod signature;
#[cfg(test)]
mod vectors;

/// The protobuf messages of `proto/sls.proto`.
#[expect(missing_docs, reason = "generated code")]
pub mod proto {
    include!(concat!(env!("OUT_DIR"), "/sls.rs"));
}
