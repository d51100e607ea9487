//! What the fuzz targets share with the tests: the checks, and the slow reference of transcoding.
//! `tests/transcode/corpus.rs` and `tests/parsers/corpus.rs` replay the seeds without a fuzzer.

#[path = "../../tests/transcode/agree.rs"]
pub mod agree;
#[path = "../../tests/parsers/checks/mod.rs"]
pub mod checks;
#[path = "../../tests/transcode/reference/mod.rs"]
mod reference;
