//! From the text of a query to a [`Query`]. Bounded in length and depth.

use super::{Pattern, Query};

/// Longest query, in bytes.
const MAX_LENGTH: usize = 4096;
/// Deepest nesting of parentheses and `not`.
const MAX_DEPTH: u32 = 32;
/// The prefix of tag keys: the colon in it is part of the key.
const TAG_PREFIX: &str = "__tag__:";

/// Why a query cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Longer than 4096 bytes.
    #[error("a query has at most {MAX_LENGTH} bytes")]
    TooLong,
    /// More than 32 parentheses and `not` inside one another.
    #[error("a query is nested at most {MAX_DEPTH} levels deep")]
    TooDeep,
    /// A pipe.
    #[error("analysis with SQL after `|` is not supported by this store")]
    Sql,
    /// A quote without its end.
    #[error("a quote has no end")]
    OpenQuote,
    /// Nothing stands after `key:`.
    #[error("`{0}:` needs a value")]
    NoValue(String),
    /// A term is missing: at the end, before `)`, or before `and` or `or`.
    #[error("a term is missing before {0}")]
    NoTerm(&'static str),
    /// A parenthesis without its partner.
    #[error("a parenthesis has no partner")]
    Parenthesis,
}

/// Reads a query.
///
/// # Errors
/// See [`ParseError`].
pub fn parse(text: &str) -> Result<Query, ParseError> {
    if text.len() > MAX_LENGTH {
        return Err(ParseError::TooLong);
    }
    if text.trim().is_empty() {
        return Ok(Query::All);
    }
    let mut parser = Parser {
        rest: text,
        depth: 0,
    };
    let query = parser.any_of()?;
    match parser.peek()? {
        None => Ok(query),
        Some(_) => Err(ParseError::Parenthesis),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Token<'a> {
    Open,
    Close,
    And,
    Or,
    Not,
    /// A quote begins.
    Quote,
    /// An unquoted word, up to a space, a parenthesis or a quote.
    Word(&'a str),
}

struct Parser<'a> {
    rest: &'a str,
    depth: u32,
}

impl<'a> Parser<'a> {
    fn any_of(&mut self) -> Result<Query, ParseError> {
        let mut parts = vec![self.all_of()?];
        while self.peek()? == Some(Token::Or) {
            self.skip_word();
            parts.push(self.all_of()?);
        }
        Ok(one_or(parts, Query::Or))
    }

    fn all_of(&mut self) -> Result<Query, ParseError> {
        let mut parts = vec![self.term()?];
        loop {
            match self.peek()? {
                Some(Token::And) => self.skip_word(),
                None | Some(Token::Or | Token::Close) => return Ok(one_or(parts, Query::And)),
                Some(Token::Open | Token::Not | Token::Quote | Token::Word(_)) => {}
            }
            parts.push(self.term()?);
        }
    }

    fn term(&mut self) -> Result<Query, ParseError> {
        match self.peek()? {
            Some(Token::Open) => {
                self.skip(1);
                let inner = self.deeper(Self::any_of)?;
                if self.peek()? != Some(Token::Close) {
                    return Err(ParseError::Parenthesis);
                }
                self.skip(1);
                Ok(inner)
            }
            Some(Token::Not) => {
                self.skip_word();
                Ok(Query::Not(Box::new(self.deeper(Self::term)?)))
            }
            Some(Token::Quote) => {
                let text = self.quoted()?;
                match self.rest.strip_prefix(':') {
                    Some(rest) => {
                        self.rest = rest;
                        self.field(text)
                    }
                    None => Ok(Query::Text(text.to_ascii_lowercase())),
                }
            }
            Some(Token::Word(word)) => match key_length(word) {
                Some(length) => {
                    let (key, _) = word.split_at_checked(length).unwrap_or((word, ""));
                    self.skip(length + 1);
                    self.field(key.to_owned())
                }
                None => {
                    self.skip(word.len());
                    Ok(bare(word))
                }
            },
            None => Err(ParseError::NoTerm("the end")),
            Some(Token::Close) => Err(ParseError::NoTerm("`)`")),
            Some(Token::And) => Err(ParseError::NoTerm("`and`")),
            Some(Token::Or) => Err(ParseError::NoTerm("`or`")),
        }
    }

    /// What stands after `key:`.
    fn field(&mut self, key: String) -> Result<Query, ParseError> {
        self.rest = self.rest.trim_start();
        let value = if self.rest.starts_with('"') {
            Pattern::Exact(self.quoted()?)
        } else {
            let word = word(self.rest);
            self.skip(word.len());
            match word.strip_suffix('*') {
                _ if word.is_empty() => return Err(ParseError::NoValue(key)),
                Some(beginning) => Pattern::Prefix(beginning.to_owned()),
                None => Pattern::Exact(word.to_owned()),
            }
        };
        Ok(Query::Field { key, value })
    }

    /// A quoted text, in which a backslash takes the next character as it is.
    fn quoted(&mut self) -> Result<String, ParseError> {
        let mut text = String::new();
        let mut characters = self.rest.char_indices().skip(1);
        while let Some((at, character)) = characters.next() {
            match character {
                '"' => {
                    self.skip(at + 1);
                    return Ok(text);
                }
                '\\' => text.push(characters.next().ok_or(ParseError::OpenQuote)?.1),
                other => text.push(other),
            }
        }
        Err(ParseError::OpenQuote)
    }

    fn deeper(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<Query, ParseError>,
    ) -> Result<Query, ParseError> {
        if self.depth >= MAX_DEPTH {
            return Err(ParseError::TooDeep);
        }
        self.depth += 1;
        let query = read(self)?;
        self.depth -= 1;
        Ok(query)
    }

    fn peek(&mut self) -> Result<Option<Token<'a>>, ParseError> {
        self.rest = self.rest.trim_start();
        let token = match self.rest.chars().next() {
            None => return Ok(None),
            Some('(') => Token::Open,
            Some(')') => Token::Close,
            Some('"') => Token::Quote,
            Some('|') => return Err(ParseError::Sql),
            Some(_) => match word(self.rest) {
                it if it.eq_ignore_ascii_case("and") => Token::And,
                it if it.eq_ignore_ascii_case("or") => Token::Or,
                it if it.eq_ignore_ascii_case("not") => Token::Not,
                it => Token::Word(it),
            },
        };
        Ok(Some(token))
    }

    fn skip(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or("");
    }

    fn skip_word(&mut self) {
        self.skip(word(self.rest).len());
    }
}

