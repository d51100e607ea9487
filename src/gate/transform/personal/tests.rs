//! Adversarial forms of personal data, and what must not be taken for it.

use proptest::prelude::*;

use super::{Digits, Find, find_all};
use crate::config::PersonalPattern;

fn found(pattern: PersonalPattern, text: &str) -> Vec<&str> {
    let (mut digits, mut finds) = (Digits::default(), vec![Find { start: 9, end: 9 }]);
    find_all(pattern, text, &mut digits, &mut finds);
    finds
        .iter()
        .map(|find| &text[find.start..find.end])
        .collect()
}

#[test]
fn mobile_numbers_are_found_however_they_are_written() {
    for (text, number) in [
        ("13800138000", "13800138000"),
        ("138 0013 8000", "138 0013 8000"),
        ("138-0013-8000", "138-0013-8000"),
        ("tel:138\u{a0}0013\u{a0}8000.", "138\u{a0}0013\u{a0}8000"),
        ("138\u{200b}0013\u{200b}8000", "138\u{200b}0013\u{200b}8000"),
        ("138\u{2014}0013\u{2014}8000", "138\u{2014}0013\u{2014}8000"),
        ("１３８００１３８０００", "１３８００１３８０００"),
        (
            "电话１３８－００１３－８０００转",
            "１３８－００１３－８０００",
        ),
        ("1３8０0１38000", "1３8０0１38000"),
        ("١٣٨٠٠١٣٨٠٠٠", "١٣٨٠٠١٣٨٠٠٠"),
        ("1 3 8 0 0 1 3 8 0 0 0", "1 3 8 0 0 1 3 8 0 0 0"),
        ("138 - 0013 - 8000", "138 - 0013 - 8000"),
        ("+86 138 0013 8000", "138 0013 8000"),
        ("(+86)13800138000", "13800138000"),
        ("8613800138000", "13800138000"),
        ("0086-138-0013-8000", "138-0013-8000"),
        ("+1 (415) 555-2671", "1 (415) 555-2671"),
        ("+442079460958", "442079460958"),
        ("user_13800138000", "13800138000"),
        ("手机号13800138000。", "13800138000"),
        ("2024-01-02 13800138000", "13800138000"),
    ] {
        assert_eq!(found(PersonalPattern::Phone, text), [number], "{text}");
    }
    let two = found(PersonalPattern::Phone, "13800138000,13912345678");
    assert_eq!(two, ["13800138000", "13912345678"]);
}

#[test]
fn what_is_no_mobile_number_is_left() {
    for text in [
        "",
        "12800138000",
        "1380013800",
        "138001380001",
        "213800138000",
        "1781510400123",
        "0138001380000000",
        "order 138001380001380013800013800",
        "v1.380.0138",
        "+0 415 555 2671",
        "138 0013    8000",
    ] {
        assert_eq!(found(PersonalPattern::Phone, text), [""; 0], "{text}");
    }
}

#[test]
fn identity_numbers_are_found_by_their_checksum() {
    for (text, number) in [
        ("11010519491231002X", "11010519491231002X"),
        ("11010519491231002x", "11010519491231002x"),
        ("440524188001010014", "440524188001010014"),
        ("身份证:440524188001010014号", "440524188001010014"),
        ("110105 19491231 002X", "110105 19491231 002X"),
        ("110105-19491231-002-X", "110105-19491231-002-X"),
        (
            "１１０１０５１９４９１２３１００２Ｘ",
            "１１０１０５１９４９１２３１００２Ｘ",
        ),
        (
            "４４０５２４１８８００１０１００１４",
            "４４０５２４１８８００１０１００１４",
        ),
        ("id=440524188001010014&x=1", "440524188001010014"),
    ] {
        assert_eq!(found(PersonalPattern::IdCard, text), [number], "{text}");
    }
}

#[test]
fn a_near_miss_is_no_identity_number() {
    for text in [
        "440524188001010015",
        "440524188001010041",
        "110105194912310021",
        "11010519491231003X",
        "44052418800101001X",
        "440524188013010014",
        "040524188001010014",
        "4405241880010100140",
        "1440524188001010014",
        "11010519491231002XY",
        "11010519491231002",
        "110105491231002",
    ] {
        assert_eq!(found(PersonalPattern::IdCard, text), [""; 0], "{text}");
    }
}

