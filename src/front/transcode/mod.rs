//! From bodies to LogGroup bytes in one pass.