fn word(text: &str) -> &str {
    let ends = |c: char| c.is_whitespace() || matches!(c, '(' | ')' | '"' | '|');
    text.split(ends).next().unwrap_or("")
}

/// Where the key in `key:value` ends; `None` when the word has no key.
fn key_length(word: &str) -> Option<usize> {
    let start = if word.starts_with(TAG_PREFIX) {
        TAG_PREFIX.len()
    } else {
        0
    };
    let length = start + word.get(start..)?.find(':')?;
    (length > 0).then_some(length)
}

/// A word alone.
fn bare(word: &str) -> Query {
    match word.trim_end_matches('*') {
        "" => Query::All,
        text => Query::Text(text.to_ascii_lowercase()),
    }
}

fn one_or(mut parts: Vec<Query>, join: impl FnOnce(Vec<Query>) -> Query) -> Query {
    match (parts.len(), parts.pop()) {
        (1, Some(only)) => only,
        (_, Some(last)) => {
            parts.push(last);
            join(parts)
        }
        (_, None) => Query::All,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(text: &str) -> Query {
        Query::Text(text.to_owned())
    }

    fn field(key: &str, value: &str) -> Query {
        let value = match value.strip_suffix('*') {
            Some(beginning) => Pattern::Prefix(beginning.to_owned()),
            None => Pattern::Exact(value.to_owned()),
        };
        Query::Field {
            key: key.to_owned(),
            value,
        }
    }

    #[test]
    fn nothing_and_a_star_mean_everything() {
        for all in ["", "  ", "*", " * "] {
            assert_eq!(parse(all), Ok(Query::All), "{all:?}");
        }
    }

    #[test]
    fn terms_are_words_phrases_and_fields() {
        for (query, expected) in [
            ("Error", text("error")),
            ("\"Not Found\"", text("not found")),
            ("status: 404", field("status", "404")),
            ("status:404", field("status", "404")),
            ("path: /home*", field("path", "/home*")),
            ("url: http://a/b", field("url", "http://a/b")),
            ("msg: \"a \\\"b\\\"\"", field("msg", "a \"b\"")),
            ("\"my key\": v", field("my key", "v")),
            (
                "__tag__:__client_ip__: 1.2.3.4",
                field("__tag__:__client_ip__", "1.2.3.4"),
            ),
            ("__topic__:web", field("__topic__", "web")),
            ("and:1", field("and", "1")),
        ] {
            assert_eq!(parse(query), Ok(expected), "{query}");
        }
        let quoted = Query::Field {
            key: "k".to_owned(),
            value: Pattern::Exact("a*".to_owned()),
        };
        assert_eq!(parse("k: \"a*\""), Ok(quoted), "no wildcard in quotes");
    }

    #[test]
    fn not_binds_before_and_and_that_before_or() {
        let expected = Query::Or(vec![
            Query::And(vec![text("a"), Query::Not(Box::new(text("b")))]),
            text("c"),
        ]);
        assert_eq!(parse("a and NOT b OR c"), Ok(expected.clone()));
        assert_eq!(parse("a not b or c"), Ok(expected));
        assert_eq!(
            parse("a (b or c)"),
            Ok(Query::And(vec![
                text("a"),
                Query::Or(vec![text("b"), text("c")])
            ]))
        );
    }

    #[test]
    fn what_is_not_a_query_says_why() {
        for (query, expected) in [
            ("a and", ParseError::NoTerm("the end")),
            ("or a", ParseError::NoTerm("`or`")),
            ("()", ParseError::NoTerm("`)`")),
            ("(a", ParseError::Parenthesis),
            ("a)", ParseError::Parenthesis),
            ("\"a", ParseError::OpenQuote),
            ("\"a\\", ParseError::OpenQuote),
            ("k:", ParseError::NoValue("k".to_owned())),
            ("* | select 1", ParseError::Sql),
        ] {
            assert_eq!(parse(query), Err(expected), "{query}");
        }
    }

    #[test]
    fn depth_and_length_are_bounded() {
        let nested = |depth| format!("{}a{}", "(".repeat(depth), ")".repeat(depth));
        assert_eq!(parse(&nested(32)), Ok(text("a")));
        assert_eq!(parse(&nested(33)), Err(ParseError::TooDeep));
        assert_eq!(parse(&"not ".repeat(40)), Err(ParseError::TooDeep));
        assert!(parse(&"a".repeat(MAX_LENGTH)).is_ok());
        assert_eq!(parse(&"a".repeat(MAX_LENGTH + 1)), Err(ParseError::TooLong));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(query in r#"([a-z:*"()\\ |é]|and |or |not |__tag__:){0,40}"#) {
            drop(parse(&query));
        }
    }
}
