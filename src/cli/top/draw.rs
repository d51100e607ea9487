//! A frame as lines of text.

use super::Sort;
use super::figures::{Frame, LaneView};
use crate::cli::output::{coloured, escape};

/// How it is shown.
#[derive(Clone, Debug)]
pub(super) struct View {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) sort: Sort,
    pub(super) reverse: bool,
    /// Logstores that are scrolled away.
    pub(super) skip: usize,
    pub(super) colours: bool,
    /// Said at the top.
    pub(super) note: Option<String>,
}

impl View {
    /// Everything, without colours.
    pub(super) fn plain() -> Self {
        Self {
            width: usize::MAX,
            height: usize::MAX,
            sort: Sort::default(),
            reverse: false,
            skip: 0,
            colours: false,
            note: None,
        }
    }
}

/// Refusals that are named; the others are summed up.
const REASONS: usize = 6;
/// The width that a name gets at least.
const NAME: usize = 20;
/// The widths of the numbers behind it.
const NUMBERS: [usize; 8] = [9, 9, 10, 9, 5, 9, 9, 7];
/// An upstream of which less could be seen is left out.
const UPSTREAM: usize = 8;

/// The lines of a frame, none longer than the screen is wide.
pub(super) fn frame(found: &Frame, view: &View) -> Vec<String> {
    let mut lines = head(found, view);
    let mut lanes: Vec<&LaneView> = found.lanes.iter().collect();
    sort(&mut lanes, view);
    let names = lanes.iter().map(|lane| lane.name.chars().count());
    let numbers: usize = NUMBERS.iter().map(|width| width + 1).sum();
    let name = names.max().unwrap_or(0);
    let name = name.min(view.width.saturating_sub(numbers)).max(NAME);
    let (numbers, upstream) = columns_head(view.sort);
    lines.push(line("LOGSTORE", name, &numbers, &upstream, view.width));
    if let Some(last) = lines.last_mut() {
        *last = coloured(last, 7, view.colours);
    }
    // The last line is for the keys.
    let room = view.height.saturating_sub(lines.len() + 1).max(1);
    let shown = lanes.iter().skip(view.skip).take(room);
    for lane in shown {
        let (numbers, upstream) = row(lane);
        let line = line(&escape(&lane.name), name, &numbers, &upstream, view.width);
        let trouble = !matches!(lane.breaker.as_str(), "closed" | "-");
        let colour = match (trouble, lane.waiting > 0 || lane.refused > 0.0) {
            (true, _) => 31,
            (false, true) => 33,
            (false, false) => 0,
        };
        lines.push(coloured(&line, colour, view.colours && colour > 0));
    }
    if view.height < usize::MAX {
        let more = lanes.len().saturating_sub(view.skip + room);
        let more = match more {
            0 => String::new(),
            more => format!("{more} more below  "),
        };
        let keys = format!("{more}q quit  p pause  s sort ({:?})  r reverse", view.sort);
        lines.push(cut(&keys.to_lowercase(), view.width));
    }
    lines
}

fn head(found: &Frame, view: &View) -> Vec<String> {
    let mut title = format!("tollgate {} at {}", found.version, found.base);
    if let Some(note) = &view.note {
        title.push_str(&format!("  [{note}]"));
    }
    let refused: f64 = found.refused.iter().map(|it| it.1).sum();
    let mut requests = format!(
        "requests/s  {} taken, {} refused;  events/s {};  {}/s",
        count(found.accepted),
        count(refused),
        count(found.events),
        bytes(found.bytes),
    );
    if let Some((half, most)) = found.latency {
        requests.push_str(&format!(";  latency p50 {} p99 {}", time(half), time(most)));
    }
    let named = found.refused.iter().take(REASONS);
    let mut reasons: Vec<String> = named
        .map(|(reason, rate)| format!("{} {}", escape(reason), count(*rate)))
        .collect();
    if found.refused.len() > REASONS {
        let rest = found.refused.iter().skip(REASONS).map(|it| it.1).sum();
        reasons.push(format!("others {}", count(rest)));
    }
    let reasons = match reasons.is_empty() {
        true => "none".to_owned(),
        false => reasons.join(", "),
    };
    let (connections, memory) = (found.connections, found.memory);
    let shedding = if found.shedding { ";  SHEDDING" } else { "" };
    let books = if found.balanced {
        ""
    } else {
        ";  books differ (tollgate audit)"
    };
    let lines = [
        (title, 1),
        (requests, 0),
        (
            format!("refused/s   {reasons}"),
            if refused > 0.0 { 33 } else { 0 },
        ),
        (
            format!(
                "node        {} of {} connections;  memory {} of {}{shedding}{books}",
                count(connections.0),
                count(connections.1),
                bytes(memory.0),
                bytes(memory.1),
            ),
            if found.shedding { 31 } else { 0 },
        ),
        (String::new(), 0),
    ];
    let shown = lines.into_iter().map(|(line, colour)| {
        let line = cut(&line, view.width);
        coloured(&line, colour, view.colours && colour > 0)
    });
    shown.collect()
}