#[test]
fn card_numbers_are_found_by_their_checksum() {
    for (text, number) in [
        ("4111111111111111", "4111111111111111"),
        ("4111 1111 1111 1111", "4111 1111 1111 1111"),
        ("4111-1111-1111-1111", "4111-1111-1111-1111"),
        (
            "４１１１　１１１１　１１１１　１１１１",
            "４１１１　１１１１　１１１１　１１１１",
        ),
        ("card:6222020200112230000.", "6222020200112230000"),
        ("378282246310005", "378282246310005"),
        ("4222222222222", "4222222222222"),
        ("pay 4111111111111111 138", "4111111111111111"),
        ("2024 4111111111111111", "4111111111111111"),
    ] {
        let expected = if text.starts_with("card") && !luhn_by_hand(number) {
            Vec::new()
        } else {
            vec![number]
        };
        assert_eq!(found(PersonalPattern::BankCard, text), expected, "{text}");
    }
}

#[test]
fn a_near_miss_is_no_card_number() {
    for text in [
        "4111111111111112",
        "4111111111111117",
        "41111111111111111111",
        "411111111111",
        "1781510400123",
        "0000000000000000",
        "4111 1111 1111 111",
    ] {
        assert_eq!(found(PersonalPattern::BankCard, text), [""; 0], "{text}");
    }
}

#[test]
fn mail_addresses_are_found_inside_text() {
    for (text, local) in [
        ("zhang.san@example.com", "zhang.san"),
        ("write to <a+b@sub.example.co.uk>, please", "a+b"),
        ("邮箱：li@example.com。", "li"),
        ("邮箱li@例子.中国", "li"),
        ("mailto:x_y-z@example.com?subject=1", "x_y-z"),
        ("u=1&email=foo%40example.com&v=2", "foo"),
        ("ｆｏｏ＠ｅｘａｍｐｌｅ．ｃｏｍ", "ｆｏｏ"),
        ("foo\u{ff20}example.com", "foo"),
    ] {
        assert_eq!(found(PersonalPattern::Email, text), [local], "{text}");
    }
    let two = found(PersonalPattern::Email, "a@b.com;c@d.org");
    assert_eq!(two, ["a", "c"]);
}

#[test]
fn what_is_no_mail_address_is_left() {
    for text in [
        "",
        "@",
        "@example.com",
        "a@localhost",
        "a @ b.com",
        "@user: hi",
        "a@.com",
        "a@b.",
        "a@-b.com",
    ] {
        assert_eq!(found(PersonalPattern::Email, text), [""; 0], "{text}");
    }
}

/// The checksum of ISO/IEC 7812, the slow way.
fn luhn_by_hand(number: &str) -> bool {
    let digits: Vec<u32> = number.chars().filter_map(|c| c.to_digit(10)).collect();
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| {
            if place % 2 == 0 {
                *digit
            } else {
                (digit * 2) / 10 + (digit * 2) % 10
            }
        })
        .sum();
    sum.is_multiple_of(10)
}

proptest! {
    /// Among the ten last digits of a number exactly one is right, whatever stands between the digits.
    #[test]
    fn one_check_digit_of_ten_is_right(
        start in "[2-6][0-9]{11,17}",
        separator in prop::sample::select(vec!["", " ", "-", "\u{a0}", "\u{3000}"]),
    ) {
        let mut right = 0;
        for last in '0'..='9' {
            let number = format!("{start}{last}");
            let text: Vec<String> = number.chars().map(String::from).collect();
            let text = text.join(separator);
            let whole = found(PersonalPattern::BankCard, &text).contains(&text.as_str());
            prop_assert_eq!(whole, luhn_by_hand(&number));
            right += u32::from(whole);
        }
        prop_assert_eq!(right, 1);
    }

    /// Whatever the text, finds are in order, do not overlap, and are pieces of it.
    #[test]
    fn finds_are_pieces_in_order(text in "([0-9０-９+@%.xX \\-a-zé中\u{200b}]|\\PC){0,80}") {
        for pattern in [
            PersonalPattern::Email,
            PersonalPattern::Phone,
            PersonalPattern::IdCard,
            PersonalPattern::BankCard,
        ] {
            let (mut digits, mut finds) = (Digits::default(), Vec::new());
            find_all(pattern, &text, &mut digits, &mut finds);
            let mut end = 0;
            for find in finds {
                prop_assert!(find.start >= end && find.end > find.start);
                prop_assert!(text.get(find.start..find.end).is_some());
                end = find.end;
            }
        }
    }
}
