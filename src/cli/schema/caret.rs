//! A line with carets under a part of it.

use std::ops::Range;

use crate::cli::output::is_harmless;

/// Columns of a line that are shown before the part, and together.
const BEFORE: usize = 48;
const TOGETHER: usize = 110;

/// The line around a part of it, and a line with carets under that part. A long line is cut on both
/// sides; what a terminal would obey is shown as an escape.
pub(super) fn drawn(line: &str, part: Range<usize>) -> (String, String) {
    let start = boundary(line, part.start);
    let end = boundary(line, part.end).max(start);
    let (before, rest) = line.split_at(start);
    let mut first = start;
    let mut columns = 0;
    for (at, c) in before.char_indices().rev() {
        columns += shown(c).1;
        if columns > BEFORE {
            break;
        }
        first = at;
    }
    let (mut text, mut carets) = (String::new(), String::new());
    let mut used = 0;
    if first > 0 {
        text.push('\u{2026}');
        carets.push(' ');
        used += 1;
    }
    let mut marked = false;
    let visible = line.get(first..).unwrap_or(rest);
    for (at, c) in visible.char_indices() {
        let (piece, width) = shown(c);
        if used + width > TOGETHER {
            text.push('\u{2026}');
            break;
        }
        used += width;
        text.push_str(&piece);
        let at = first + at;
        if (start..end).contains(&at) {
            carets.extend(std::iter::repeat_n('^', width));
            marked = true;
        } else if at < start {
            carets.extend(std::iter::repeat_n(' ', width));
        }
    }
    if !marked {
        carets.push('^');
    }
    (text, carets)
}

fn boundary(line: &str, at: usize) -> usize {
    let mut at = at.min(line.len());
    while !line.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// A character as it is shown, and how many columns it takes.
fn shown(c: char) -> (String, usize) {
    if is_harmless(c) {
        return (c.to_string(), width(c));
    }
    let escaped: String = c.escape_default().collect();
    let width = escaped.len();
    (escaped, width)
}

/// Columns of a character in a terminal: two for the wide ones of East Asia and for pictures, none
/// for marks that stand on the character before them.
fn width(c: char) -> usize {
    match u32::from(c) {
        0x0300..=0x036f | 0x200b..=0x200d | 0x20d0..=0x20ff | 0xfe00..=0xfe0f => 0,
        0x1100..=0x115f
        | 0x2e80..=0x303e
        | 0x3041..=0xa4cf
        | 0xac00..=0xd7a3
        | 0xf900..=0xfaff
        | 0xfe30..=0xfe6f
        | 0xff00..=0xff60
        | 0xffe0..=0xffe6
        | 0x1f300..=0x1f64f
        | 0x1f680..=0x1f6ff
        | 0x1f900..=0x1f9ff
        | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn carets_stand_under_the_part_whatever_the_width_of_what_is_before() {
        let line = r#"{"商品":"é","价":"贵"}"#;
        let start = line.find("\"贵\"").unwrap();
        let (text, carets) = drawn(line, start..start + "\"贵\"".len());
        assert_eq!(text, line);
        // Four wide characters' worth of quotes and two columns each.
        assert_eq!(carets, format!("{}^^^^", " ".repeat(17)));
        let (text, carets) = drawn("{\"a\":\"\u{202e}x\"}", 5..11);
        assert_eq!(text, "{\"a\":\"\\u{202e}x\"}");
        assert_eq!(carets, format!("     {}", "^".repeat(11)));
    }

    #[test]
    fn a_long_line_is_cut_around_the_part() {
        let line = format!(
            "{{\"a\":\"{}\",\"b\":5,\"c\":\"{}\"}}",
            "é".repeat(5000),
            "z".repeat(5000)
        );
        let start = line.find(":5").unwrap() + 1;
        let (text, carets) = drawn(&line, start..start + 1);
        assert!(text.starts_with('…') && text.ends_with('…'), "{text}");
        let column = carets.chars().count() - 1;
        assert_eq!(text.chars().nth(column), Some('5'));
        assert!(text.chars().count() <= TOGETHER + 2);
        assert_eq!(drawn("", 0..0), (String::new(), "^".to_owned()));
        assert_eq!(drawn("é", 1..9).1, "^");
    }
}