/// A line of the table: as many columns as fit, since a number that is cut would be another one. Of a
/// name the end stays: logstores of one project begin alike.
fn line(name: &str, of_name: usize, numbers: &[String; 8], upstream: &str, room: usize) -> String {
    let name = match name.chars().count().checked_sub(of_name) {
        None | Some(0) => name.to_owned(),
        Some(over) => format!("~{}", name.chars().skip(over + 1).collect::<String>()),
    };
    let mut line = cut(&format!("{name:<of_name$}"), room);
    let mut left = room.saturating_sub(of_name);
    for (number, width) in numbers.iter().zip(NUMBERS) {
        let next = format!(" {number:>width$}");
        let Some(rest) = left.checked_sub(next.chars().count()) else {
            return line;
        };
        left = rest;
        line.push_str(&next);
    }
    if left >= UPSTREAM + 2 {
        line.push_str(&cut(&format!("  {upstream}"), left));
    }
    line
}

fn columns_head(sort: Sort) -> ([String; 8], String) {
    let mark = |column: Sort, name: &str| match column == sort {
        true => format!("{name}*"),
        false => name.to_owned(),
    };
    let numbers = [
        mark(Sort::Events, "in/s"),
        "out/s".to_owned(),
        mark(Sort::Refused, "refused/s"),
        mark(Sort::Memory, "memory"),
        "share".to_owned(),
        mark(Sort::Spool, "on disk"),
        "spool".to_owned(),
        "delay".to_owned(),
    ];
    (numbers, "upstream".to_owned())
}

fn row(lane: &LaneView) -> ([String; 8], String) {
    let share = match lane.allowed > 0.0 {
        true => format!("{:.0}%", 100.0 * lane.leased / lane.allowed),
        false => "-".to_owned(),
    };
    let numbers = [
        count(lane.events_in),
        count(lane.events_out),
        count(lane.refused),
        bytes(lane.leased),
        share,
        lane.waiting.to_string(),
        bytes(lane.spool_bytes),
        time(lane.delay),
    ];
    let upstream = format!("{} ({})", escape(&lane.upstream), escape(&lane.breaker));
    (numbers, upstream)
}

fn sort(lanes: &mut [&LaneView], view: &View) {
    // The most first; names from the first letter on.
    lanes.sort_by(|a, b| {
        let order = match view.sort {
            Sort::Events => b.events_in.total_cmp(&a.events_in),
            Sort::Refused => b.refused.total_cmp(&a.refused),
            Sort::Memory => b.leased.total_cmp(&a.leased),
            Sort::Spool => b.waiting.cmp(&a.waiting),
            Sort::Name => a.name.cmp(&b.name),
        };
        order.then_with(|| a.name.cmp(&b.name))
    });
    if view.reverse {
        lanes.reverse();
    }
}

/// The start of a line that is no longer than the screen is wide.
fn cut(line: &str, width: usize) -> String {
    line.chars().take(width).collect()
}

fn count(number: f64) -> String {
    // The sum of nothing is -0.
    match number + 0.0 {
        n if n >= 10_000_000.0 => format!("{:.0}M", n / 1e6),
        n if n >= 100_000.0 => format!("{:.0}k", n / 1e3),
        n if n >= 100.0 || n == n.trunc() => format!("{n:.0}"),
        n => format!("{n:.1}"),
    }
}

fn bytes(number: f64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut number = number;
    let mut units = UNITS.iter();
    let mut unit = units.next();
    while number >= 1024.0
        && let Some(next) = units.next()
    {
        number /= 1024.0;
        unit = Some(next);
    }
    let unit = unit.unwrap_or(&"");
    match number {
        n if n >= 100.0 || n == n.trunc() => format!("{n:.0}{unit}"),
        n => format!("{n:.1}{unit}"),
    }
}

