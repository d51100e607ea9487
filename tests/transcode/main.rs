//! Transcoding, from the outside: named cases, agreement with a slow reference on generated and
//! broken inputs, and the corpus that fuzzing starts from.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails"
)]

mod agree;
mod corpus;
mod generated;
mod json_bodies;
mod json_cases;
mod json_limits;
mod protobuf_cases;
mod query_cases;
mod reference;
