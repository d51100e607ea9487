//! Lines of NDJSON, read on a thread of their own.
//!
//! Promise: memory is bounded however long the input or a line is, and a line that is handed on is
//! one complete JSON object in UTF-8, so that it cannot spoil its neighbours in a batch. When the
//! sender falls behind, the reader waits. Not here: what the service thinks of an event.

use std::io::{self, Read};

use serde::de::IgnoredAny;
use tokio::sync::mpsc;

use super::report::Refused;

/// Longest line in bytes, the line break left out. Past it the line is refused.
pub(super) const MAX_LINE: usize = 1 << 20;

/// Bytes asked for at once.
const READ: usize = 64 << 10;

/// Chunks read ahead of the sender.
const CHUNKS_AHEAD: usize = 2;

/// An event and where it stood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Event {
    /// Line number, from 1.
    pub(super) line: u64,
    /// The JSON object.
    pub(super) json: Vec<u8>,
}

/// What one read gave.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Chunk {
    /// Bytes read.
    pub(super) bytes: u64,
    /// Events that may be sent.
    pub(super) events: Vec<Event>,
    /// Lines that are no events.
    pub(super) refused: Vec<Refused>,
}

/// Reads `input` to its end on a thread, which ends when the receiver is dropped. A thread and not
/// a task: nothing can interrupt a read of standard input, and a runtime would wait for it.
///
/// # Errors
/// When the thread cannot be started. Read errors arrive through the channel, as its last item.
pub(super) fn spawn_reader(
    mut input: Box<dyn Read + Send>,
) -> io::Result<mpsc::Receiver<io::Result<Chunk>>> {
    let (chunks, receiver) = mpsc::channel(CHUNKS_AHEAD);
    let read = move || {
        let mut lines = Lines::default();
        let mut buffer = vec![0; READ];
        loop {
            let chunk = match input.read(&mut buffer) {
                Ok(0) => {
                    drop(chunks.blocking_send(Ok(lines.finish())));
                    return;
                }
                Ok(count) => Ok(lines.push(buffer.get(..count).unwrap_or_default())),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
            let last = chunk.is_err();
            if chunks.blocking_send(chunk).is_err() || last {
                return;
            }
        }
    };
    std::thread::Builder::new()
        .name("tollgate-send-reader".to_owned())
        .spawn(read)?;
    Ok(receiver)
}

/// Cuts bytes into lines, whatever the size of the pieces in which they come.
#[derive(Debug, Default)]
struct Lines {
    pending: Vec<u8>,
    overlong: bool,
    number: u64,
}

impl Lines {
    fn push(&mut self, bytes: &[u8]) -> Chunk {
        let mut chunk = Chunk {
            bytes: bytes.len() as u64,
            ..Chunk::default()
        };
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            match piece.strip_suffix(b"\n") {
                Some(end) => {
                    self.extend(end);
                    self.end_line(&mut chunk);
                }
                None => self.extend(piece),
            }
        }
        chunk
    }

    /// The last line may lack its line break.
    fn finish(&mut self) -> Chunk {
        let mut chunk = Chunk::default();
        if self.overlong || !self.pending.is_empty() {
            self.end_line(&mut chunk);
        }
        chunk
    }

    fn extend(&mut self, bytes: &[u8]) {
        if self.overlong || self.pending.len() + bytes.len() > MAX_LINE {
            self.overlong = true;
            self.pending.clear();
        } else {
            self.pending.extend_from_slice(bytes);
        }
    }

    fn end_line(&mut self, chunk: &mut Chunk) {
        self.number += 1;
        let line = self.number;
        let text = self.pending.trim_ascii();
        if std::mem::take(&mut self.overlong) {
            let message = format!("the line is longer than {MAX_LINE} bytes");
            chunk
                .refused
                .push(Refused::new(line, "line_too_long", &message));
        } else if !text.is_empty() {
            match check(text) {
                Ok(()) => chunk.events.push(Event {
                    line,
                    json: text.to_vec(),
                }),
                Err((reason, message)) => chunk.refused.push(Refused::new(line, reason, &message)),
            }
        }
        self.pending.clear();
    }
}

