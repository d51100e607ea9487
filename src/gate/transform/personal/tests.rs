//! Tests of what is found.
