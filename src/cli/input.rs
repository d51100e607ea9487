//! Files that a command reads whole.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::{Exit, Failure};

/// All of a file of at most `most` bytes; of standard input for `-`.
///
/// # Errors
/// When it cannot be read, or is longer: the command line is wrong then.
pub(super) fn whole(path: &Path, most: u64) -> Result<Vec<u8>, Failure> {
    let failed = |error: io::Error| {
        let message = format!("cannot read {}: {error}", path.display());
        Failure::new(Exit::CommandLine, message)
    };
    let input: Box<dyn Read> = if path == Path::new("-") {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(path).map_err(failed)?)
    };
    let mut bytes = Vec::new();
    let mut input = input.take(most + 1);
    input.read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > most {
        let message = format!("{} is longer than {} MiB", path.display(), most >> 20);
        return Err(Failure::new(Exit::CommandLine, message));
    }
    Ok(bytes)
}