/// Whether a line is one JSON object. The reasons are those by which the service refuses the same.
fn check(line: &[u8]) -> Result<(), (&'static str, String)> {
    let text = std::str::from_utf8(line).map_err(|error| {
        (
            "not_utf8",
            format!("not UTF-8 at byte {}", error.valid_up_to() + 1),
        )
    })?;
    let value: Result<IgnoredAny, _> = serde_json::from_str(text);
    match value {
        Ok(_) if text.starts_with('{') => Ok(()),
        Ok(_) => Err((
            "wrong_shape",
            "a line is one JSON object: {\"key\":\"value\"}".to_owned(),
        )),
        Err(error) => {
            let message = error
                .to_string()
                .replace(" at line 1 column ", " at column ");
            Err(("not_json", format!("the line is not JSON: {message}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(pieces: &[&[u8]]) -> (Vec<u64>, Vec<(u64, String)>) {
        let mut lines = Lines::default();
        let mut chunks: Vec<Chunk> = pieces.iter().map(|piece| lines.push(piece)).collect();
        chunks.push(lines.finish());
        let events = chunks
            .iter()
            .flat_map(|c| c.events.iter().map(|event| event.line))
            .collect();
        let refused = chunks
            .iter()
            .flat_map(|c| c.refused.iter().map(|r| (r.line, r.reason.clone())))
            .collect();
        (events, refused)
    }

    #[test]
    fn lines_keep_their_numbers_across_reads_blank_lines_and_a_missing_last_line_break() {
        let (events, refused) = cut(&[b"{\"a\":1}\r\n\n  \n{\"b\"", b":2", b"}\n{\"c\":3}"]);
        assert_eq!(events, [1, 4, 5]);
        assert_eq!(refused, []);
    }

    #[test]
    fn a_line_that_is_not_one_object_in_utf8_is_refused_with_its_number() {
        let (events, refused) =
            cut(&[b"[1]\n{\"a\":1},{\"b\":2}\n{\"ok\":1}\n{\"a\":\"\xff\"}\n{\"a\":1}]}\n{\"a\":"]);
        assert_eq!(events, [3]);
        let expected = [
            (1, "wrong_shape"),
            (2, "not_json"),
            (4, "not_utf8"),
            (5, "not_json"),
            (6, "not_json"),
        ];
        let refused: Vec<_> = refused
            .iter()
            .map(|(line, reason)| (*line, reason.as_str()))
            .collect();
        assert_eq!(refused, expected);
    }

    #[test]
    fn a_line_past_the_limit_is_refused_and_takes_no_memory_and_the_next_one_is_read() {
        let mut lines = Lines::default();
        let piece = vec![b'x'; 64 << 10];
        for _ in 0..64 {
            assert_eq!(lines.push(&piece).events, []);
            assert!(lines.pending.len() <= MAX_LINE);
        }
        let chunk = lines.push(b"\n{\"a\":1}\n");
        assert_eq!(chunk.refused[0].reason, "line_too_long");
        assert_eq!(
            chunk.events,
            [Event {
                line: 2,
                json: b"{\"a\":1}".to_vec()
            }]
        );
    }

    #[test]
    fn a_line_of_exactly_the_limit_is_taken() {
        let mut line = br#"{"a":""#.to_vec();
        line.resize(MAX_LINE - 2, b'x');
        line.extend_from_slice(b"\"}\n");
        assert_eq!(cut(&[&line]).0, [1]);
    }

    #[tokio::test]
    async fn a_reader_hands_on_every_line_and_then_ends() {
        let mut chunks = spawn_reader(Box::new(&b"{\"a\":1}\n{\"b\":2}\n"[..])).unwrap();
        let mut lines = Vec::new();
        while let Some(chunk) = chunks.recv().await {
            lines.extend(chunk.unwrap().events.into_iter().map(|event| event.line));
        }
        assert_eq!(lines, [1, 2]);
    }
}
