//! What the headers say of the platform that a request comes from.
//!
//! A Referer is forged with one curl option, so this chooses labels and keeps honest mistakes out
//! (a development build, an app that is not on the list); it never gives a right. Forms as the
//! platforms document them or as developers measured them.

use http::HeaderMap;
use http::header::{HeaderName, ORIGIN, REFERER};

use crate::telemetry::PlatformLabel;

const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// What the headers speak of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Platform<'a> {
    pub(super) label: PlatformLabel,
    /// The mini program, as its Referer names it.
    pub(super) appid: Option<&'a str>,
    /// A simulator, a trial build or a build under review.
    pub(super) development: bool,
}

impl<'a> Platform<'a> {
    const fn unnamed(label: PlatformLabel) -> Self {
        Self {
            label,
            appid: None,
            development: false,
        }
    }

    /// Reads the headers of a request.
    pub(super) fn of(headers: &'a HeaderMap) -> Self {
        if let Some(referer) = headers.get(REFERER).and_then(|value| value.to_str().ok())
            && let Some(platform) = Self::of_referer(referer)
        {
            return platform;
        }
        if headers.contains_key(ORIGIN) || headers.contains_key(SEC_FETCH_MODE) {
            return Self::unnamed(PlatformLabel::Browser);
        }
        Self::unnamed(PlatformLabel::Other)
    }

    fn of_referer(referer: &'a str) -> Option<Self> {
        let rest = referer.strip_prefix("https://")?;
        let slash = memchr::memchr(b'/', rest.as_bytes());
        let (host, path) = slash
            .and_then(|slash| Some((rest.get(..slash)?, rest.get(slash + 1..)?)))
            .unwrap_or((rest, ""));
        match host {
            "servicewechat.com" | "appservice.wx.com" => {
                Some(Self::of_path(PlatformLabel::Wechat, path))
            }
            "appservice.qq.com" => Some(Self::of_path(PlatformLabel::Qq, path)),
            "smartapps.cn" | "smartapp.baidu.com" => {
                Some(Self::of_path(PlatformLabel::Baidu, path))
            }
            "quickapp.cn" => Some(match path.strip_prefix("dev/") {
                Some(rest) => Self {
                    development: true,
                    ..Self::of_path(PlatformLabel::QuickApp, rest)
                },
                None => Self::of_path(PlatformLabel::QuickApp, path),
            }),
            "tmaservice.developer.toutiao.com" => {
                let query = path.strip_prefix('?').unwrap_or(path);
                Some(Self::named(
                    PlatformLabel::Douyin,
                    parameter(query, "appid"),
                    parameter(query, "version"),
                ))
            }
            _ => {
                let appid = host.strip_suffix(".hybrid.alipay-eco.com")?;
                let version = path
                    .strip_prefix(appid)
                    .and_then(|rest| rest.split('/').nth(1));
                Some(Self::named(PlatformLabel::Alipay, Some(appid), version))
            }
        }
    }

    /// `{appid}/{version}/...`.
    fn of_path(label: PlatformLabel, path: &'a str) -> Self {
        let mut slashes = memchr::memchr_iter(b'/', path.as_bytes());
        let Some(first) = slashes.next() else {
            return Self::named(label, Some(path), None);
        };
        let second = slashes.next().unwrap_or(path.len());
        Self::named(label, path.get(..first), path.get(first + 1..second))
    }

    fn named(label: PlatformLabel, appid: Option<&'a str>, version: Option<&'a str>) -> Self {
        let plain = |text: &&str| {
            (1..=64).contains(&text.len())
                && text
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
        };
        let development = matches!(version, Some("0" | "devtools"));
        Self {
            label,
            appid: appid.filter(plain),
            development,
        }
    }
}

/// A Referer as it may be stored: without the page and its query that Alipay puts behind `#`, which
/// are the user's, and without a token that stands in its path or query.
pub(super) fn without_secrets(referer: &[u8], token_parameter: &str) -> Vec<u8> {
    let of_alipay = memchr::memmem::find(referer, b".hybrid.alipay-eco.com/").is_some();
    let page = memchr::memchr(b'#', referer).filter(|_| of_alipay);
    let referer = page.and_then(|page| referer.get(..page)).unwrap_or(referer);
    let without_path = cut_after(referer, b"/t/");
    ["?", "&"].iter().fold(without_path, |referer, mark| {
        cut_after(&referer, format!("{mark}{token_parameter}=").as_bytes())
    })
}

