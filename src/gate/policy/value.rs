//! The values that conditions compare: numbers, times, truth, networks.
//!
//! Promise: arithmetic is exact, and what is not of the form that is written here is `None`, never a
//! guess.

use std::net::{IpAddr, Ipv4Addr};
use std::time::UNIX_EPOCH;

use ipnet::{IpNet, Ipv4Net};

/// A number, in units of 10⁻⁹: exact where a float is not, as for account ids of 17 digits.
pub(super) type Number = i128;

const WHOLE_DIGITS: usize = 19;
const FRACTION_DIGITS: usize = 9;

/// A number: `-12.5`. At most 19 digits before the point and 9 after it, no exponent.
pub(super) fn parse_number(text: &str) -> Option<Number> {
    let (digits, sign) = match text.strip_prefix('-') {
        Some(digits) => (digits, -1),
        None => (text, 1),
    };
    let (whole, fraction) = match digits.split_once('.') {
        Some((_, "")) => return None,
        Some(parts) => parts,
        None => (digits, ""),
    };
    let fits =
        !whole.is_empty() && whole.len() <= WHOLE_DIGITS && fraction.len() <= FRACTION_DIGITS;
    if !fits {
        return None;
    }
    let mut number: Number = 0;
    let places = fraction.bytes().chain(std::iter::repeat(b'0'));
    for digit in whole.bytes().chain(places.take(FRACTION_DIGITS)) {
        if !digit.is_ascii_digit() {
            return None;
        }
        number = number * 10 + Number::from(digit - b'0');
    }
    Some(sign * number)
}

/// The unix seconds of a time in ISO 8601: `2012-11-11T23:59:59Z`, or with an offset
/// `2012-11-12T07:59:59+08:00`. From 1970 to 9999, without fractions and leap seconds.
#[must_use]
pub fn parse_time(text: &str) -> Option<u64> {
    let (local, zone) = text.split_at_checked(19)?;
    let form = b"dddd-dd-ddTdd:dd:dd";
    if !has_form(local, form) || local.get(17..)? > "59" {
        return None;
    }
    let mut utc = [b'Z'; 20];
    utc.iter_mut()
        .zip(local.bytes())
        .for_each(|(to, from)| *to = from);
    let time = humantime::parse_rfc3339(std::str::from_utf8(&utc).ok()?).ok()?;
    let local = time.duration_since(UNIX_EPOCH).ok()?.as_secs();
    if zone == "Z" {
        return Some(local);
    }
    let (sign, offset) = zone.split_at_checked(1)?;
    if !has_form(offset, b"dd:dd") {
        return None;
    }
    let (hours, minutes) = offset.split_once(':')?;
    let (hours, minutes): (u64, u64) = (hours.parse().ok()?, minutes.parse().ok()?);
    if hours > 23 || minutes > 59 {
        return None;
    }
    let ahead = hours * 3600 + minutes * 60;
    match sign {
        "+" => local.checked_sub(ahead),
        "-" => local.checked_add(ahead),
        _ => None,
    }
}

/// Whether each byte is a digit where the form has `d`, and else that of the form.
fn has_form(text: &str, form: &[u8]) -> bool {
    let mut pairs = text.bytes().zip(form);
    text.len() == form.len()
        && pairs.all(|(byte, form)| match form {
            b'd' => byte.is_ascii_digit(),
            other => byte == *other,
        })
}

/// `true` or `false`.
pub(super) fn parse_bool(text: &str) -> Option<bool> {
    text.parse().ok()
}

/// An address or a network: `10.0.0.1`, `10.0.0.0/8`, `2001:db8::/32`. IPv4-mapped IPv6 is IPv4.
pub(super) fn parse_network(text: &str) -> Option<IpNet> {
    let network = match text.parse::<IpAddr>() {
        Ok(address) => IpNet::from(address),
        Err(_) => text.parse::<IpNet>().ok()?,
    };
    let IpNet::V6(v6) = network else {
        return Some(network);
    };
    let mapped = v6.addr().to_ipv4_mapped();
    let as_v4 = |address: Ipv4Addr| Ipv4Net::new(address, v6.prefix_len().checked_sub(96)?).ok();
    Some(mapped.and_then(as_v4).map_or(network, IpNet::V4))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_exact() {
        assert_eq!(parse_number("1.50"), parse_number("01.5"));
        assert_eq!(parse_number("-0"), Some(0));
        assert_eq!(parse_number("-2.5"), Some(-2_500_000_000));
        assert_ne!(
            parse_number("9007199254740993"),
            parse_number("9007199254740992")
        );
        let most = "9".repeat(19) + "." + &"9".repeat(9);
        assert_eq!(parse_number(&most), Some(10i128.pow(28) - 1));
        for wrong in [
            "",
            "-",
            ".",
            ".5",
            "5.",
            "1e5",
            "+1",
            " 1",
            "1 ",
            "0x1",
            "1_0",
            "--1",
            "1.2.3",
            "١",
            "12345678901234567890",
            "0.1234567890",
            "NaN",
            "inf",
        ] {
            assert_eq!(parse_number(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn times_are_those_of_iso_8601() {
        assert_eq!(parse_time("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(parse_time("2012-11-11T23:59:59Z"), Some(1_352_678_399));
        assert_eq!(parse_time("2012-11-12T07:59:59+08:00"), Some(1_352_678_399));
        assert_eq!(parse_time("2012-11-11T18:29:59-05:30"), Some(1_352_678_399));
        assert_eq!(parse_time("2024-02-29T00:00:00Z"), Some(1_709_164_800));
        assert_eq!(parse_time("9999-12-31T23:59:59Z"), Some(253_402_300_799));
        for wrong in [
            "",
            "2012-11-11",
            "2012-11-11T23:59:59",
            "2012-11-11 23:59:59Z",
            "2012-11-11t23:59:59z",
            "2012-11-11T23:59:60Z",
            "2012-11-11T24:00:00Z",
            "2023-02-29T00:00:00Z",
            "2012-13-01T00:00:00Z",
            "1969-12-31T23:59:59Z",
            "1970-01-01T00:00:00+00:01",
            "2012-11-11T23:59:59.5Z",
            "2012-11-11T23:59:59+0800",
            "2012-11-11T23:59:59+24:00",
            "2012-11-11T23:59:59+08:60",
            "2012-11-11T23:59:59*08:00",
            "2012-11-11T23:59:59Z ",
            "+012-11-11T23:59:59Z",
            "2012-11-11T23:59:5éZ",
            "1352678399",
        ] {
            assert_eq!(parse_time(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn mapped_addresses_are_ipv4() {
        let read = |text| parse_network(text).unwrap();
        assert_eq!(read("::ffff:10.0.0.1"), read("10.0.0.1/32"));
        assert_eq!(read("::ffff:10.0.0.0/104"), read("10.0.0.0/8"));
        assert_eq!(read("::/0").addr().to_string(), "::");
        for wrong in [
            "",
            "10.0.0",
            "10.0.0.1/33",
            "10.0.0.1/",
            "10.0.0.01",
            "10.0.0.0/08x",
            "::1/129",
            "fe80::1%eth0",
            "localhost",
            "10.0.0.*",
            " 10.0.0.1",
        ] {
            assert_eq!(parse_network(wrong), None, "{wrong}");
        }
    }
}
