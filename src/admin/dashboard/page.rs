//! The page: one document with everything in it, put together once.
//!
//! Promise: it asks nobody else for anything, and nothing runs in it but what stands here: the policy
//! names the digest of each script and style, and allows no other. It may be shown in a frame only on
//! the origins that the call names.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::event::Reason;

const TEMPLATE: &str = include_str!("page/index.html");
/// uPlot 1.6.32, byte for byte as published.
const CHARTS: &str = include_str!("page/uPlot.iife.min.js");
const CHARTS_STYLE: &str = include_str!("page/uPlot.min.css");
const CHARTS_LICENCE: &str = include_str!("page/uPlot.LICENSE");
const STYLE: &str = include_str!("page/style.css");
/// The words of the page, by language.
pub(super) const WORDS: &str = include_str!("page/words.json");
/// What reasons mean, in Chinese; in English they say it themselves.
pub(super) const REASONS_ZH: &str = include_str!("page/reasons.zh.json");
/// The program of the page, in the order in which it is read.
const PROGRAM: [&str; 6] = [
    include_str!("page/base.js"),
    include_str!("page/session.js"),
    include_str!("page/charts.js"),
    include_str!("page/live.js"),
    include_str!("page/lists.js"),
    include_str!("page/share.js"),
];

/// The page, ready to be sent.
#[derive(Debug)]
pub(super) struct Page {
    html: Bytes,
    /// The policy, but for who may frame it.
    policy: String,
    tag: HeaderValue,
}

impl Page {
    pub(super) fn new() -> Self {
        let program = format!("'use strict';\n(() => {{\n{}\n}})();\n", PROGRAM.concat());
        let words = data(WORDS);
        let reasons = data(&reasons().to_string());
        let html = TEMPLATE
            .replace(
                "<!-- licence -->",
                &format!("<!--\nuPlot: {CHARTS_LICENCE}-->"),
            )
            .replace(
                "<!-- styles -->",
                &format!("<style>{CHARTS_STYLE}</style>\n<style>{STYLE}</style>"),
            )
            .replace(
                "<!-- scripts -->",
                &format!(
                    "<script type=\"application/json\" id=\"words\">{words}</script>\n\
                     <script type=\"application/json\" id=\"reasons\">{reasons}</script>\n\
                     <script>{CHARTS}</script>\n<script>{program}</script>"
                ),
            );
        let policy = format!(
            "default-src 'none'; script-src {} {}; style-src {} {}; connect-src 'self'; \
             img-src data:; base-uri 'none'; form-action 'none'",
            digest(CHARTS),
            digest(&program),
            digest(CHARTS_STYLE),
            digest(STYLE),
        );
        let mut tag = String::from("\"");
        for byte in Sha256::digest(html.as_bytes()).iter().take(12) {
            write!(tag, "{byte:02x}").unwrap_or_default();
        }
        tag.push('"');
        Self {
            // Without the room that it grew in.
            html: Bytes::from(html.into_boxed_str().into_boxed_bytes()),
            policy,
            tag: HeaderValue::from_str(&tag).unwrap_or(HeaderValue::from_static("\"0\"")),
        }
    }

    /// The page, to be shown in frames of these origins only.
    pub(super) fn answer(&self, headers: &HeaderMap, frames: &[String]) -> Response<Full<Bytes>> {
        let known = headers.get(IF_NONE_MATCH) == Some(&self.tag);
        let body = match known {
            true => Bytes::new(),
            false => self.html.clone(),
        };
        let mut response = Response::new(Full::new(body));
        if known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        }
        let answered = response.headers_mut();
        let ancestors = match frames {
            [] => "'none'".to_owned(),
            origins => origins.join(" "),
        };
        let policy = format!("{}; frame-ancestors {ancestors}", self.policy);
        let policy = HeaderValue::from_str(&policy);
        let policy = policy.unwrap_or(HeaderValue::from_static("default-src 'none'"));
        answered.insert(CONTENT_SECURITY_POLICY, policy);
        if frames.is_empty() {
            answered.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
        }
        for (name, value) in FIXED {
            answered.insert(name, HeaderValue::from_static(value));
        }
        answered.insert(ETAG, self.tag.clone());
        response
    }
}

const FIXED: [(HeaderName, &str); 6] = [
    (CONTENT_TYPE, "text/html; charset=utf-8"),
    (CACHE_CONTROL, "no-cache"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    // The address may hold a ticket.
    (REFERRER_POLICY, "no-referrer"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("permissions-policy"),
        "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    ),
];

/// A source of the policy: what has this digest.
fn digest(text: &str) -> String {
    format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text)))
}

/// JSON that can stand in an element of a page.
fn data(json: &str) -> String {
    json.replace('<', "\\u003c")
}

