//! Names of fields and tags that only we give.

/// Names of fields and tags that we attach to events: from claims of the token and from trusted
/// cookies. A client that sends them itself would pass its own word for the token's, so they are
/// left out of what it sends, whoever it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttachedNames {
    fields: Vec<Box<[u8]>>,
    tags: Vec<Box<[u8]>>,
}

impl AttachedNames {
    /// No names.
    pub const NONE: &'static Self = &Self {
        fields: Vec::new(),
        tags: Vec::new(),
    };

    /// These names.
    #[must_use]
    pub fn new<'n>(
        fields: impl Iterator<Item = &'n str>,
        tags: impl Iterator<Item = &'n str>,
    ) -> Self {
        let sorted = |names: &mut dyn Iterator<Item = &'n str>| {
            let mut names: Vec<Box<[u8]>> = names.map(|name| name.as_bytes().into()).collect();
            names.sort_unstable();
            names.dedup();
            names
        };
        let (mut fields, mut tags) = (fields, tags);
        Self {
            fields: sorted(&mut fields),
            tags: sorted(&mut tags),
        }
    }

    /// Whether it is a field of ours.
    #[inline]
    #[must_use]
    pub fn has_field(&self, name: &[u8]) -> bool {
        !self.fields.is_empty() && has(&self.fields, name)
    }

    /// Whether it is a tag of ours.
    #[inline]
    #[must_use]
    pub fn has_tag(&self, name: &[u8]) -> bool {
        !self.tags.is_empty() && has(&self.tags, name)
    }
}

fn has(names: &[Box<[u8]>], name: &[u8]) -> bool {
    names.binary_search_by(|one| (**one).cmp(name)).is_ok()
}
