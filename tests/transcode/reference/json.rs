//! JSON bodies.

use std::collections::HashSet;

use serde_json::value::RawValue;
use tollgate::event::{EventGroup, Reason};

use super::json_text::{depth, members, text};
use super::{Event, Outcome, Setting, TAG_NAMES_OF_OURS, field, finish, put_tag};

/// The reference for JSON bodies.
pub fn json(body: &[u8], setting: &Setting) -> Outcome {
    let body = percent_decoded_form(body);
    let text = std::str::from_utf8(&body).map_err(|_| Reason::NotUtf8)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let document: &RawValue = serde_json::from_str(text).map_err(|_| Reason::NotJson)?;
    if depth(document.get()) > setting.limits.depth as usize {
        return Err(Reason::TooDeep);
    }
    let envelope = members(document.get()).ok_or(Reason::WrongShape)?;
    let named = |name: &str| -> Result<Option<&str>, Reason> {
        let mut found = envelope.iter().filter(|(key, _)| key == name);
        let first = found.next().map(|(_, value)| value.as_str());
        match found.next() {
            Some(_) => Err(Reason::DuplicateKey),
            None => Ok(first),
        }
    };
    let mut out = EventGroup::default();
    if let Some(topic) = named("__topic__")? {
        out.topic = label(topic, setting)?;
    }
    if let Some(source) = named("__source__")? {
        out.source = label(source, setting)?;
    }
    if let Some(tags) = named("__tags__")?.filter(|tags| *tags != "null") {
        json_tags(tags, setting, &mut out)?;
    }
    let logs = named("__logs__")?.ok_or(Reason::WrongShape)?;
    let logs: Vec<&RawValue> = serde_json::from_str(logs).map_err(|_| Reason::WrongShape)?;
    if logs.len() > setting.limits.events as usize {
        return Err(Reason::TooManyEvents);
    }
    for log in logs {
        let members = members(log.get()).ok_or(Reason::WrongShape)?;
        let event = json_event(&members, setting, &mut out)?;
        finish(event, setting, &mut out);
    }
    Ok(out)
}

fn json_event(
    members: &[(String, String)],
    setting: &Setting,
    out: &mut EventGroup,
) -> Result<Event, Reason> {
    if members.len() > setting.limits.fields as usize {
        return Err(Reason::TooManyFields);
    }
    check_keys(members, setting)?;
    let mut event = Event::default();
    for (key, value) in members {
        let value = text(value);
        if value.len() > setting.limits.value.as_usize() {
            return Err(Reason::ValueTooLarge);
        }
        field(key, value, &mut event, setting, out)?;
    }
    Ok(event)
}

fn json_tags(tags: &str, setting: &Setting, out: &mut EventGroup) -> Result<(), Reason> {
    let tags = members(tags).ok_or(Reason::WrongShape)?;
    check_keys(&tags, setting)?;
    let counted = tags.iter().filter(|(key, _)| key != "__token__").count();
    if counted > setting.limits.tags as usize {
        return Err(Reason::TooManyFields);
    }
    for (key, value) in &tags {
        if TAG_NAMES_OF_OURS.contains(&key.as_str()) {
            out.reserved_fields += 1;
        } else if value == "null" {
        } else if key == "__token__" {
            out.token = text(value).into_bytes();
            if out.token.len() > 8192 {
                return Err(Reason::ValueTooLarge);
            }
        } else {
            put_tag(key, &text(value), setting, out)?;
        }
    }
    Ok(())
}

fn check_keys(members: &[(String, String)], setting: &Setting) -> Result<(), Reason> {
    let mut seen = HashSet::new();
    for (key, _) in members {
        if key.is_empty() || key.len() > setting.limits.key.as_usize() {
            return Err(Reason::InvalidKey);
        }
        if !seen.insert(key) {
            return Err(Reason::DuplicateKey);
        }
    }
    Ok(())
}

fn label(raw: &str, setting: &Setting) -> Result<Vec<u8>, Reason> {
    if raw.starts_with(['{', '[']) {
        return Err(Reason::WrongShape);
    }
    if raw == "null" {
        return Ok(Vec::new());
    }
    let text = text(raw);
    if text.len() > setting.limits.topic.as_usize() {
        return Err(Reason::ValueTooLarge);
    }
    Ok(text.into_bytes())
}

fn percent_decoded_form(body: &[u8]) -> Vec<u8> {
    let start = body.trim_ascii_start();
    if start.starts_with(b"%7B") || start.starts_with(b"%7b") {
        return percent_encoding::percent_decode(body).collect();
    }
    body.to_vec()
}
