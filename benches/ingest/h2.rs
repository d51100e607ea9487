//! A client of HTTP/2 that does one request at a time on a connection: frames that were rendered
//! before, and of an answer its status and its end.
//!
//! Names and values of headers are literals, since a table that changes would make a request depend on
//! those before it: the server reads more bytes than of a browser, whatever it is. Bodies are small
//! enough that no window is ever full. Not here: answers with a body that matters, pushes, trailers.

use std::io::{Read, Write};

use anyhow::{Context, bail};
use http::HeaderMap;
use http::header::HOST;

use crate::wire::Answer;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_HEADER: usize = 9;
/// The largest frame that anyone takes.
const MAX_FRAME: usize = 16_384;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;

const END_STREAM: u8 = 1;
/// Of SETTINGS and PING.
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// Statuses that stand in the table of the standard, by their first byte in a block of headers.
const STATUSES: [(u8, u16); 7] = [
    (0x88, 200),
    (0x89, 204),
    (0x8a, 206),
    (0x8b, 304),
    (0x8c, 400),
    (0x8d, 404),
    (0x8e, 500),
];

/// The frames of a POST. Their stream is filled in when they are sent.
pub fn request(target: &str, headers: &HeaderMap, body: &[u8]) -> anyhow::Result<Vec<u8>> {
    // :method POST, :scheme https, :path and :authority, by their places in the table.
    let mut block = vec![0x83, 0x87, 0x04];
    text(&mut block, target.as_bytes());
    block.push(0x01);
    text(&mut block, headers.get(HOST).context("no host")?.as_bytes());
    let length = body.len().to_string();
    let named = headers
        .iter()
        .filter(|(name, _)| **name != HOST)
        .map(|(name, value)| (name.as_str(), value.as_bytes()));
    for (name, value) in named.chain([("content-length", length.as_bytes())]) {
        block.push(0);
        text(&mut block, name.as_bytes());
        text(&mut block, value);
    }
    let mut bytes = frame(HEADERS, END_HEADERS, &block)?;
    bytes.extend(frame(DATA, END_STREAM, body)?);
    Ok(bytes)
}

/// A text with its length: seven bits, and more bytes for what does not fit into them.
fn text(block: &mut Vec<u8>, text: &[u8]) {
    let byte = |value: usize| u8::try_from(value).unwrap_or(u8::MAX);
    match text.len().checked_sub(0x7f) {
        None => block.push(byte(text.len())),
        Some(mut rest) => {
            block.push(0x7f);
            while rest >= 0x80 {
                block.push(byte(rest % 0x80 + 0x80));
                rest /= 0x80;
            }
            block.push(byte(rest));
        }
    }
    block.extend_from_slice(text);
}

/// A frame of stream 0.
fn frame(kind: u8, flags: u8, payload: &[u8]) -> anyhow::Result<Vec<u8>> {
    if payload.len() > MAX_FRAME {
        bail!("a request of {} bytes needs more frames", payload.len());
    }
    let [_, first, second, third] = u32::try_from(payload.len())?.to_be_bytes();
    let mut bytes = vec![first, second, third, kind, flags, 0, 0, 0, 0];
    bytes.extend_from_slice(payload);
    Ok(bytes)
}

/// A frame that was read.
struct Frame<'a> {
    kind: u8,
    flags: u8,
    payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The first frame, when it is whole.
    fn first(bytes: &'a [u8]) -> Option<Self> {
        let [a, b, c, kind, flags, _, _, _, _] = *bytes.first_chunk::<FRAME_HEADER>()?;
        let length = usize::try_from(u32::from_be_bytes([0, a, b, c])).ok()?;
        let payload = bytes.get(FRAME_HEADER..FRAME_HEADER + length)?;
        Some(Self {
            kind,
            flags,
            payload,
        })
    }

    fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// The client's end of a connection.
#[derive(Debug)]
pub struct Session {
    next_stream: u32,
    scratch: Vec<u8>,
    /// Bytes that were read and belong to no frame that was looked at.
    unread: Vec<u8>,
}

impl Session {
    /// Begins one.
    pub fn open(stream: &mut impl Write) -> anyhow::Result<Self> {
        stream.write_all(PREFACE)?;
        stream.write_all(&frame(SETTINGS, 0, &[])?)?;
        Ok(Self {
            next_stream: 1,
            scratch: Vec::new(),
            unread: Vec::new(),
        })
    }

    /// Sends a request that [`request`] made.
    pub fn send(&mut self, stream: &mut impl Write, request: &[u8]) -> anyhow::Result<()> {
        self.scratch.clear();
        self.scratch.extend_from_slice(request);
        let id = self.next_stream.to_be_bytes();
        self.next_stream += 2;
        let mut at = 0;
        while let Some(found) = Frame::first(self.scratch.get(at..).unwrap_or_default()) {
            let length = FRAME_HEADER + found.payload.len();
            if let Some(place) = self.scratch.get_mut(at + 5..at + FRAME_HEADER) {
                place.copy_from_slice(&id);
            }
            at += length;
        }
        Ok(stream.write_all(&self.scratch)?)
    }

    /// Reads until the answer has ended. An answer with a status that is not in [`STATUSES`] has 0.
    pub fn receive(
        &mut self,
        stream: &mut (impl Read + Write),
        buffer: &mut [u8],
    ) -> anyhow::Result<Answer> {
        let mut status = 0;
        loop {
            while let Some(found) = Frame::first(&self.unread) {
                let length = FRAME_HEADER + found.payload.len();
                let mut ended = false;
                match found.kind {
                    HEADERS => {
                        let first = found.payload.first();
                        let known = STATUSES.iter().find(|(byte, _)| first == Some(byte));
                        status = known.map_or(0, |(_, status)| *status);
                        ended = found.has(END_STREAM);
                    }
                    DATA => ended = found.has(END_STREAM),
                    SETTINGS if !found.has(ACK) => {
                        stream.write_all(&frame(SETTINGS, ACK, &[])?)?;
                    }
                    PING if !found.has(ACK) => {
                        stream.write_all(&frame(PING, ACK, found.payload)?)?;
                    }
                    RST_STREAM | GOAWAY => bail!("the server gave up a request or a connection"),
                    _ => {}
                }
                self.unread.drain(..length);
                if ended {
                    let closes = false;
                    return Ok(Answer { status, closes });
                }
            }
            let read = stream.read(buffer).context("an answer could not be read")?;
            if read == 0 {
                bail!("the server closed a connection");
            }
            self.unread
                .extend_from_slice(buffer.get(..read).unwrap_or_default());
        }
    }
}
