//! The User-Agent as fields.
//!
//! What it says is read by the rules of uap-core (`regexes.json`, made from its `regexes.yaml` as it
//! comes with the crate `ua-parser` 0.2.2, under the Apache License 2.0), after some of ours for the
//! apps that mini programs run in, which uap-core does not know. Reading takes longer than all other steps
//! together, so what the commonest ones say is kept.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use quick_cache::sync::Cache;
use ua_parser::{Extractor, Regexes, os, user_agent};

use super::draft::Draft;
use super::facts::{TransformFacts, head_of, put_text};
use super::outcome::Fault;
use super::steps::put;
use super::trouble::Trouble;
use super::work::Work;

/// Bytes of a User-Agent that are parsed.
const MAX_PARSED: usize = 512;

/// Apps in which mini programs and pages run, in the order in which they are looked for.
const APPS: [(&str, &str); 9] = [
    (r"(wxwork)/(\d+)(?:\.(\d+)|)(?:\.(\d+)|)", "WeCom"),
    (r"(MicroMessenger)/(\d+)(?:\.(\d+)|)(?:\.(\d+)|)", "WeChat"),
    (r"(AlipayClient)/(\d+)(?:\.(\d+)|)(?:\.(\d+)|)", "Alipay"),
    (r"(DingTalk)/(\d+)(?:\.(\d+)|)(?:\.(\d+)|)", "DingTalk"),
    (r"(Lark|Feishu)/(\d+)(?:\.(\d+)|)(?:\.(\d+)|)", "Lark"),
    (
        r"(ToutiaoMicroApp)/(\d+)(?:\.(\d+)|)(?:\.(\d+)|)",
        "Toutiao",
    ),
    (r"\b(QQ)/(\d+)(?:\.(\d+)|)(?:\.(\d+)|)", "QQ"),
    (r"(baiduboxapp)/(\d+)(?:\.(\d+)|)(?:\.(\d+)|)", "Baidu"),
    (r"(Kwai|kwai)/(\d+)(?:\.(\d+)|)(?:\.(\d+)|)", "Kwai"),
];

/// Systems that uap-core does not know.
const SYSTEMS: [(&str, &str); 2] = [
    (r"(OpenHarmony) (\d+)(?:\.(\d+)|)", "OpenHarmony"),
    (r"(HarmonyOS)(?:[ /;](\d+)(?:\.(\d+)|)|)", "HarmonyOS"),
];

/// User-Agents whose reading is kept.
const KEPT: usize = 4096;

static KNOWN: LazyLock<Cache<Box<str>, Arc<Agent>>> = LazyLock::new(|| Cache::new(KEPT));

static PARSER: LazyLock<Result<Extractor<'static>, String>> = LazyLock::new(parser);

/// Makes the parser. It takes a moment and some memory, so only a configuration that parses has one.
///
/// # Errors
/// The rules cannot be read, which a test rules out.
pub(super) fn prepare() -> Result<(), &'static str> {
    PARSER.as_ref().map(|_| ()).map_err(String::as_str)
}

fn parser() -> Result<Extractor<'static>, String> {
    let mut rules: Regexes<'static> =
        serde_json::from_str(include_str!("regexes.json")).map_err(|error| error.to_string())?;
    let apps = APPS.iter().map(|(regex, family)| user_agent::Parser {
        regex: Cow::Borrowed(regex),
        family_replacement: Some(Cow::Borrowed(family)),
        ..user_agent::Parser::default()
    });
    rules.user_agent_parsers.splice(..0, apps);
    let systems = SYSTEMS.iter().map(|(regex, family)| os::Parser {
        regex: Cow::Borrowed(regex),
        os_replacement: Some(Cow::Borrowed(family)),
        ..os::Parser::default()
    });
    rules.os_parsers.splice(..0, systems);
    Extractor::try_from(rules).map_err(|error| error.to_string())
}

/// A step that writes the User-Agent.
#[derive(Debug)]
pub(super) struct AgentStep {
    pub(super) field: Box<[u8]>,
    /// The fields of what it says, in the order of `Agent::parts`.
    pub(super) parts: Option<[Box<[u8]>; 5]>,
}

impl AgentStep {
    /// The step that writes `field`, and what it says if it is parsed.
    pub(super) fn new(field: &str, parse: bool) -> Self {
        let part = |name: &str| format!("{field}_{name}").into_bytes().into_boxed_slice();
        Self {
            field: field.as_bytes().into(),
            parts: parse
                .then(|| ["browser", "browser_version", "os", "os_version", "device"].map(part)),
        }
    }

    pub(super) fn run(
        &self,
        draft: &mut Draft<'_>,
        facts: &TransformFacts<'_>,
        work: &mut Work,
        trouble: &mut Trouble<'_>,
    ) -> Result<(), Fault> {
        let Work { scratch, agent, .. } = work;
        scratch.clear();
        put_text(scratch, head_of(facts.user_agent));
        put(draft, &self.field, scratch, trouble)?;
        let Some(fields) = &self.parts else {
            return Ok(());
        };
        let agent = agent.of(facts.user_agent);
        for (field, value) in fields.iter().zip(agent.parts()) {
            put(draft, field, value.as_bytes(), trouble)?;
        }
        Ok(())
    }
}

/// What the User-Agent of the request at hand says.
#[derive(Debug, Default)]
pub(super) struct AgentSheet(Option<Arc<Agent>>);

/// What a User-Agent says.
#[derive(Debug, Default)]
struct Agent {
    browser: String,
    browser_version: String,
    os: String,
    os_version: String,
    device: String,
}

impl AgentSheet {
    /// Another request begins.
    pub(super) fn forget(&mut self) {
        self.0 = None;
    }

    fn of(&mut self, header: &[u8]) -> &Agent {
        self.0.get_or_insert_with(|| {
            let head = header.get(..MAX_PARSED).unwrap_or(header);
            let text = head.utf8_chunks().next().map_or("", |chunk| chunk.valid());
            KNOWN.get(text).unwrap_or_else(|| {
                let agent = Arc::new(Agent::read(text));
                KNOWN.insert(text.into(), Arc::clone(&agent));
                agent
            })
        })
    }
}

impl Agent {
    fn parts(&self) -> [&str; 5] {
        [
            &self.browser,
            &self.browser_version,
            &self.os,
            &self.os_version,
            &self.device,
        ]
    }

    fn read(text: &str) -> Self {
        let mut agent = Self::default();
        let Ok(parser) = &*PARSER else {
            return agent;
        };
        let (browser, os, device) = parser.extract(text);
        if let Some(browser) = browser {
            agent.browser.push_str(&browser.family);
            agent.browser_version = version([browser.major, browser.minor, browser.patch]);
        }
        if let Some(os) = os {
            agent.os.push_str(&os.os);
            let parts = [&os.major, &os.minor, &os.patch];
            agent.os_version = version(parts.map(|part| part.as_deref()));
        }
        if let Some(device) = device {
            agent.device.push_str(&device.device);
        }
        agent
    }
}

/// `1.2.3`, as far as it is known.
fn version(parts: [Option<&str>; 3]) -> String {
    let known: Vec<&str> = parts.into_iter().map_while(|part| part).collect();
    known.join(".")
}
