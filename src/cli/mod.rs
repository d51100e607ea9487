//! Arguments, output for people, exit codes.
