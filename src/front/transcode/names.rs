//! Names that mean something to the store or to us (SLS: reserved fields).

use crate::event::AttachedNames;

/// Where the text of a time that was outside the window is kept.
pub(super) const CLIENT_TIME: &[u8] = b"__client_time__";

/// The tag that carries a token. As a field it is a mistake, and is not stored either.
const TOKEN: &[u8] = b"__token__";

/// The tag that names the limit that marked the events.
pub(in crate::front) const LIMIT: &[u8] = b"__tollgate_limit__";

/// The longest token that is taken from a tag, in bytes.
pub(super) const MAX_TOKEN: usize = 8192;

/// The names of the envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EnvelopeName {
    /// The events.
    Logs,
    /// `LogGroup.Topic`.
    Topic,
    /// `LogGroup.Source`.
    Source,
    /// `LogGroup.LogTags`.
    Tags,
}

impl EnvelopeName {
    /// Sorts a decoded name. `None`: a name that the envelope does not know.
    pub(super) fn of(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"__logs__" => Self::Logs,
            b"__topic__" => Self::Topic,
            b"__source__" => Self::Source,
            b"__tags__" => Self::Tags,
            _ => return None,
        })
    }

    /// The name as clients write it.
    pub(super) fn as_bytes(self) -> &'static [u8] {
        match self {
            Self::Logs => b"__logs__",
            Self::Topic => b"__topic__",
            Self::Source => b"__source__",
            Self::Tags => b"__tags__",
        }
    }
}

/// What the name of an event's member says about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FieldName {
    /// A field like any other.
    Plain,
    /// `__time__`: becomes `Log.Time`.
    Time,
    /// `__time_ns_part__`: becomes `Log.Time_ns`.
    Nanoseconds,
    /// A name of the store or of ours: left out, and counted.
    Reserved,
    /// A name that we attach: left out, and counted as such too.
    Attached,
}

impl FieldName {
    /// Sorts a decoded name.
    #[inline]
    pub(super) fn of(name: &[u8], attached: &AttachedNames) -> Self {
        if attached.has_field(name) {
            Self::Attached
        } else if name.first() == Some(&b'_') {
            Self::underscored(name)
        } else {
            Self::Plain
        }
    }

    fn underscored(name: &[u8]) -> Self {
        match name {
            b"__time__" => Self::Time,
            b"__time_ns_part__" => Self::Nanoseconds,
            b"__source__"
            | b"__topic__"
            | b"__partition_time__"
            | b"_extract_others_"
            | b"__extract_others__"
            | b"__pack_id__"
            | TOKEN
            | CLIENT_TIME => Self::Reserved,
            _ if name.starts_with(b"__tag__:") => Self::Reserved,
            _ => Self::Plain,
        }
    }
}

/// What the name of a tag says about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TagName {
    /// A tag like any other.
    Plain,
    /// `__token__`: the client's credential, never stored.
    Token,
    /// A tag that only we or the store may set: left out, and counted.
    Reserved,
    /// A tag that we attach: left out, and counted as such too.
    Attached,
}

impl TagName {
    /// Sorts a decoded name.
    pub(super) fn of(name: &[u8], attached: &AttachedNames) -> Self {
        match name {
            b"__token__" => Self::Token,
            b"__client_ip__" | b"__receive_time__" | b"__pack_id__" | LIMIT => Self::Reserved,
            _ if attached.has_tag(name) => Self::Attached,
            _ => Self::Plain,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Context, Rules, json, protobuf, put_content, query};
    use crate::config::{Limits, TimeWindow};
    use crate::event::AttachedNames;
    use crate::event::EventGroup;

    /// What a client writes under a name that we attach is left out, however it comes.
    #[test]
    fn a_client_cannot_write_under_an_attached_name() {
        let attached = AttachedNames::new(["user_id", "b"].into_iter(), ["tenant"].into_iter());
        let rules = Rules::new(&Limits::default(), &TimeWindow::default());
        let mut stamp = Vec::new();
        put_content(&mut stamp, b"user_id", b"from-the-token");
        let context = Context {
            rules: &rules,
            received: 1_781_510_400,
            stamp: &stamp,
            attached: &attached,
            check: None,
        };
        let contains = |group: &EventGroup, needle: &[u8]| {
            let all = [group.logs.as_slice(), &group.tags].concat();
            all.windows(needle.len()).any(|part| part == needle)
        };
        let check = |group: &EventGroup, left_out: u32| {
            assert!(!contains(group, b"forged"), "{left_out}");
            assert!(contains(group, b"from-the-token") && contains(group, b"kept"));
            assert_eq!(group.reserved_fields, left_out);
        };
        let mut out = EventGroup::default();
        let body =
            br#"{"__logs__":[{"user_id":"forged","k":"kept"}],"__tags__":{"tenant":"forged"}}"#;
        json(body, &context, &mut out).unwrap();
        check(&out, 2);
        out.clear();
        query(
            b"user_id=forged&k=kept&user%5fid=forged",
            "token",
            &context,
            &mut out,
        )
        .unwrap();
        assert!(!contains(&out, b"forged") && contains(&out, b"kept"));
        out.clear();
        let mut log = vec![0x08, 0x80, 0xe2, 0xbe, 0xd1, 0x06];
        put_content(&mut log, b"user_id", b"forged");
        put_content(&mut log, b"k", b"kept");
        let mut body = vec![crate::event::LOGS_TAG, u8::try_from(log.len()).unwrap()];
        body.extend_from_slice(&log);
        crate::event::put_tag(&mut body, b"tenant", b"forged");
        protobuf(&body, &context, &mut out).unwrap();
        check(&out, 2);
    }
}
