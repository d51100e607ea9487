//! `tollgate completions`: a script that completes the command line in a shell.

use std::io::{self, Write as _};

use clap::{Args, ValueEnum};
use clap_complete::{Shell, generate};

use super::{Exit, Failure, command, output};

const EXAMPLES: &str = "\
Examples:
  tollgate completions bash > /etc/bash_completion.d/tollgate
  tollgate completions zsh > /usr/local/share/zsh/site-functions/_tollgate
  tollgate completions fish > ~/.config/fish/completions/tollgate.fish
  tollgate completions elvish > ~/.config/elvish/lib/tollgate.elv
  tollgate completions powershell >> $PROFILE
  source <(tollgate completions bash)
      only in this shell

Exit codes: 0 printed, 2 the command line is wrong.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct CompletionsArgs {
    /// The shell.
    #[arg(value_enum)]
    shell: Target,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Target {
    Bash,
    Zsh,
    Fish,
    Elvish,
    #[value(name = "powershell")]
    PowerShell,
}

pub(super) fn run(args: &CompletionsArgs) -> Result<Exit, Failure> {
    let shell = match args.shell {
        Target::Bash => Shell::Bash,
        Target::Zsh => Shell::Zsh,
        Target::Fish => Shell::Fish,
        Target::Elvish => Shell::Elvish,
        Target::PowerShell => Shell::PowerShell,
    };
    let mut script = Vec::new();
    generate(shell, &mut command(), "tollgate", &mut script);
    let mut out = io::stdout().lock();
    output::written(out.write_all(&script).and_then(|()| out.flush()))?;
    Ok(Exit::Success)
}
