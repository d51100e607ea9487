//! Fields whose values are not to be shown: personal data, and what opens doors.
//!
//! It may call a field personal that is not: then only examples are missing.

use crate::gate::transform::PersonalFinder;

/// Bytes of a value that are looked at.
const LOOKED_AT: usize = 4096;
/// An unbroken word of letters and digits that is so long is taken for a token.
const LONG_WORD: usize = 20;

/// Parts of names, without case and separators.
const PARTS: [&str; 57] = [
    "password",
    "passwd",
    "pwd",
    "secret",
    "token",
    "auth",
    "cookie",
    "session",
    "credential",
    "signature",
    "apikey",
    "accesskey",
    "privatekey",
    "phone",
    "mobile",
    "telephone",
    "mail",
    "idcard",
    "idnumber",
    "passport",
    "ssn",
    "bankcard",
    "cardno",
    "cardnumber",
    "iban",
    "birth",
    "realname",
    "username",
    "nickname",
    "fullname",
    "firstname",
    "lastname",
    "surname",
    "address",
    "openid",
    "unionid",
    "userid",
    "uid",
    "customerid",
    "deviceid",
    "imei",
    "imsi",
    "idfa",
    "oaid",
    "androidid",
    "macaddr",
    "clientip",
    "ipaddr",
    "latitude",
    "longitude",
    "手机",
    "邮箱",
    "密码",
    "姓名",
    "身份证",
    "地址",
    "令牌",
];

/// Whole names, without case and separators.
const WHOLE: [&str; 13] = [
    "ip", "lat", "lng", "lon", "tel", "name", "user", "sid", "jwt", "mac", "pin", "otp", "addr",
];

/// Finds what should not be shown.
#[derive(Default)]
pub(super) struct Personal {
    finder: PersonalFinder,
}

impl Personal {
    /// Whether a value looks personal, or like a token.
    pub(super) fn is_value(&mut self, text: &str) -> bool {
        let mut end = text.len().min(LOOKED_AT);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let text = text.get(..end).unwrap_or_default();
        looks_like_a_token(text) || self.finder.finds_any(text)
    }
}

/// Whether the name of a field says that its values are personal.
pub(super) fn is_name(name: &str) -> bool {
    let letters = name.chars().filter(|c| c.is_alphanumeric());
    let plain: String = letters.flat_map(char::to_lowercase).collect();
    WHOLE.contains(&plain.as_str()) || PARTS.iter().any(|part| plain.contains(part))
}

fn looks_like_a_token(text: &str) -> bool {
    let word = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '+' | '='));
    text.split(word).any(|word| {
        word.len() >= LONG_WORD
            && word.bytes().any(|b| b.is_ascii_digit())
            && word.bytes().any(|b| b.is_ascii_alphabetic())
    })
}