/// The text without what stands between each `mark` and the next delimiter of a URL.
fn cut_after(text: &[u8], mark: &[u8]) -> Vec<u8> {
    let mut kept = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(found) = memchr::memmem::find(rest, mark) {
        let (before, after) = rest.split_at(found + mark.len());
        kept.extend_from_slice(before);
        let end = after
            .iter()
            .position(|b| b"/?&#".contains(b))
            .unwrap_or(after.len());
        rest = after.get(end..).unwrap_or_default();
    }
    kept.extend_from_slice(rest);
    kept
}

fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query
        .split('&')
        .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn of(referer: &'static str) -> (PlatformLabel, Option<String>, bool) {
        let mut headers = HeaderMap::new();
        headers.insert(REFERER, HeaderValue::from_static(referer));
        let platform = Platform::of(&headers);
        (
            platform.label,
            platform.appid.map(str::to_owned),
            platform.development,
        )
    }

    #[test]
    fn each_platform_is_known_by_its_referer() {
        use PlatformLabel::{Alipay, Baidu, Douyin, Qq, QuickApp, Wechat};
        for (referer, label, appid, development) in [
            (
                "https://servicewechat.com/wx01/12/page-frame.html",
                Wechat,
                Some("wx01"),
                false,
            ),
            (
                "https://servicewechat.com/wx01/devtools/page-frame.html",
                Wechat,
                Some("wx01"),
                true,
            ),
            (
                "https://servicewechat.com/wx01/0/page-frame.html",
                Wechat,
                Some("wx01"),
                true,
            ),
            ("https://servicewechat.com/", Wechat, None, false),
            (
                "https://appservice.qq.com/1108/1.0/page-frame.html",
                Qq,
                Some("1108"),
                false,
            ),
            (
                "https://smartapps.cn/key1/1.2/page-frame.html",
                Baidu,
                Some("key1"),
                false,
            ),
            (
                "https://quickapp.cn/dev/com.a.b/100/page-frame.html",
                QuickApp,
                Some("com.a.b"),
                true,
            ),
            (
                "https://tmaservice.developer.toutiao.com/?appid=tt07&version=1.0.0",
                Douyin,
                Some("tt07"),
                false,
            ),
            (
                "https://tmaservice.developer.toutiao.com?appid=tt07&version=1.0.0",
                PlatformLabel::Other,
                None,
                false,
            ),
            (
                "https://2021.hybrid.alipay-eco.com/2021/0.3.2/index.html#pages/a?b=c",
                Alipay,
                Some("2021"),
                false,
            ),
            (
                "https://2021.hybrid.alipay-eco.com/index.html",
                Alipay,
                Some("2021"),
                false,
            ),
        ] {
            let expected = (label, appid.map(str::to_owned), development);
            assert_eq!(of(referer), expected, "{referer}");
        }
    }

    #[test]
    fn a_page_is_a_browser_and_the_rest_is_other() {
        let mut headers = HeaderMap::new();
        assert_eq!(Platform::of(&headers).label, PlatformLabel::Other);
        headers.insert(ORIGIN, HeaderValue::from_static("https://shop.example.com"));
        assert_eq!(Platform::of(&headers).label, PlatformLabel::Browser);
    }

    #[test]
    fn the_page_of_an_alipay_user_is_cut_off() {
        let whole = b"https://2021.hybrid.alipay-eco.com/2021/0.3.2/index.html#pages/a?phone=1";
        let cut = b"https://2021.hybrid.alipay-eco.com/2021/0.3.2/index.html";
        assert_eq!(without_secrets(whole, "token"), cut);
        let plain = b"https://shop.example.com/?tokens=1#a";
        assert_eq!(without_secrets(plain, "token"), plain);
    }

    #[test]
    fn a_token_in_a_referer_is_cut_out() {
        let cut =
            |text: &str| String::from_utf8(without_secrets(text.as_bytes(), "token")).unwrap();
        let both = cut("https://h/t/SECRET/logstores/x?token=SECRET&a=1");
        assert_eq!(both, "https://h/t//logstores/x?token=&a=1");
        assert_eq!(
            cut("https://h/?a=1&token=SECRET#b"),
            "https://h/?a=1&token=#b"
        );
        assert_eq!(cut("https://h/t/SECRET"), "https://h/t/");
    }

    #[test]
    fn an_appid_is_short_and_plain_or_absent() {
        assert_eq!(of("https://servicewechat.com/a%0ab/1/x").1, None);
        assert_eq!(
            of("http://servicewechat.com/wx01/1/x").0,
            PlatformLabel::Other
        );
    }
}
