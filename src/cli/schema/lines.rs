//! Lines of a file or of standard input.
//!
//! Promise: memory is bounded however long the input or a line is.

use std::io::{self, BufRead};

/// Longest line in bytes, the line break left out: a body may be as long.
pub(super) const MAX_LINE: usize = 10 << 20;

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// Reads lines that are not blank.
pub(super) struct Lines {
    input: Box<dyn BufRead>,
    text: Vec<u8>,
    number: u64,
}

/// A line that is not blank, with its number from 1.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    /// Without its line break.
    Text(u64, &'a [u8]),
    /// It is longer than [`MAX_LINE`].
    TooLong(u64),
}

impl Lines {
    pub(super) fn new(input: Box<dyn BufRead>) -> Self {
        Self {
            input,
            text: Vec::new(),
            number: 0,
        }
    }

    /// The next line; `None` at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        loop {
            self.text.clear();
            let Some(whole) = self.read()? else {
                return Ok(None);
            };
            self.number += 1;
            if !whole {
                return Ok(Some(Line::TooLong(self.number)));
            }
            if self.number == 1 && self.text.starts_with(BYTE_ORDER_MARK) {
                self.text.drain(..BYTE_ORDER_MARK.len());
            }
            if !self.text.trim_ascii().is_empty() {
                break;
            }
        }
        let text = self.text.trim_ascii_end();
        Ok(Some(Line::Text(self.number, text)))
    }

    /// Reads a line; whether it was kept whole. `None` at the end.
    fn read(&mut self) -> io::Result<Option<bool>> {
        let (mut whole, mut begun) = (true, false);
        loop {
            let buffer = match self.input.fill_buf() {
                Ok(buffer) => buffer,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if buffer.is_empty() {
                return Ok(begun.then_some(whole));
            }
            begun = true;
            let end = buffer.iter().position(|byte| *byte == b'\n');
            let piece = buffer.get(..end.unwrap_or(buffer.len()));
            let piece = piece.unwrap_or_default();
            whole &= self.text.len() + piece.len() <= MAX_LINE;
            if whole {
                self.text.extend_from_slice(piece);
            }
            let used = piece.len() + usize::from(end.is_some());
            self.input.consume(used);
            if end.is_some() {
                return Ok(Some(whole));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(input: Vec<u8>) -> Vec<(u64, Option<usize>)> {
        let mut lines = Lines::new(Box::new(io::Cursor::new(input)));
        let mut found = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            found.push(match line {
                Line::Text(number, text) => (number, Some(text.len())),
                Line::TooLong(number) => (number, None),
            });
        }
        found
    }

    #[test]
    fn blank_lines_are_counted_and_skipped_and_the_last_may_lack_its_break() {
        let input = "\u{feff}{}\r\n\n  \n {\"é\":1}\n{}";
        assert_eq!(
            read(input.into()),
            [(1, Some(2)), (4, Some(9)), (5, Some(2))]
        );
    }

    #[test]
    fn a_line_past_the_bound_is_told_and_the_next_one_is_read() {
        let mut input = vec![b'x'; MAX_LINE];
        input.extend_from_slice(b"\n");
        input.extend(vec![b'x'; MAX_LINE + 1]);
        input.extend_from_slice(b"\n{}\n");
        assert_eq!(read(input), [(1, Some(MAX_LINE)), (2, None), (3, Some(2))]);
    }
}
