//! Events that are changed until they pass.

use super::SchemaJudge;
use crate::config::Repair;
use crate::event::{EventFault, Field, FieldPlaces, Kind, LOGS_TAG};
use crate::foundation::wire::{self, Field as WireField, Reader};
use crate::front::transcode::put_content;
use crate::gate::schema::{Annotations, Detail, FieldNotes};

/// A field that is being changed.
struct Draft {
    name: Vec<u8>,
    value: Vec<u8>,
    kind: Kind,
}

/// Changes a bad event as its schema says, by the rules of the configuration. The event anew, as a
/// `Logs` field, when it passes then.
pub(super) fn repair(schema: &SchemaJudge, fault: &EventFault, log: &[u8]) -> Option<Vec<u8>> {
    let notes = schema.schema(fault.check)?.annotations();
    let mut places = FieldPlaces::default();
    places.read(log, 0..log.len());
    let all = places.of(log);
    let mut kinds = fault.kinds.iter();
    let (mut fields, mut ours) = (Vec::new(), Vec::new());
    for field in all.iter() {
        let kind = match field.name {
            b"__client_time__" => None,
            _ => kinds.next().copied(),
        };
        let draft = Draft {
            name: field.name.to_vec(),
            value: field.value.to_vec(),
            kind: kind.unwrap_or(Kind::Text),
        };
        match kind {
            Some(_) => fields.push(draft),
            None => ours.push(draft),
        }
    }
    for rule in &schema.rule().repair {
        match rule {
            Repair::RemoveUnknown => fields.retain(|field| notes.knows(&field.name)),
            Repair::Truncate => fields.iter_mut().for_each(|field| truncate(field, notes)),
            Repair::Coerce => fields.iter_mut().for_each(|field| coerce(field, notes)),
            Repair::Default => add_defaults(&mut fields, notes),
        }
    }
    let mut logs = Vec::with_capacity(log.len() + 64);
    places.clear();
    for field in &fields {
        put_content(&mut logs, &field.name, &field.value);
        places.push(&logs, field.name.len(), field.value.len(), field.kind);
    }
    let still_bad = schema.look(fault.event, places.of(&logs), Detail::First);
    if still_bad.is_some() {
        return None;
    }
    for field in &ours {
        put_content(&mut logs, &field.name, &field.value);
    }
    let (time, nanoseconds) = times_of(log);
    let mut anew = Vec::with_capacity(logs.len() + 16);
    anew.push(0x08);
    wire::put_varint(&mut anew, time);
    anew.extend_from_slice(&logs);
    if let Some(nanoseconds) = nanoseconds {
        anew.push(0x25);
        anew.extend_from_slice(&nanoseconds.to_le_bytes());
    }
    let mut out = Vec::with_capacity(anew.len() + 4);
    wire::put_bytes(&mut out, LOGS_TAG, &anew);
    Some(out)
}

fn times_of(log: &[u8]) -> (u64, Option<u32>) {
    let (mut time, mut nanoseconds) = (0, None);
    let mut fields = Reader::new(log);
    while let Ok(Some(field)) = fields.next_field() {
        match field {
            WireField::Varint(1, seconds) => time = seconds,
            WireField::Fixed32(4, part) => nanoseconds = Some(part),
            _ => {}
        }
    }
    (time, nanoseconds)
}

fn notes_of<'n>(field: &Draft, notes: Annotations<'n>) -> Option<&'n FieldNotes> {
    notes.get(&field.name)
}

/// Cuts a text that is too long, between two characters.
fn truncate(field: &mut Draft, notes: Annotations<'_>) {
    let longest = notes_of(field, notes).and_then(|notes| notes.max_length);
    let (Some(longest), Kind::Text) = (longest, field.kind) else {
        return;
    };
    let longest = usize::try_from(longest).unwrap_or(usize::MAX);
    let text = std::str::from_utf8(&field.value).unwrap_or_default();
    if let Some((end, _)) = text.char_indices().nth(longest) {
        field.value.truncate(end);
    }
}

/// Writes a text that means a number or a boolean as the schema asks for it.
fn coerce(field: &mut Draft, notes: Annotations<'_>) {
    let name = field.name.clone();
    let reads = |value: &[u8]| {
        let field = Field {
            name: &name,
            value,
            kind: Kind::Text,
        };
        notes.kind_of(field) != Kind::Text
    };
    let wanted = notes_of(field, notes).is_some_and(|notes| !notes.coerce.is_empty());
    if !wanted || field.kind != Kind::Text || reads(&field.value) {
        return;
    }
    let old = std::mem::take(&mut field.value);
    let text = std::str::from_utf8(&old).unwrap_or_default().trim();
    let lower = text.to_lowercase();
    let word = match lower.as_str() {
        "yes" | "on" => "true",
        "no" | "off" => "false",
        other => other,
    };
    let plain = without_separators(text);
    for candidate in [text, word, plain.as_deref().unwrap_or_default()] {
        if reads(candidate.as_bytes()) {
            field.value = candidate.as_bytes().to_vec();
            return;
        }
    }
    field.value = old;
}

/// `1,234,567.8` without its commas; `None` where they do not stand between groups of three.
fn without_separators(text: &str) -> Option<String> {
    let (sign, rest) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text),
    };
    let (whole, part) = rest.split_once('.').unwrap_or((rest, ""));
    let mut groups = whole.split(',');
    let first = groups.next()?;
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let grouped = (1..=3).contains(&first.len())
        && digits(first)
        && whole.contains(',')
        && groups.all(|group| group.len() == 3 && digits(group));
    let point = if rest.contains('.') { "." } else { "" };
    grouped.then(|| format!("{sign}{}{point}{part}", whole.replace(',', "")))
}

/// Gives fields that are required and missing what the schema has for that.
fn add_defaults(fields: &mut Vec<Draft>, notes: Annotations<'_>) {
    for (name, notes) in notes.iter() {
        let Some(default) = notes.default.as_ref().filter(|_| notes.required) else {
            continue;
        };
        if fields.iter().any(|field| field.name == name.as_bytes()) {
            continue;
        }
        let (value, kind) = match default {
            serde_json::Value::String(text) => (text.clone().into_bytes(), Kind::Text),
            other => {
                let text = other.to_string().into_bytes();
                let kind = Kind::of_first_byte(text.first().copied().unwrap_or(b'n'));
                (text, kind)
            }
        };
        fields.push(Draft {
            name: name.as_bytes().to_vec(),
            value,
            kind,
        });
    }
}
