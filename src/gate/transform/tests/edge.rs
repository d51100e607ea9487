//! Steps that write what only the edge knows.

use super::{assert_fields, compile, facts, key_file, run, run_with};
use crate::gate::transform::TransformFacts;

fn one(text: &str) -> String {
    run(text, &[("a", "1")]).pop().unwrap().1
}

#[test]
fn an_address_is_whole_cut_or_hashed() {
    assert_eq!(one("[[t]]\ntype = \"client_address\""), "203.0.113.77");
    assert_eq!(
        one("[[t]]\ntype = \"client_address\"\nform = \"prefix\""),
        "203.0.113.0"
    );
    let cut = |prefix: u8, address: &str| {
        let text = format!(
            "[[t]]\ntype = \"client_address\"\nform = \"prefix\"\nipv4_prefix = {}\nipv6_prefix = {prefix}",
            prefix.min(32)
        );
        let facts = TransformFacts {
            client_address: address.parse().unwrap(),
            ..facts()
        };
        run_with(&compile(&text).unwrap(), &[], &facts)
            .pop()
            .unwrap()
            .1
    };
    assert_eq!(cut(48, "2001:db8:1:2:3::4"), "2001:db8:1::");
    assert_eq!(cut(128, "2001:db8::1"), "2001:db8::1");
    assert_eq!(cut(0, "2001:db8::1"), "::");
    assert_eq!(cut(0, "203.0.113.77"), "0.0.0.0");
    assert_eq!(cut(24, "::ffff:203.0.113.77"), "203.0.113.0");
    let (_file, key) = key_file(b"0123456789abcdef");
    let hashed = one(&format!(
        "[[t]]\ntype = \"client_address\"\nform = \"keyed_hash\"\nkey = \"{key}\""
    ));
    // printf 203.0.113.77 | openssl dgst -sha256 -hmac 0123456789abcdef
    assert_eq!(
        hashed,
        "c84c04c05495024db1a7812233f2db090964c973c2238f07ea6c74a64ab49489"
    );
}

#[test]
fn a_user_agent_is_kept_and_parsed() {
    let found = run(
        "[[t]]\ntype = \"user_agent\"\nfield = \"ua\"\nparse = true",
        &[("a", "1")],
    );
    assert!(found[1].1.starts_with("Mozilla/5.0 (iPhone"));
    assert_fields(
        &found[2..],
        &[
            ("ua_browser", "WeChat"),
            ("ua_browser_version", "8.0.49"),
            ("ua_os", "iOS"),
            ("ua_os_version", "17.5"),
            ("ua_device", "iPhone"),
        ],
    );
    let chrome = TransformFacts {
        user_agent: b"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
        ..facts()
    };
    let transforms = compile("[[t]]\ntype = \"user_agent\"\nfield = \"ua\"\nparse = true").unwrap();
    let found = run_with(&transforms, &[], &chrome);
    assert_fields(
        &found[1..],
        &[
            ("ua_browser", "Chrome"),
            ("ua_browser_version", "126.0.0"),
            ("ua_os", "Windows"),
            ("ua_os_version", "10"),
        ],
    );
}

/// What a client writes under a name that the edge fills must not pass for the edge's word.
#[test]
fn without_the_header_what_a_client_wrote_goes() {
    let bare = TransformFacts {
        user_agent: b"",
        referer: b"",
        ..facts()
    };
    let text = "[[t]]\ntype = \"user_agent\"\nparse = true\n[[t]]\ntype = \"referer\"";
    let event = &[
        ("a", "1"),
        ("user_agent", "forged"),
        ("user_agent_os", "forged"),
        ("referer", "forged"),
    ];
    assert_fields(
        &run_with(&compile(text).unwrap(), event, &bare),
        &[("a", "1")],
    );
}

#[test]
fn headers_that_are_no_text_are_repaired_and_bounded() {
    let long = [&[0xff, b'a'][..], &[b'x'; 5000]].concat();
    let odd = TransformFacts {
        user_agent: &long,
        ..facts()
    };
    let found = run_with(&compile("[[t]]\ntype = \"user_agent\"").unwrap(), &[], &odd);
    assert!(found[0].1.starts_with("\u{fffd}ax") && found[0].1.len() < 2100);
}

#[test]
fn a_referer_may_be_cut() {
    let form = |form: &str| one(&format!("[[t]]\ntype = \"referer\"\nform = \"{form}\""));
    assert_eq!(
        form("whole"),
        "https://user:pass@shop.example.com:8443/a/b?token=x#top"
    );
    assert_eq!(form("without_query"), "https://shop.example.com:8443/a/b");
    assert_eq!(form("origin"), "https://shop.example.com:8443");
}

#[test]
fn the_time_and_the_node_are_written() {
    assert_eq!(one("[[t]]\ntype = \"receive_time\""), "1781510400");
    assert_eq!(
        one("[[t]]\ntype = \"receive_time\"\nformat = \"rfc3339\""),
        "2026-06-15T08:00:00Z"
    );
    assert_eq!(one("[[t]]\ntype = \"server_id\""), "edge-1");
}
