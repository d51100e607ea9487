//! Takes the parameters of a URL or query string out of a field.

use super::draft::Draft;
use super::outcome::Fault;
use super::steps::Adder;

/// A step that takes parameters out.
#[derive(Debug)]
pub(super) struct SplitStep {
    pub(super) field: Box<[u8]>,
    pub(super) prefix: Box<[u8]>,
    pub(super) max_fields: usize,
    pub(super) keep_source: bool,
}

/// Texts of the parameter at hand; the memory is reused.
#[derive(Debug, Default)]
pub(super) struct QuerySheets {
    source: Vec<u8>,
    name: Vec<u8>,
    value: Vec<u8>,
}

impl QuerySheets {
    /// Gives back memory that only a huge value needed.
    pub(super) fn shrink(&mut self, most: usize) {
        for text in [&mut self.source, &mut self.name, &mut self.value] {
            text.clear();
            text.shrink_to(most);
        }
    }
}

impl SplitStep {
    pub(super) fn run(
        &self,
        draft: &mut Draft<'_>,
        adder: &Adder<'_>,
        sheets: &mut QuerySheets,
    ) -> Result<(), Fault> {
        let Some(value) = draft.value(&self.field) else {
            return Ok(());
        };
        let mut source = std::mem::take(&mut sheets.source);
        source.clear();
        source.extend_from_slice(query_of(value));
        let result = self.take_out(&source, draft, adder, sheets);
        sheets.source = source;
        result
    }

    fn take_out(
        &self,
        query: &[u8],
        draft: &mut Draft<'_>,
        adder: &Adder<'_>,
        sheets: &mut QuerySheets,
    ) -> Result<(), Fault> {
        let pairs = || query.split(|b| *b == b'&').filter(|pair| !pair.is_empty());
        if pairs().count() > self.max_fields {
            return Err(Fault::TooManyMembers);
        }
        if !self.keep_source {
            draft.remove(&self.field);
        }
        for pair in pairs() {
            let equals = memchr::memchr(b'=', pair).unwrap_or(pair.len());
            let (name, value) = (
                pair.get(..equals).unwrap_or_default(),
                pair.get(equals + 1..).unwrap_or_default(),
            );
            sheets.name.clear();
            sheets.name.extend_from_slice(&self.prefix);
            decode(name, &mut sheets.name);
            if name.is_empty() {
                continue;
            }
            sheets.value.clear();
            decode(value, &mut sheets.value);
            if std::str::from_utf8(&sheets.name).is_err()
                || std::str::from_utf8(&sheets.value).is_err()
            {
                return Err(Fault::NotText);
            }
            adder.add(draft, &sheets.name, &sheets.value)?;
        }
        Ok(())
    }
}

/// The query of a URL, without `?` and fragment. A text without `?` that is no URL and no path is a
/// query by itself.
fn query_of(value: &[u8]) -> &[u8] {
    let end = memchr::memchr(b'#', value).unwrap_or(value.len());
    let value = value.get(..end).unwrap_or_default();
    match memchr::memchr(b'?', value) {
        Some(at) => value.get(at + 1..).unwrap_or_default(),
        None => {
            let equals = memchr::memchr(b'=', value).unwrap_or(value.len());
            let before = value.get(..equals).unwrap_or_default();
            let is_url = memchr::memmem::find(before, b"://").is_some() || value.starts_with(b"/");
            if is_url { b"" } else { value }
        }
    }
}

/// Appends decoded text: `%41` is a byte, `+` a space, anything else is itself.
fn decode(text: &[u8], out: &mut Vec<u8>) {
    let hex = |byte: Option<&u8>| u8::try_from(char::from(*byte?).to_digit(16)?).ok();
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        at += 1;
        match byte {
            b'+' => out.push(b' '),
            b'%' => match (hex(text.get(at)), hex(text.get(at + 1))) {
                (Some(high), Some(low)) => {
                    out.push(high * 16 + low);
                    at += 2;
                }
                _ => out.push(b'%'),
            },
            other => out.push(*other),
        }
    }
}
