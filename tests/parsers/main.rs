//! Everything else that reads bytes from outside: what holds for any input, on the seeds that
//! fuzzing starts from and on broken ones. The bodies of events are in `tests/transcode`.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails"
)]

mod broken;
mod checks;
mod corpus;
