//! The reference of keys: a table for each section.

use super::text::{toml_value, type_name};
use crate::config::schema::{Shape, TAG, join, root};

const HEAD: &str = "\
<!-- Made from src/config/model: TOLLGATE_WRITE=1 cargo test --test config -->

# Configuration

Tollgate reads one TOML file: `tollgate run --config FILE`. Without one it runs `config/quickstart.toml`. \
`tollgate check --config FILE` tells everything that is wrong with a file, with the line and a way to mend it. \
`config/tollgate.toml` holds every key with its default, to copy from. Editors complete and check keys by \
`config/tollgate.schema.json`.

Keys that Tollgate does not know are errors. Past a limit there is always an answer, named below.

- A **size** is `\"512KiB\"`, `\"10MiB\"`, `\"1GiB\"` (powers of 1024), or a number of bytes. `MB` is refused, since people mean either by it.
- A **time span** is `\"250ms\"`, `\"30s\"`, `\"15m\"`, `\"1h\"`, `\"7d\"`, or a sum such as `\"1h 30m\"`.
- A **socket address** is `\"127.0.0.1:8080\"` or `\"[::1]:8080\"`. Port 0 takes a free port.
- A **network** is `\"10.0.0.0/8\"`, `\"2001:db8::/32\"` or one address. IPv4 is written as IPv4.
- A **project name** has 3 to 63 lower-case letters, digits and `-`; a **logstore name** also `_`. Both start and end with a letter or a digit.
- A **secret reference** is `\"env:NAME\"` (an environment variable) or `\"file:PATH\"`. A secret itself is never written in a configuration.
";

/// The whole manual.
pub(super) fn manual() -> String {
    let mut out = HEAD.to_owned();
    section(&mut out, "Top level", "", root(), "");
    out
}

fn section(out: &mut String, title: &str, about: &str, shape: Shape, path: &str) {
    out.push_str(&format!("\n## {title}\n\n"));
    if !about.is_empty() {
        out.push_str(&format!("{about}\n\n"));
    }
    if shape.variants().next().is_some() {
        kinds(out, shape, path);
        return;
    }
    let mut rows = shape
        .properties()
        .filter(|(_, key)| key.section().is_none());
    if let Some(first) = rows.next() {
        out.push_str("| Key | Type | Default | Meaning |\n| --- | --- | --- | --- |\n");
        for (key, inner) in std::iter::once(first).chain(rows) {
            let required = shape.required().any(|name| name == key);
            out.push_str(&row(key, inner, required));
        }
    }
    for (key, inner) in shape.properties() {
        let path = join(path, key);
        match inner.section() {
            Some((table, false)) => {
                section(
                    out,
                    &format!("`[{path}]`"),
                    inner.description(),
                    table,
                    &path,
                );
            }
            Some((table, true)) => {
                section(
                    out,
                    &format!("`[[{path}]]`"),
                    inner.description(),
                    table,
                    &path,
                );
            }
            None => {}
        }
    }
}

/// A table for each kind of a tagged table, and once the tables that may stand in them.
fn kinds(out: &mut String, shape: Shape, path: &str) {
    let mut inner: Vec<(&str, Shape, bool)> = Vec::new();
    for (word, variant) in shape.variants() {
        out.push_str(&format!(
            "\n### `{TAG} = \"{word}\"`\n\n{}\n",
            variant.description()
        ));
        let mut head = "\n| Key | Type | Default | Meaning |\n| --- | --- | --- | --- |\n";
        for (key, value) in variant.properties().filter(|(key, _)| *key != TAG) {
            if let Some((table, is_list)) = value.section() {
                if !inner.iter().any(|(known, ..)| *known == key) {
                    inner.push((key, table, is_list));
                }
                continue;
            }
            out.push_str(std::mem::take(&mut head));
            let required = variant.required().any(|name| name == key);
            out.push_str(&row(key, value, required));
        }
    }
    for (key, table, is_list) in inner {
        let path = join(path, key);
        let title = if is_list {
            format!("`[[{path}]]`")
        } else {
            format!("`[{path}]`, in each of them")
        };
        section(out, &title, table.description(), table, &path);
    }
}

fn row(key: &str, shape: Shape, required: bool) -> String {
    let default = match shape.default() {
        Some(value) => format!("`{}`", toml_value(value)),
        None if required => "required".to_owned(),
        None => "none".to_owned(),
    };
    let mut meaning = shape.description().to_owned();
    for (word, about) in shape.choices() {
        meaning.push_str(&format!(" `\"{word}\"`: {}", about.description()));
    }
    if let (Some(example), true) = (shape.example(), !required) {
        meaning.push_str(&format!(" Example: `{}`.", toml_value(example)));
    }
    let cells = [format!("`{key}`"), type_name(shape), default, meaning];
    format!(
        "| {} |\n",
        cells.map(|cell| cell.replace('|', "\\|")).join(" | ")
    )
}
