//! `tollgate audit`: the books of a node, of one that runs and of one that does not.

mod dead;

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;

use super::form::{Form, FormArgs};
use super::node::NodeArgs;
use super::{Exit, Failure, output};
use crate::telemetry::{Earlier, LogstoreBook, Sums};

const EXAMPLES: &str = "\
For each logstore, in events since the process has started:
  entered + added + recovered
    = refused + quarantined + dropped + routed + delivered + expired + shed + memory + disk

entered: read from requests. added: from other logstores, as copies, by a replay, or our own. recovered: an
earlier life of the process had left them on disk. quarantined: set aside, by us or refused by the store.
dropped: left out by a sample or as duplicates, or given up. routed: a step or a limit gave them to another
logstore. expired, shed: given up on disk, by age or for want of room. memory, disk: still to be decided on or
delivered. in doubt: LogGroups that were sent again although the store may have taken them before; they
can be there twice, with the same __pack_id__, as can events that were recovered after a crash.

The numbers are read one after the other while events move, so a difference counts only when several
readings have one. A line below has the sums of earlier lives, as far as they were written down: every five
seconds, and at the end of a stop.

Of a node that does not run: the books of its last life, as last written, beside what its spool has now. After
a stop these have to be the same, unless it was still looking through its spool. After a kill the last seconds
are not in the books, and it is told how many events may be concerned.

Examples:
  tollgate audit
  tollgate audit --data-dir /mnt/dead-node
  tollgate audit --output json | jq 'select(.balanced | not)'

Exit codes: 0 the books balance, 1 they do not, 69 the node did not answer, or does not run and has left no
books, 73 the files cannot be read, 78 the configuration or the token is wrong.";

/// Readings that must all have a difference.
const READINGS: u32 = 5;
/// Time between two of them.
const PAUSE: Duration = Duration::from_millis(300);

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct AuditArgs {
    #[command(flatten)]
    node: NodeArgs,
    #[command(flatten)]
    form: FormArgs,
}

pub(super) fn run(args: &AuditArgs) -> Result<Exit, Failure> {
    let (config, api) = args.node.running()?;
    let Some(api) = api else {
        return dead::audit(&config, args.form.output);
    };
    let mut books = api.books()?;
    for _ in 1..READINGS {
        if books.balanced {
            break;
        }
        std::thread::sleep(PAUSE);
        // A logstore whose books balanced once has lost nothing until then.
        let before = books;
        books = api.books()?;
        books.logstores.retain(|book| {
            let same =
                |it: &&LogstoreBook| (&it.project, &it.logstore) == (&book.project, &book.logstore);
            let known = before.logstores.iter().find(same);
            !known.is_some_and(|known| known.balanced)
        });
        books
            .logstores
            .extend(before.logstores.into_iter().filter(|it| it.balanced));
        books.balanced = books.logstores.iter().all(|book| book.balanced);
    }
    books
        .logstores
        .sort_by(|a, b| (&a.project, &a.logstore).cmp(&(&b.project, &b.logstore)));
    tell(&books.logstores, args.form.output)?;
    books.logstores.iter().for_each(tell_difference);
    Ok(if books.balanced {
        Exit::Success
    } else {
        Exit::Partial
    })
}

fn tell_difference(book: &LogstoreBook) {
    let (count, what) = match book.difference {
        0 => return,
        missing if missing > 0 => (missing.unsigned_abs(), "are missing"),
        twice => (twice.unsigned_abs(), "are there twice"),
    };
    let (project, logstore) = (&book.project, &book.logstore);
    let line = format!("{count} events of {project}/{logstore} {what}");
    output::note(output::escape(&line));
}

fn tell(books: &[LogstoreBook], form: Form) -> Result<(), Failure> {
    if form == Form::Json {
        return books.iter().try_for_each(super::form::print);
    }
    let head = [
        "logstore",
        "entered",
        "added",
        "recovered",
        "refused",
        "quarantined",
        "dropped",
        "routed",
        "delivered",
        "expired",
        "shed",
        "memory",
        "disk",
        "retries",
        "in doubt",
        "difference",
    ];
    output::table(&head, books.iter().flat_map(rows).collect())?;
    for book in books {
        let name = format!("{}/{}", book.project, book.logstore);
        for (what, by_reason) in [
            ("refused", &book.sums.refused),
            ("quarantined", &book.sums.quarantined),
            ("dropped", &book.sums.dropped),
        ] {
            for (reason, count) in by_reason {
                let line = format!("{name}: {count} events {what}, {reason}");
                output::note(output::escape(&line));
            }
        }
        // While it still finds what they have left, that is not unknown.
        if let (Some(earlier), false) = (&book.earlier, book.recovering) {
            tell_unknown(&name, earlier);
        }
    }
    Ok(())
}

/// What nobody knows of earlier lives.
fn tell_unknown(name: &str, earlier: &Earlier) {
    let count = earlier.unknown.unsigned_abs();
    let what = match earlier.unknown {
        0 => return,
        more if more > 0 => {
            "less were on disk than the books had: delivered, or lost with the memory"
        }
        _ => {
            "more were on disk than the books had: taken in the last seconds, or delivered and sent again"
        }
    };
    let killed = earlier.killed;
    let line = format!("{name}: of earlier lives, {killed} of them killed, {count} events {what}");
    output::note(output::escape(&line));
}

/// The rows of a logstore: this life, and the earlier ones.
fn rows(book: &LogstoreBook) -> Vec<Vec<String>> {
    let number = |count: u64| count.to_string();
    let none = || "-".to_owned();
    let name = format!("{}/{}", book.project, book.logstore);
    let row = |name: String, sums: &Sums, recovered: String, more: [String; 5]| {
        let all = |by_reason: &BTreeMap<String, u64>| by_reason.values().sum();
        let [entered, added] = [sums.entered, sums.added].map(number);
        let mut row = vec![output::escape(&name), entered, added, recovered];
        let ended = [
            all(&sums.refused),
            all(&sums.quarantined),
            all(&sums.dropped),
            sums.routed,
            sums.delivered,
            sums.expired,
            sums.shed,
        ];
        row.extend(ended.map(number));
        row.extend(more);
        row
    };
    let more = [
        number(book.deciding + book.held),
        number(book.waiting),
        number(book.retries),
        number(book.resends_in_doubt),
        book.difference.to_string(),
    ];
    let earlier = book.earlier.as_ref().map(|earlier| {
        let name = format!("  earlier lives ({})", earlier.lives);
        let doubts = number(earlier.resends_in_doubt);
        let more = [none(), none(), none(), doubts, none()];
        row(name, &earlier.sums, none(), more)
    });
    let now = row(name, &book.sums, number(book.recovered), more);
    std::iter::once(now).chain(earlier).collect()
}
