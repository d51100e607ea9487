//! What the fuzz targets share with the tests of transcoding: the slow reference, and the checks
//! that transcoder and reference agree. `tests/transcode/corpus.rs` replays the seeds without a
//! fuzzer.

#[path = "../../tests/transcode/agree.rs"]
pub mod agree;
#[path = "../../tests/transcode/reference/mod.rs"]
mod reference;
