//! Keeps events and delivers them.
