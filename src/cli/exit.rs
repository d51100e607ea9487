//! Exit codes, and failures that choose one.

use std::process::ExitCode;

/// How the program ends. The numbers are documented in `--help`; those above 63 are of `sysexits.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// All went well.
    Success,
    /// The work was done, but not all of it succeeded.
    Partial,
    /// The command line, or what it names, is wrong.
    CommandLine,
    /// An address could not be bound, or a server could not be reached.
    Unavailable,
    /// A fault of Tollgate itself.
    Internal,
    /// The data directory or a key file cannot be made or read.
    DataDir,
    /// Stopped with events that were not delivered.
    EventsLost,
    /// The configuration is wrong.
    Config,
}

impl Exit {
    /// The number.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Partial => 1,
            Self::CommandLine => 2,
            Self::Unavailable => 69,
            Self::Internal => 70,
            Self::DataDir => 73,
            Self::EventsLost => 75,
            Self::Config => 78,
        }
    }

    /// The same for programs: `kind` of an error in JSON.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Success => "none",
            Self::Partial => "partial",
            Self::CommandLine => "command_line",
            Self::Unavailable => "unavailable",
            Self::Internal => "internal",
            Self::DataDir => "data_dir",
            Self::EventsLost => "events_lost",
            Self::Config => "config",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why a command did not do its work, for people.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    exit: Exit,
    message: String,
    /// The message has its own form, with a severity on each line.
    rendered: bool,
}

impl Failure {
    /// A failure that ends the program with `exit`.
    #[must_use]
    pub fn new(exit: Exit, message: impl std::fmt::Display) -> Self {
        Self {
            exit,
            message: message.to_string(),
            rendered: false,
        }
    }

    /// A failure whose message says itself, line by line, that it is one.
    #[must_use]
    pub fn rendered(exit: Exit, message: String) -> Self {
        Self {
            exit,
            message,
            rendered: true,
        }
    }

    /// Whether the message says itself that it is an error.
    #[must_use]
    pub fn is_rendered(&self) -> bool {
        self.rendered
    }

    /// How the program ends.
    #[must_use]
    pub fn exit(&self) -> Exit {
        self.exit
    }
}
