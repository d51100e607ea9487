//! Nested values: checked without recursion, and kept as compact JSON text.

use super::fault::Fault;
use super::scan::{Scanned, Scanner};
use crate::event::Reason;

/// The containers around the present place, innermost last. `true`: an object.
pub(super) type Containers = Vec<bool>;

/// Reads the object or array that begins at the next byte and lies at `depth`, and brings its text
/// to `compact`, without whitespace between tokens. Nothing is brought when there is no such
/// whitespace: the text in the body will do.
pub(super) fn nested(
    scan: &mut Scanner<'_>,
    depth: usize,
    limit: usize,
    containers: &mut Containers,
    compact: &mut Vec<u8>,
) -> Scanned<()> {
    containers.clear();
    compact.clear();
    let mut walk = Walk {
        depth,
        limit,
        containers,
        compact,
        run: scan.offset(),
        scan,
    };
    while walk.value()? {}
    let Walk {
        run, scan, compact, ..
    } = walk;
    if !compact.is_empty() {
        compact.extend_from_slice(scan.slice(run, scan.offset()));
    }
    Ok(())
}

struct Walk<'w, 'a> {
    scan: &'w mut Scanner<'a>,
    /// The depth of the outermost container.
    depth: usize,
    limit: usize,
    containers: &'w mut Containers,
    compact: &'w mut Vec<u8>,
    /// Where the text begins that has not been brought to `compact`.
    run: usize,
}

impl Walk<'_, '_> {
    /// Reads a value, or enters a container, and goes on to where the next value is expected.
    /// `false`: the outermost container has ended.
    fn value(&mut self) -> Scanned<bool> {
        match self.significant() {
            Some(b'"') => {
                self.scan.string()?;
            }
            Some(b'-' | b'0'..=b'9') => self.scan.number()?,
            Some(b't') => self.scan.literal(b"true")?,
            Some(b'f') => self.scan.literal(b"false")?,
            Some(b'n') => self.scan.literal(b"null")?,
            Some(open @ (b'{' | b'[')) => return self.enter(open == b'{'),
            _ => return Err(self.scan.unexpected("expected a JSON value")),
        }
        self.after_value()
    }

    fn enter(&mut self, object: bool) -> Scanned<bool> {
        let depth = self.depth + self.containers.len();
        if depth > self.limit {
            return Err(too_deep(self.scan, self.limit));
        }
        self.containers.push(object);
        self.scan.advance();
        match (object, self.significant()) {
            (true, Some(b'}')) | (false, Some(b']')) => self.after_value(),
            (true, _) => self.key(),
            (false, _) => Ok(true),
        }
    }

    /// Goes on after a value: to the next value, or out of containers that end here.
    fn after_value(&mut self) -> Scanned<bool> {
        loop {
            let Some(&object) = self.containers.last() else {
                return Ok(false);
            };
            match (object, self.significant()) {
                (true, Some(b'}')) | (false, Some(b']')) => {
                    self.scan.advance();
                    self.containers.pop();
                }
                (true, Some(b',')) => {
                    self.scan.advance();
                    return self.key();
                }
                (false, Some(b',')) => {
                    self.scan.advance();
                    return Ok(true);
                }
                (true, _) => return Err(self.scan.unexpected("expected a comma or `}`")),
                (false, _) => return Err(self.scan.unexpected("expected a comma or `]`")),
            }
        }
    }

    fn key(&mut self) -> Scanned<bool> {
        if self.significant() != Some(b'"') {
            return Err(self.scan.unexpected("expected a key in quotes"));
        }
        self.scan.string()?;
        self.significant();
        self.scan.expect(b':', "expected a colon")?;
        Ok(true)
    }

    /// The next byte that is not whitespace; whitespace before it is left out of the text.
    fn significant(&mut self) -> Option<u8> {
        let before = self.scan.offset();
        let byte = self.scan.significant();
        if self.scan.offset() != before && !self.containers.is_empty() {
            let run = self.scan.slice(self.run, before);
            self.compact.extend_from_slice(run);
            self.run = self.scan.offset();
        }
        byte
    }
}

/// The next container is nested too deeply.
#[cold]
pub(super) fn too_deep(scan: &Scanner<'_>, limit: usize) -> Box<Fault> {
    Fault::above(Reason::TooDeep, scan.offset(), limit + 1, limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compacted(text: &str, limit: usize) -> Result<String, Reason> {
        let mut scan = Scanner::new(text.as_bytes(), 0);
        let (mut containers, mut compact) = (Containers::new(), Vec::new());
        nested(&mut scan, 1, limit, &mut containers, &mut compact).map_err(|_| Reason::NotJson)?;
        if compact.is_empty() {
            compact.extend_from_slice(scan.slice(0, scan.offset()));
        }
        Ok(String::from_utf8(compact).unwrap())
    }

    #[test]
    fn whitespace_between_tokens_goes_and_inside_strings_stays() {
        let text = "{ \"a b\" :\t[ 1 , \"x \\u0020 y\" , { } , [ ] ] ,\n\"c\":true }";
        let expected = r#"{"a b":[1,"x \u0020 y",{},[]],"c":true}"#;
        assert_eq!(compacted(text, 9).unwrap(), expected);
        assert_eq!(compacted(expected, 9).unwrap(), expected);
        assert_eq!(compacted("[ ]", 9).unwrap(), "[]");
    }

    #[test]
    fn nesting_is_counted_and_never_recursed_into() {
        assert!(compacted("[[[]]]", 3).is_ok());
        assert!(compacted("[[[]]]", 2).is_err());
        let deep = "[".repeat(1_000_000) + &"]".repeat(1_000_000);
        assert!(compacted(&deep, usize::MAX).is_ok());
    }

    #[test]
    fn broken_nesting_is_not_json() {
        let bad = [
            "[1,]",
            "[,1]",
            "{,}",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{1:2}",
            "[1}",
            "{\"a\":1]",
            "[1 2]",
            "[",
            "{",
            "[tru]",
        ];
        for text in bad {
            assert!(compacted(text, 9).is_err(), "{text}");
        }
    }
}
