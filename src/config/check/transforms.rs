//! Steps on the fields of events.

use super::Findings;
use crate::config::{
    AddressForm, ClientAddress, Config, MAX_GLOB, MAX_TRANSFORMS, MaskFields, PrivacyAction,
    Project, Transform, When, compile_regex, parse_template,
};
use crate::foundation::names::{LABEL_TAG, LogstoreName, is_label, is_reserved_field};

/// The client's address, as a field or as a tag.
const CLIENT_ADDRESS: &str = "__tag__:__client_ip__";

pub(super) fn check(config: &Config, findings: &mut Findings) {
    for (index, project) in config.projects.iter().enumerate() {
        for (inner, logstore) in project.logstores.iter().enumerate() {
            let path = format!("project[{index}].logstore[{inner}].transform");
            if logstore.transforms.len() > MAX_TRANSFORMS {
                let message = format!(
                    "{} steps; at most {MAX_TRANSFORMS} can stand here",
                    logstore.transforms.len()
                );
                findings.error(path.clone(), message);
            }
            for (place, step) in logstore.transforms.iter().enumerate() {
                let mut check = Check {
                    config,
                    project,
                    own: &logstore.name,
                    address: logstore.client_address,
                    path: format!("{path}[{place}]"),
                    findings,
                };
                check.step(step);
            }
        }
    }
}

/// Whether a name or pattern means labels: the topic, the source or tags.
fn names_labels(name: &str) -> bool {
    if !name.contains(['*', '?']) {
        return is_label(name.as_bytes());
    }
    let tag = || {
        let (start, open) = name
            .split_once('*')
            .map_or((name, false), |(it, _)| (it, true));
        let mut pairs = start.bytes().zip(LABEL_TAG);
        pairs.all(|(one, of_tag)| one == b'?' || one == *of_tag)
            && (open || start.len() >= LABEL_TAG.len())
    };
    // Others mean no name that only the store and the edge write.
    name.starts_with("__") && (tag() || covers(name, "__topic__") || covers(name, "__source__"))
}

/// Whether a pattern with `*` and `?` matches an ASCII text.
fn covers(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut read) = (0, 0);
    // Where the last `*` stands, and what it stands for so far ends.
    let mut star: Option<(usize, usize)> = None;
    while let Some(byte) = text.get(read) {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, read));
                at += 1;
            }
            Some(one) if one == byte || *one == b'?' => (at, read) = (at + 1, read + 1),
            _ => {
                let Some((place, end)) = star else {
                    return false;
                };
                star = Some((place, end + 1));
                (at, read) = (place + 1, end + 1);
            }
        }
    }
    pattern.iter().skip(at).all(|byte| *byte == b'*')
}

/// One step being looked at.
struct Check<'a> {
    config: &'a Config,
    project: &'a Project,
    own: &'a LogstoreName,
    address: ClientAddress,
    path: String,
    findings: &'a mut Findings,
}

