//! `tollgate audit`: the books of a running node.

use std::time::Duration;

use clap::Args;

use super::form::{Form, FormArgs};
use super::node::NodeArgs;
use super::{Exit, Failure, output};
use crate::telemetry::{Books, LogstoreBook};

const EXAMPLES: &str = "\
For each logstore, in events since the process has started:
  accepted + recovered = delivered + quarantined + dropped + expired + shed + memory + disk

recovered: an earlier life of the process had left them on disk. quarantined: refused by the store and
set aside. expired, shed: given up on disk, by age or for want of room. memory, disk: still to be
delivered. in doubt: LogGroups that were sent again although the store may have taken them before; they
can be there twice, with the same __pack_id__, as can events that were recovered after a crash.

The numbers are read one after the other while events move, so a difference counts only when several
readings have one.

Examples:
  tollgate audit
  tollgate audit --output json | jq 'select(.balanced | not)'

Exit codes: 0 the books balance, 1 they do not, 69 the node does not run or did not answer, 78 the
configuration or the token is wrong.";

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
    let (_, api) = args.node.running()?;
    let api = api.ok_or_else(|| {
        Failure::new(
            Exit::Unavailable,
            "the node does not run, and its books are those of one life of the process; `tollgate spool ls` says what waits on disk",
        )
    })?;
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
    tell(&books, args.form.output)?;
    for book in books.logstores.iter().filter(|book| !book.balanced) {
        let (count, what) = match book.difference {
            missing if missing > 0 => (missing, "are missing"),
            twice => (-twice, "are there twice"),
        };
        output::note(format_args!(
            "{count} events of {}/{} {what}",
            book.project, book.logstore
        ));
    }
    Ok(if books.balanced {
        Exit::Success
    } else {
        Exit::Partial
    })
}

fn tell(books: &Books, form: Form) -> Result<(), Failure> {
    if form == Form::Json {
        return books.logstores.iter().try_for_each(|book| {
            let line = serde_json::to_string(book);
            output::line(line.map_err(|error| Failure::new(Exit::Internal, error))?)
        });
    }
    let head = [
        "logstore",
        "accepted",
        "recovered",
        "delivered",
        "quarantined",
        "dropped",
        "expired",
        "shed",
        "memory",
        "disk",
        "retries",
        "in doubt",
        "difference",
    ];
    output::table(&head, books.logstores.iter().map(row).collect())?;
    for book in &books.logstores {
        for (reason, count) in &book.dropped {
            let (project, logstore) = (&book.project, &book.logstore);
            let line = format!("{project}/{logstore}: {count} events dropped, {reason}");
            output::note(output::escape(&line));
        }
    }
    Ok(())
}

fn row(book: &LogstoreBook) -> Vec<String> {
    let dropped: u64 = book.dropped.values().sum();
    let numbers = [
        book.accepted,
        book.recovered,
        book.delivered,
        book.quarantined,
        dropped,
        book.expired,
        book.shed,
        book.held,
        book.waiting,
        book.retries,
        book.resends_in_doubt,
    ];
    let mut row = vec![format!("{}/{}", book.project, book.logstore)];
    row.extend(numbers.iter().map(u64::to_string));
    row.push(book.difference.to_string());
    row
}
