//! Tests of the spool.
#![expect(clippy::cast_possible_truncation, reason = "tests, with small numbers")]

mod damage;
mod deleted;
mod disk;
mod histories;
mod history;
mod real;
mod rooms;
mod script;
pub(super) mod versions;

use crate::foundation::names::{LogstoreName, ProjectName};

fn web_site() -> ProjectName {
    ProjectName::new("web-site").unwrap()
}

fn logstore(name: &str) -> LogstoreName {
    LogstoreName::new(name).unwrap()
}

fn clicks() -> LogstoreName {
    logstore("clicks")
}