impl Check<'_> {
    fn step(&mut self, step: &Transform) {
        if let Some(when) = step.when() {
            self.when(when);
        }
        self.labels(step);
        match step {
            Transform::Add(add) => {
                self.writes("field", &add.field);
                self.template("value", &add.value);
            }
            Transform::Rename(rename) => {
                self.name("from", &rename.from);
                self.writes("to", &rename.to);
                if rename.from == rename.to {
                    self.error("to", "the field has this name already");
                }
            }
            Transform::Remove(remove) => self.patterns(&remove.fields, true),
            Transform::KeepOnly(keep) => self.patterns(&keep.fields, true),
            Transform::ClientAddress(address) => {
                self.writes("field", &address.field);
                let form = address.form;
                self.key_if(
                    form == AddressForm::KeyedHash,
                    step,
                    "form = \"keyed_hash\"",
                );
                if form == AddressForm::Whole {
                    for (key, prefix) in [
                        ("ipv4_prefix", address.ipv4_prefix),
                        ("ipv6_prefix", address.ipv6_prefix),
                    ] {
                        if prefix.is_some() {
                            self.error(key, "the whole address is written")
                                .help("set form = \"prefix\"");
                        }
                    }
                }
            }
            Transform::UserAgent(agent) => self.writes("field", &agent.field),
            Transform::Referer(referer) => self.writes("field", &referer.field),
            Transform::ReceiveTime(time) => self.writes("field", &time.field),
            Transform::ServerId(server) => self.writes("field", &server.field),
            Transform::Mask(mask) => self.mask(mask),
            Transform::Hash(hash) => {
                self.patterns(&hash.fields, true);
            }
            _ => self.other(step),
        }
    }

    /// Steps that do more than write a field.
    fn other(&mut self, step: &Transform) {
        match step {
            Transform::PrivacySignals(privacy) => {
                if privacy.signals.is_empty() {
                    self.error("signals", "names no signal");
                }
                let drops = privacy.action == PrivacyAction::DropEvent;
                self.patterns(&privacy.fields, !drops);
                if drops && !privacy.fields.is_empty() {
                    self.error("fields", "the whole event is dropped");
                }
                let hashes = privacy.action == PrivacyAction::OnlyHash;
                self.key_if(hashes, step, "action = \"only_hash\"");
            }
            Transform::Sample(sample) => {
                for (index, part) in sample.by.iter().enumerate() {
                    if part.is_empty() {
                        self.error(&format!("by[{index}]"), "names no field");
                    } else if part.contains('$') {
                        self.template(&format!("by[{index}]"), part);
                    }
                }
            }
            Transform::ParseJson(parse) => {
                self.name("field", &parse.field);
                self.prefix(&parse.prefix);
            }
            Transform::SplitQuery(split) => {
                self.name("field", &split.field);
                self.prefix(&split.prefix);
            }
            Transform::JwtEncoding(encode) => {
                self.name("payload", &encode.payload);
                self.writes("target", &encode.target);
                for name in ["alg", "crit", "b64"] {
                    if encode.headers.contains_key(name) {
                        self.error(&format!("headers.{name}"), "cannot be set");
                    }
                }
            }
            Transform::JwtDecoding(decode) => {
                self.name("field", &decode.field);
                self.writes("target", &decode.target);
                if decode.target == decode.field {
                    self.error("target", "is the field that holds the token")
                        .help("a token that is refused would pass for a payload");
                }
                if decode.options.verify_signature {
                    if decode.key.is_none() {
                        self.error("key", "is needed to verify the signature");
                    }
                    if decode.algorithms.is_empty() {
                        self.error("algorithms", "names no algorithm")
                            .help("name those of the key, such as [\"HS256\"]");
                    }
                }
            }
            Transform::Route(route) => {
                self.route(route.logstore.as_ref(), route.topic.as_deref());
            }
            _ => {}
        }
    }

    fn error(&mut self, key: &str, message: impl Into<String>) -> &mut super::Finding {
        let key = format!("{}.{key}", self.path);
        self.findings.error(key, message)
    }

    /// A name that is read.
    fn name(&mut self, key: &str, name: &str) {
        if name.is_empty() {
            self.error(key, "a field has a name");
        } else if name.len() as u64 > self.config.limits.key.get() {
            let message = format!("longer than limits.key allows, {}", self.config.limits.key);
            self.error(key, message);
        }
    }

    /// A name that is written.
    fn writes(&mut self, key: &str, name: &str) {
        self.name(key, name);
        if is_reserved_field(name.as_bytes()) {
            let message = format!("`{name}` is reserved: it cannot be written");
            self.error(key, message);
        }
    }

    fn prefix(&mut self, prefix: &str) {
        if is_reserved_field(prefix.as_bytes()) {
            let message = format!("names that begin with `{prefix}` are reserved");
            self.error("prefix", message);
        } else if prefix.len() as u64 >= self.config.limits.key.get() {
            let message = format!("longer than limits.key allows, {}", self.config.limits.key);
            self.error("prefix", message);
        }
    }

    fn patterns(&mut self, fields: &[String], needed: bool) {
        if needed && fields.is_empty() {
            self.error("fields", "names no field");
        }
        for (index, pattern) in fields.iter().enumerate() {
            self.glob(&format!("fields[{index}]"), pattern);
        }
    }

    /// Topic, source and tags are of the whole request, and the client's address as a tag is given
    /// after the steps.
    fn labels(&mut self, step: &Transform) {
        let fields = match step {
            Transform::Remove(it) => &it.fields,
            Transform::KeepOnly(it) => &it.fields,
            Transform::Mask(it) => &it.fields,
            Transform::Hash(it) => &it.fields,
            Transform::PrivacySignals(it) => &it.fields,
            _ => return,
        };
        let keeps = matches!(step, Transform::KeepOnly(_));
        for (index, name) in fields.iter().enumerate() {
            let key = format!("fields[{index}]");
            let is_address = name.starts_with("__") && covers(name, CLIENT_ADDRESS);
            if is_address && self.address == ClientAddress::Tag && !keeps {
                let message = "the client's address is a tag here, which is given after the steps";
                self.error(&key, message)
                    .help("set `client_address = \"field\"` in the logstore");
            }
            let of_event = is_address && self.address == ClientAddress::Field;
            if names_labels(name) && step.when().is_some() && !of_event {
                let message =
                    format!("`{name}` belongs to all events of a request, and `when` asks of one");
                self.error(&key, message)
                    .help("leave out `when`, or name it in a step of its own");
            }
        }
    }

    fn glob(&mut self, key: &str, pattern: &str) {
        if pattern.is_empty() {
            self.error(key, "is empty");
        } else if pattern.contains(['*', '?']) && pattern.chars().count() > MAX_GLOB {
            let message = format!("a pattern has at most {MAX_GLOB} characters");
            self.error(key, message);
        }
    }

    fn regex(&mut self, key: &str, text: &str) {
        match compile_regex(text) {
            Ok(_) if text.is_empty() => {
                self.error(key, "is found everywhere");
            }
            Ok(_) => {}
            Err(error) => {
                self.error(key, format!("no regular expression: {error}"));
            }
        }
    }

    fn template(&mut self, key: &str, text: &str) {
        if let Err(error) = parse_template(text) {
            self.error(key, format!("no template: {error}"));
        }
    }

    fn when(&mut self, when: &When) {
        if when.field.is_empty() {
            self.error("when.field", "a field has a name");
        }
        let asked = [
            when.equals.is_some(),
            when.glob.is_some(),
            when.matches.is_some(),
            when.exists.is_some(),
        ];
        if asked.iter().filter(|one| **one).count() != 1 {
            self.error(
                "when",
                "needs exactly one of `equals`, `glob`, `matches` and `exists`",
            );
        }
        if let Some(glob) = &when.glob {
            self.glob("when.glob", glob);
        }
        if let Some(text) = &when.matches {
            self.regex("when.matches", text);
        }
    }

    fn mask(&mut self, mask: &MaskFields) {
        let whole = mask.pattern.is_none() && mask.regex.is_none();
        self.patterns(&mask.fields, whole);
        if mask.pattern.is_some() && mask.regex.is_some() {
            self.error("regex", "stands beside `pattern`; a step has one of them");
        }
        if let Some(text) = &mask.regex {
            self.regex("regex", text);
        }
        let mut characters = mask.character.chars();
        match (characters.next(), characters.next()) {
            (Some(one), None) if !one.is_control() => {}
            _ => {
                self.error("character", "must be one character that can be seen");
            }
        }
    }

    fn key_if(&mut self, needed: bool, step: &Transform, why: &str) {
        match (needed, step.key()) {
            (true, None) => {
                self.error("key", format!("{why} needs a key"))
                    .help("add `key = \"file:PATH\"` or `key = \"env:NAME\"`");
            }
            (false, Some(_)) => {
                self.error("key", format!("has no use without {why}"));
            }
            _ => {}
        }
    }

    fn route(&mut self, logstore: Option<&LogstoreName>, topic: Option<&str>) {
        match (logstore, topic) {
            (None, None) => {
                self.error("logstore", "needs `logstore`, `topic` or both");
            }
            (Some(name), None) if name == self.own => {
                self.error("logstore", "is the logstore where the events are");
            }
            _ => {}
        }
        if let Some(name) = logstore {
            let known = self.project.logstores.iter().map(|l| l.name.as_str());
            super::refers(
                format!("{}.logstore", self.path),
                name.as_str(),
                known,
                "logstore of this project",
                self.findings,
            );
        }
        if let Some(topic) = topic
            && topic.len() as u64 > self.config.limits.topic.get()
        {
            let message = format!("longer than limits.topic, {}", self.config.limits.topic);
            self.error("topic", message);
        }
    }
}
