//! The composition root: build, start, stop. No logic of its own.
