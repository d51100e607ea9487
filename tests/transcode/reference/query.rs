//! Queries.

use std::collections::HashSet;

use tollgate::event::{EventGroup, Reason};

use super::{Event, Outcome, Setting, field, finish};

/// The reference for queries.
pub fn query(query: &[u8], token_parameter: &str, setting: &Setting) -> Outcome {
    let mut out = EventGroup::default();
    let mut event = Event::default();
    let mut seen = HashSet::new();
    let mut fields = 0;
    for (key, value) in form_urlencoded::parse(query) {
        // form_urlencoded skips empty pairs, and decodes as leniently as we do.
        if key == "APIVersion" || key == token_parameter {
            continue;
        }
        fields += 1;
        if fields > setting.limits.fields {
            return Err(Reason::TooManyFields);
        }
        if key.is_empty() || key.len() > setting.limits.key.as_usize() {
            return Err(Reason::InvalidKey);
        }
        if !seen.insert(key.clone()) {
            out.reserved_fields += 1;
            continue;
        }
        let is_label = key == "__topic__" || key == "__source__";
        let limit = match is_label {
            true => setting.limits.topic,
            false => setting.limits.value,
        };
        if value.len() > limit.as_usize() {
            return Err(Reason::ValueTooLarge);
        }
        match &*key {
            "__topic__" => out.topic = value.into_owned().into_bytes(),
            "__source__" => out.source = value.into_owned().into_bytes(),
            _ => field(&key, value.into_owned(), &mut event, setting, &mut out)?,
        }
    }
    finish(event, setting, &mut out);
    Ok(out)
}
