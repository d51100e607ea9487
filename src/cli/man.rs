//! `tollgate man`: manual pages, one for each command.

use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, Command};
use clap_mangen::Man;
use serde_json::json;

use super::form::{self, FormArgs};
use super::{Exit, Failure, command, output};

const EXAMPLES: &str = "\
Examples:
  tollgate man --out /usr/local/share/man/man1
      then: man tollgate, man tollgate-spool-ls
  tollgate man --out man && man -l man/tollgate.1

Exit codes: 0 written, 2 the command line is wrong, 73 the folder or a page cannot be written.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ManArgs {
    /// Folder of the pages; made if it is not there. Pages that are there are replaced.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    form: FormArgs,
}

pub(super) fn run(args: &ManArgs) -> Result<Exit, Failure> {
    let failed = |path: &Path, error: io::Error| {
        let message = format!("cannot write {}: {error}", path.display());
        Failure::new(Exit::DataDir, message)
    };
    std::fs::create_dir_all(&args.out).map_err(|error| failed(&args.out, error))?;
    let mut pages = Vec::new();
    // Of each command the page knows its own name: `tollgate spool ls`.
    let mut root = command().disable_help_subcommand(true);
    root.build();
    collect(&root, "tollgate", &mut pages);
    for (name, page) in &pages {
        let path = args.out.join(format!("{name}.1"));
        std::fs::write(&path, page).map_err(|error| failed(&path, error))?;
    }
    if args.form.is_json() {
        let names: Vec<&str> = pages.iter().map(|(name, _)| name.as_str()).collect();
        form::print(&json!({"out": args.out.display().to_string(), "pages": names}))?;
    } else {
        let (count, out) = (pages.len(), args.out.display());
        output::note(format_args!("wrote {count} pages to {out}"));
    }
    Ok(Exit::Success)
}

/// A page, whose examples keep their lines.
fn render(page: &Man, command: &Command, text: &mut Vec<u8>) -> io::Result<()> {
    page.render_title(text)?;
    page.render_name_section(text)?;
    page.render_synopsis_section(text)?;
    page.render_description_section(text)?;
    page.render_options_section(text)?;
    if command.get_subcommands().any(|it| !it.is_hide_set()) {
        page.render_subcommands_section(text)?;
    }
    let after = command
        .get_after_long_help()
        .or_else(|| command.get_after_help());
    if let Some(after) = after {
        text.extend_from_slice(b".SH NOTES\n.nf\n");
        for line in after.to_string().lines() {
            text.extend_from_slice(roff(line).as_bytes());
            text.push(b'\n');
        }
        text.extend_from_slice(b".fi\n");
    }
    page.render_version_section(text)
}

/// A line as roff writes it.
fn roff(line: &str) -> String {
    let line = line.replace('\\', "\\e").replace('-', "\\-");
    match line.starts_with(['.', '\'']) {
        true => format!("\\&{line}"),
        false => line,
    }
}

/// The pages of a command and of those below it, by name.
fn collect(command: &Command, name: &str, pages: &mut Vec<(String, Vec<u8>)>) {
    let page = Man::new(command.clone())
        .title(name.to_uppercase())
        .source(concat!("tollgate ", env!("CARGO_PKG_VERSION")))
        .manual("Tollgate manual");
    let mut text = Vec::new();
    // Writing to a Vec does not fail.
    if render(&page, command, &mut text).is_ok() {
        pages.push((name.to_owned(), text));
    }
    for below in command.get_subcommands().filter(|it| !it.is_hide_set()) {
        collect(below, &format!("{name}-{}", below.get_name()), pages);
    }
}
