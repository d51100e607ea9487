//! What the texts of a transform come to: templates and regular expressions. Both the check of a
//! configuration and the transforms themselves ask here.

use regex::{Regex, RegexBuilder};

/// Steps of one logstore at most.
pub const MAX_TRANSFORMS: usize = 64;
/// Characters of a pattern of names, or of a glob.
pub const MAX_GLOB: usize = 64;
/// The least bytes of a key of hashes.
pub const MIN_HASH_KEY: usize = 16;
/// Bytes of a compiled regular expression.
const REGEX_SIZE: usize = 1 << 20;

/// A fact of a request that a template may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TemplateFact {
    /// The client's address.
    ClientAddress,
    /// The User-Agent.
    UserAgent,
    /// The Referer.
    Referer,
    /// Seconds since 1970.
    ReceiveTime,
    /// The name of the node.
    ServerId,
    /// The topic of the events.
    Topic,
    /// The source of the events.
    Source,
}

/// A part of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Text as it is.
    Text(Box<str>),
    /// The value of a field.
    Field(Box<str>),
    /// A fact of the request.
    Fact(TemplateFact),
}

/// Why a text is no template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A `$` before anything but `{` and `$`.
    #[error("`$` stands alone; write `${{name}}` for a field, or `$$` for the character")]
    Alone,
    /// `${` without `}`.
    #[error("`${{` is never closed")]
    Open,
    /// `${}`.
    #[error("`${{}}` names no field")]
    Empty,
}

/// Reads a template.
///
/// # Errors
/// What is wrong with it.
pub fn parse_template(text: &str) -> Result<Box<[Piece]>, TemplateError> {
    let mut pieces = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        plain.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            plain.push('$');
            rest = after;
            continue;
        }
        let inner = after.strip_prefix('{').ok_or(TemplateError::Alone)?;
        let (name, after) = inner.split_once('}').ok_or(TemplateError::Open)?;
        if !plain.is_empty() {
            pieces.push(Piece::Text(std::mem::take(&mut plain).into()));
        }
        pieces.push(piece(name).ok_or(TemplateError::Empty)?);
        rest = after;
    }
    plain.push_str(rest);
    if !plain.is_empty() {
        pieces.push(Piece::Text(plain.into()));
    }
    Ok(pieces.into())
}

fn piece(name: &str) -> Option<Piece> {
    Some(Piece::Fact(match name {
        "client_address" => TemplateFact::ClientAddress,
        "user_agent" => TemplateFact::UserAgent,
        "referer" => TemplateFact::Referer,
        "receive_time" => TemplateFact::ReceiveTime,
        "server_id" => TemplateFact::ServerId,
        "topic" => TemplateFact::Topic,
        "source" => TemplateFact::Source,
        _ => {
            let name = name.strip_prefix("field:").unwrap_or(name);
            return (!name.is_empty()).then(|| Piece::Field(name.into()));
        }
    }))
}

/// Compiles a regular expression whose size and time are bounded.
///
/// # Errors
/// Why it cannot be.
pub fn compile_regex(text: &str) -> Result<Regex, String> {
    RegexBuilder::new(text)
        .size_limit(REGEX_SIZE)
        .dfa_size_limit(REGEX_SIZE)
        .build()
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => {
                format!("takes more than {REGEX_SIZE} bytes when compiled")
            }
            // The last line says what is wrong; those before it draw the place.
            error => {
                let text = error.to_string();
                let last = text.lines().last().unwrap_or_default();
                last.trim_start_matches("error: ").to_owned()
            }
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_text_fields_and_facts() {
        let pieces = parse_template("a$$b ${x}${client_address}${field:topic}é").unwrap();
        let expected = [
            Piece::Text("a$b ".into()),
            Piece::Field("x".into()),
            Piece::Fact(TemplateFact::ClientAddress),
            Piece::Field("topic".into()),
            Piece::Text("é".into()),
        ];
        assert_eq!(*pieces, expected);
        assert_eq!(*parse_template("").unwrap(), []);
    }

    #[test]
    fn what_is_no_template_is_told() {
        for (text, error) in [
            ("5$", TemplateError::Alone),
            ("$x", TemplateError::Alone),
            ("${x", TemplateError::Open),
            ("${}", TemplateError::Empty),
            ("${field:}", TemplateError::Empty),
        ] {
            assert_eq!(parse_template(text), Err(error), "{text}");
        }
    }

    #[test]
    fn a_regex_that_is_wrong_or_large_is_refused() {
        assert!(compile_regex("^(a+)+$").is_ok());
        let error = compile_regex("(?=a)").unwrap_err();
        assert!(error.contains("look-around"), "{error}");
        let error = compile_regex("(?:[^a]{500}){500}").unwrap_err();
        assert!(error.contains("1048576"), "{error}");
    }
}
