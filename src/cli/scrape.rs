//! The metrics of a running node, read from their text form.

/// One number.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    /// What it is.
    pub(super) value: f64,
}

impl Sample {
    /// What a label says.
    pub(super) fn label(&self, name: &str) -> Option<&str> {
        let mut labels = self.labels.iter();
        labels.find_map(|(known, value)| (known == name).then_some(value.as_str()))
    }
}

/// All numbers of one answer of `/metrics`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Scrape(Vec<Sample>);

impl Scrape {
    /// Reads the text form of Prometheus. Lines that are none are left out.
    pub(super) fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        Self(lines.filter_map(sample).collect())
    }

    /// The samples of a metric.
    pub(super) fn of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Sample> {
        self.0.iter().filter(move |sample| sample.name == name)
    }

    /// The sum of a metric over all its labels.
    pub(super) fn sum(&self, name: &str) -> f64 {
        self.of(name).map(|sample| sample.value).sum()
    }
}

fn sample(line: &str) -> Option<Sample> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = Vec::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        loop {
            rest = rest.trim_start_matches([',', ' ']);
            if let Some(after) = rest.strip_prefix('}') {
                rest = after;
                break;
            }
            let (label, after) = rest.split_once("=\"")?;
            let (value, after) = quoted(after)?;
            labels.push((label.to_owned(), value));
            rest = after;
        }
    }
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some(Sample {
        name: name.to_owned(),
        labels,
        value,
    })
}

/// A value up to its closing quote, and what follows.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, text.get(at + 1..)?)),
            '\\' => match chars.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_with_their_labels() {
        let text = "# HELP a b\na 1\nb{x=\"1\",y=\"q\\\"\\\\,}\"} 2.5\nb{x=\"2\"} 1 1700000000\nbad{x= 1\n\n";
        let scrape = Scrape::parse(text);
        assert_eq!(scrape.sum("a"), 1.0);
        assert_eq!(scrape.sum("b"), 3.5);
        assert_eq!(scrape.sum("c"), 0.0);
        let first = scrape.of("b").next().unwrap();
        assert_eq!(first.label("y"), Some("q\"\\,}"));
        assert_eq!(first.label("z"), None);
        assert_eq!(scrape.0.len(), 3);
    }
}