/// What each reason means, and how it is mended, by language.
fn reasons() -> Value {
    let english = Reason::ALL
        .iter()
        .map(|it| (it.label().to_owned(), json!([it.what(), it.fix()])));
    let chinese: Value = serde_json::from_str(REASONS_ZH).unwrap_or_default();
    json!({"en": Value::Object(english.collect()), "zh": chinese})
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::config::BudgetPeriod;
    use crate::telemetry::{BreakerState, CredentialKind, DropReason, Judge, RequestStage};

    fn keys(value: &Value) -> BTreeSet<&str> {
        value
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect()
    }

    #[test]
    fn every_word_is_there_in_both_languages_and_none_is_empty() {
        let words: Value = serde_json::from_str(WORDS).unwrap();
        assert_eq!(keys(&words), BTreeSet::from(["en", "zh"]));
        assert_eq!(keys(&words["en"]), keys(&words["zh"]));
        for language in ["en", "zh"] {
            for (key, word) in words[language].as_object().unwrap() {
                assert!(!word.as_str().unwrap().is_empty(), "{language} {key}");
                let holes = |text: &str| -> BTreeSet<String> {
                    let parts = text.split('{').skip(1);
                    parts
                        .map(|it| it.split('}').next().unwrap().to_owned())
                        .collect()
                };
                let english = words["en"][key].as_str().unwrap();
                assert_eq!(holes(word.as_str().unwrap()), holes(english), "{key}");
            }
        }
    }

    #[test]
    fn every_word_that_the_page_asks_for_is_there_and_every_one_is_asked_for() {
        let words: Value = serde_json::from_str(WORDS).unwrap();
        let program = PROGRAM.concat();
        let known = keys(&words["en"]);
        for (text, before, after) in [
            (program.as_str(), "word('", '\''),
            (TEMPLATE, "data-word=\"", '"'),
            (TEMPLATE, "data-label=\"", '"'),
        ] {
            for (at, _) in text.match_indices(before) {
                let rest = &text[at + before.len()..];
                let key = rest.split(after).next().unwrap();
                assert!(known.contains(key), "`{key}` is asked for");
            }
        }
        let all = format!("{program}{TEMPLATE}");
        for key in known {
            // Names of counts, causes and the like are put together.
            let of_a_family = key.contains('.');
            let quoted = [format!("'{key}'"), format!("\"{key}\"")];
            assert!(
                of_a_family || quoted.iter().any(|it| all.contains(it.as_str())),
                "nobody asks for `{key}`"
            );
        }
    }

    #[test]
    fn every_name_of_a_closed_list_has_a_word() {
        let words: Value = serde_json::from_str(WORDS).unwrap();
        let known = keys(&words["en"]);
        let causes = DropReason::ALL.iter().map(|it| ("cause", it.label()));
        let judges = Judge::ALL.iter().map(|it| ("cause", it.label()));
        let kinds = CredentialKind::ALL.iter().map(|it| ("kind", it.label()));
        let breakers = BreakerState::ALL.iter().map(|it| ("breaker", it.label()));
        let stages = RequestStage::ALL.iter().map(|it| ("stage", it.label()));
        let periods = [BudgetPeriod::Day, BudgetPeriod::Month].map(|it| ("per", it.as_str()));
        let all = causes.chain(judges).chain(kinds).chain(breakers);
        for (family, name) in all.chain(stages).chain(periods) {
            let word = format!("{family}.{name}");
            assert!(known.contains(word.as_str()), "`{word}` has no word");
        }
    }

    #[test]
    fn every_reason_is_explained_in_chinese() {
        let chinese: Value = serde_json::from_str(REASONS_ZH).unwrap();
        let labels: BTreeSet<&str> = Reason::ALL.iter().map(|it| it.label()).collect();
        assert_eq!(keys(&chinese), labels);
        for (label, said) in chinese.as_object().unwrap() {
            let said: Vec<&str> = said
                .as_array()
                .unwrap()
                .iter()
                .map(|it| it.as_str().unwrap())
                .collect();
            assert_eq!(said.len(), 2, "{label}");
            assert!(said.iter().all(|it| !it.is_ascii()), "{label}");
        }
    }

    #[test]
    fn the_library_of_charts_is_what_its_makers_published() {
        let sum = |text: &str| {
            let digest = Sha256::digest(text);
            digest
                .iter()
                .map(|b| format!("{b:02x}"))
                .collect::<String>()
        };
        // Of the files of the package uplot 1.6.32.
        assert_eq!(
            sum(CHARTS),
            "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f"
        );
        assert_eq!(
            sum(CHARTS_STYLE),
            "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04"
        );
    }

    #[test]
    fn the_page_is_whole_asks_nobody_and_runs_only_what_the_policy_names() {
        let page = Page::new();
        let html = std::str::from_utf8(&page.html).unwrap();
        assert!(!html.contains("<!-- s"), "every part was filled in");
        assert_eq!(html.matches("</script>").count(), 4);
        assert_eq!(html.matches("</style>").count(), 2);
        for asset in [" src=", "<link", "@import", "url(", "style=\"", "onclick="] {
            let own = format!("{TEMPLATE}{STYLE}");
            assert!(!own.contains(asset), "{asset}");
        }
        assert!(html.len() < 256 << 10, "{} bytes", html.len());
        let answer = page.answer(&HeaderMap::new(), &[]);
        let policy = answer.headers()["content-security-policy"]
            .to_str()
            .unwrap();
        assert!(
            policy.starts_with("default-src 'none'; script-src 'sha256-"),
            "{policy}"
        );
        assert!(policy.ends_with("frame-ancestors 'none'"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.headers()["x-frame-options"], "DENY");
        let portal = "https://portal.example.com".to_owned();
        let answer = page.answer(&HeaderMap::new(), &[portal]);
        let policy = answer.headers()["content-security-policy"]
            .to_str()
            .unwrap();
        assert!(
            policy.ends_with("frame-ancestors https://portal.example.com"),
            "{policy}"
        );
        assert!(!answer.headers().contains_key("x-frame-options"));
        let mut again = HeaderMap::new();
        again.insert(IF_NONE_MATCH, page.tag.clone());
        let answer = page.answer(&again, &[]);
        assert_eq!(answer.status(), StatusCode::NOT_MODIFIED);
    }
}