fn time(seconds: f64) -> String {
    match seconds {
        0.0 => "0".to_owned(),
        s if s.is_infinite() => "long".to_owned(),
        s if s < 0.001 => format!("{:.0}us", s * 1e6),
        s if s < 1.0 => format!("{:.0}ms", s * 1e3),
        s if s < 100.0 => format!("{s:.1}s"),
        s => format!("{:.0}m", s / 60.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(name: &str, events_in: f64, waiting: u64) -> LaneView {
        LaneView {
            name: name.to_owned(),
            events_in,
            waiting,
            ..LaneView::default()
        }
    }

    #[test]
    fn logstores_are_sorted_and_cut_to_the_screen() {
        let found = Frame {
            lanes: vec![lane("a", 1.0, 9), lane("b", 5.0, 0), lane("c", 3.0, 4)],
            ..Frame::default()
        };
        let order = |view: &View| -> String {
            let lines = frame(&found, view);
            let rows = lines
                .iter()
                .filter_map(|line| line.split_whitespace().next());
            rows.filter(|name| ["a", "b", "c"].contains(name)).collect()
        };
        let mut view = View::plain();
        assert_eq!(order(&view), "bca");
        view.sort = Sort::Spool;
        assert_eq!(order(&view), "acb");
        view.reverse = true;
        assert_eq!(order(&view), "bca");
        view.sort = Sort::Name;
        view.height = 9;
        view.width = 40;
        view.skip = 1;
        let lines = frame(&found, &view);
        assert!(lines.len() <= 9, "{lines:#?}");
        assert!(
            lines.iter().all(|line| line.chars().count() <= 40),
            "{lines:#?}"
        );
        assert_eq!(order(&view), "ba");
    }

    #[test]
    fn a_column_is_shown_whole_or_not_at_all() {
        let name = "a-project-with-a-long-name/and-a-logstore";
        let one = LaneView {
            spool_bytes: 123_456_789.0,
            upstream: "the-store".to_owned(),
            breaker: "open".to_owned(),
            ..lane(name, 12_345.0, 987_654_321)
        };
        let found = Frame {
            lanes: vec![one],
            ..Frame::default()
        };
        let at = |width: usize| {
            let view = View {
                width,
                // The mark of the order makes a head longer.
                sort: Sort::Refused,
                ..View::plain()
            };
            let lines = frame(&found, &view);
            let [.., head, row] = lines.as_slice() else {
                panic!("{lines:?}");
            };
            assert!(row.chars().count() <= width, "{row:?}");
            // Up to the upstream, which is as long as it is.
            if width < 120 {
                assert_eq!(
                    head.chars().count(),
                    row.chars().count(),
                    "{head:?} {row:?}"
                );
            }
            row.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let all = at(usize::MAX);
        assert_eq!(all.len(), 11, "{all:?}");
        for width in 1..140 {
            let shown = at(width);
            assert!(shown[0].starts_with(['~', 'a']) && (width < NAME || shown[0].ends_with('e')));
            let numbers = shown.len().min(9);
            assert_eq!(shown[1..numbers], all[1..numbers], "at {width}");
        }
        // Of eighty columns six numbers are left, the events on disk the last.
        assert_eq!(at(80).last().unwrap(), "987654321");
    }

    #[test]
    fn names_that_begin_alike_are_told_apart() {
        let found = Frame {
            lanes: ["a-logstore", "another-logstore"]
                .map(|logstore| lane(&format!("sls-webtracking-mini/{logstore}"), 1.0, 0))
                .into(),
            ..Frame::default()
        };
        let view = View {
            width: 80,
            ..View::plain()
        };
        let lines = frame(&found, &view);
        let names = lines.iter().filter_map(|it| it.split_whitespace().next());
        let names: Vec<_> = names.filter(|it| it.ends_with("-logstore")).collect();
        assert_eq!(names, ["~ing-mini/a-logstore", "~ni/another-logstore"]);
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(count(0.0), "0");
        assert_eq!(count(3.25), "3.2");
        assert_eq!(count(123_456.0), "123k");
        assert_eq!(bytes(0.0), "0B");
        assert_eq!(bytes(1536.0), "1.5KiB");
        assert_eq!(bytes(3.0 * 1024.0 * 1024.0), "3MiB");
        assert_eq!(time(0.000_25), "250us");
        assert_eq!(time(0.25), "250ms");
        assert_eq!(time(12.0), "12.0s");
        assert_eq!(time(f64::INFINITY), "long");
    }
}
