//! Generated inputs, whole and broken.

use proptest::collection::vec;
use proptest::prelude::*;

use super::agree;

fn whitespace() -> impl Strategy<Value = &'static str> {
    prop_oneof![6 => Just(""), 1 => Just(" "), 1 => Just("\n\t"), 1 => Just("\r\n  ")]
}

/// The inside of a JSON string: plain text, every kind of escape, halves of surrogate pairs.
fn string() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        8 => "[a-z0-9 /:.-]{0,12}",
        2 => "[é中😀\u{7f}\u{80}\u{fffd}]{1,3}",
        2 => prop::sample::select(vec![
            "\\\"", "\\\\", "\\/", "\\b", "\\f", "\\n", "\\r", "\\t", "\\u0000", "\\u0041",
            "\\u00e9", "\\u4E2D", "\\ud83d\\ude00", "\\ud800", "\\uDC00", "\\ud800\\ud83d\\ude00",
            "\\ud800\\u0041", "{", "}", "[", "]", ",", ":", "%7B",
        ]).prop_map(str::to_owned),
    ];
    vec(piece, 0..5).prop_map(|pieces| pieces.concat())
}

fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<i64>().prop_map(|number| number.to_string()),
        any::<f64>()
            .prop_filter("finite", |number| number.is_finite())
            .prop_map(|number| format!("{number:e}")),
        prop::sample::select(vec![
            "0",
            "-0",
            "1e400",
            "1E+5",
            "0.10",
            "9007199254740993",
            "18446744073709551616",
        ])
        .prop_map(str::to_owned),
    ]
}

fn scalar() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => string().prop_map(|text| format!("\"{text}\"")),
        2 => number(),
        1 => prop::sample::select(vec!["true", "false", "null"]).prop_map(str::to_owned),
    ]
}

fn value() -> impl Strategy<Value = String> {
    let scalar = scalar().boxed();
    scalar.prop_recursive(4, 16, 4, |inner| {
        prop_oneof![
            (vec((whitespace(), inner.clone(), whitespace()), 0..4)).prop_map(|items| {
                let items: Vec<_> = items.iter().map(|(a, b, c)| format!("{a}{b}{c}")).collect();
                format!("[{}]", items.join(","))
            }),
            vec((string(), whitespace(), inner), 0..4).prop_map(|members| {
                let members: Vec<_> = members
                    .iter()
                    .map(|(key, gap, value)| format!("{gap}\"{key}\"{gap}:{gap}{value}{gap}"))
                    .collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}

/// Keys that mean something, their escaped twins, and others.
fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => "[a-z]{1,6}",
        1 => string(),
        2 => prop::sample::select(vec![
            "__time__", "__time_ns_part__", "__source__", "__topic__", "__pack_id__", "__tags__",
            "__client_time__", "__tag__:x", "__extract_others__", "_extract_others_",
            "__partition_time__", "__token__", "__client_ip__", "__receive_time__", "_", "k",
            "\\u006b", "\\u005f_time__", "__logs__",
        ]).prop_map(str::to_owned),
    ]
}

fn time() -> impl Strategy<Value = String> {
    let near = (agree::RECEIVED - 700_000)..(agree::RECEIVED + 1_000);
    let number = prop_oneof![
        near.clone().prop_map(|seconds| seconds.to_string()),
        near.clone()
            .prop_map(|seconds| (seconds * 1000 + 7).to_string()),
        near.prop_map(|seconds| format!("{seconds}.25")),
        number(),
    ];
    (number, any::<bool>()).prop_map(|(number, quoted)| match quoted {
        true => format!("\"{number}\""),
        false => number,
    })
}

fn object(
    member: impl Strategy<Value = (String, String)> + 'static,
    most: usize,
) -> BoxedStrategy<String> {
    (vec((member, whitespace(), whitespace()), 0..=most))
        .prop_map(|members| {
            let members: Vec<_> = members
                .iter()
                .map(|((key, value), one, two)| format!("{one}\"{key}\"{two}:{one}{value}{two}"))
                .collect();
            format!("{{{}}}", members.join(","))
        })
        .boxed()
}

fn log() -> BoxedStrategy<String> {
    let member = prop_oneof![
        8 => (key(), value()),
        1 => (Just("__time__".to_owned()), time()),
        1 => (Just("__time_ns_part__".to_owned()), (0..2_000_000_000u32).prop_map(|ns| ns.to_string())),
    ];
    object(member, 6)
}

/// A document of the right shape, most of the time.
fn document() -> BoxedStrategy<String> {
    let logs = vec(log(), 0..4).prop_map(|logs| format!("[{}]", logs.join(",")));
    let member = prop_oneof![
        4 => (Just("__logs__".to_owned()), logs),
        1 => (Just("__topic__".to_owned()), scalar()),
        1 => (Just("__source__".to_owned()), scalar()),
        1 => (Just("__tags__".to_owned()), object((key(), value()), 4)),
        1 => (key(), value()),
    ];
    prop_oneof![
        20 => object(member.clone(), 4),
        1 => object(member, 4).prop_map(|text| format!("\u{feff}{text}")),
        1 => value(),
    ]
    .boxed()
}

/// One change to a valid input.
#[derive(Clone, Debug)]
enum Damage {
    Flip(prop::sample::Index, u8),
    Cut(prop::sample::Index),
    Remove(prop::sample::Index),
    Insert(prop::sample::Index, u8),
    Repeat(prop::sample::Index, prop::sample::Index),
}

fn damage() -> impl Strategy<Value = Damage> {
    use prop::sample::Index;
    let byte = prop_oneof![
        any::<u8>(),
        prop::sample::select(b"\"\\{}[]:,0-+.eE \n%u".to_vec())
    ];
    prop_oneof![
        (any::<Index>(), 0..8u8).prop_map(|(at, bit)| Damage::Flip(at, 1 << bit)),
        any::<Index>().prop_map(Damage::Cut),
        any::<Index>().prop_map(Damage::Remove),
        (any::<Index>(), byte).prop_map(|(at, byte)| Damage::Insert(at, byte)),
        (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Damage::Repeat(from, to)),
    ]
}

fn damaged(mut input: Vec<u8>, damages: &[Damage]) -> Vec<u8> {
    for damage in damages {
        if input.is_empty() {
            break;
        }
        let length = input.len();
        match damage {
            Damage::Flip(at, mask) => input[at.index(length)] ^= mask,
            Damage::Cut(at) => input.truncate(at.index(length)),
            Damage::Remove(at) => drop(input.remove(at.index(length))),
            Damage::Insert(at, byte) => input.insert(at.index(length), *byte),
            Damage::Repeat(from, to) => {
                let (from, to) = (from.index(length), to.index(length));
                let part = input[from.min(to)..from.max(to)].to_vec();
                input.splice(to..to, part);
            }
        }
    }
    input
}

fn query() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[a-zA-Z0-9.{}\":,_ -]{0,8}",
        1 => "[é中]{1,2}",
        2 => prop::sample::select(vec![
            "+", "%20", "%zz", "%", "%4", "%00", "%c0%af", "%ff", "%e4%b8", "%6b", "%26", "%3D",
        ]).prop_map(str::to_owned),
    ];
    let name = prop_oneof![
        4 => vec(piece.clone(), 0..3).prop_map(|pieces| pieces.concat()),
        2 => prop::sample::select(vec![
            "APIVersion", "__topic__", "__source__", "__time__", "__time_ns_part__", "token", "k",
            "__tag__:x", "__pack_id__", "__tags__", "",
        ]).prop_map(str::to_owned),
    ];
    let text = prop_oneof![3 => vec(piece, 0..3).prop_map(|pieces| pieces.concat()), 1 => time()];
    let pair = prop_oneof![
        6 => (name.clone(), text).prop_map(|(name, text)| format!("{name}={text}")),
        1 => name,
        1 => Just(String::new()),
    ];
    vec(pair, 0..7).prop_map(|pairs| pairs.join("&"))
}

/// A field in wire form: number, wire type, payload.
fn wire_field(number: u32, wire_type: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    prost::encoding::encode_varint((number << 3 | wire_type).into(), &mut out);
    if wire_type == 2 {
        prost::encoding::encode_varint(payload.len() as u64, &mut out);
    }
    out.extend_from_slice(payload);
    out
}

fn wire_text() -> impl Strategy<Value = Vec<u8>> {
    let name = key().prop_map(String::into_bytes);
    let text = string().prop_map(String::into_bytes);
    prop_oneof![8 => name, 8 => text, 1 => vec(any::<u8>(), 0..6)]
}

fn wire_pair() -> impl Strategy<Value = Vec<u8>> {
    let usual = (wire_text(), wire_text())
        .prop_map(|(key, value)| [wire_field(1, 2, &key), wire_field(2, 2, &value)].concat());
    let any_fields = vec((1..4u32, wire_text()), 0..4).prop_map(|fields| {
        let fields: Vec<_> = fields
            .iter()
            .map(|(n, text)| wire_field(*n, 2, text))
            .collect();
        fields.concat()
    });
    prop_oneof![10 => usual, 1 => any_fields]
}

fn wire_time() -> impl Strategy<Value = Vec<u8>> {
    let near = (agree::RECEIVED - 700_000)..(agree::RECEIVED + 1_000);
    prop_oneof![6 => near, 1 => any::<u64>(), 1 => 0..10u64].prop_map(|seconds| {
        let mut payload = Vec::new();
        prost::encoding::encode_varint(seconds, &mut payload);
        wire_field(1, 0, &payload)
    })
}

fn wire_nanoseconds() -> impl Strategy<Value = Vec<u8>> {
    (0..1_200_000_000u32).prop_map(|ns| wire_field(4, 5, &ns.to_le_bytes()))
}

fn wire_log() -> impl Strategy<Value = Vec<u8>> {
    let content = wire_pair().prop_map(|pair| wire_field(2, 2, &pair)).boxed();
    let usual = (
        wire_time(),
        vec(content.clone(), 0..5),
        prop::option::of(wire_nanoseconds()),
    )
        .prop_map(|(time, contents, ns)| {
            [time, contents.concat(), ns.unwrap_or_default()].concat()
        });
    let other = wire_text().prop_map(|text| wire_field(3, 2, &text));
    let any_fields = vec(
        prop_oneof![wire_time(), content, wire_nanoseconds(), other],
        0..6,
    );
    prop_oneof![3 => usual, 1 => any_fields.prop_map(|fields| fields.concat())]
}

fn wire_group() -> impl Strategy<Value = Vec<u8>> {
    let field = prop_oneof![
        4 => wire_log().prop_map(|log| wire_field(1, 2, &log)),
        1 => (2..6u32, wire_text()).prop_map(|(number, text)| wire_field(number, 2, &text)),
        1 => wire_pair().prop_map(|pair| wire_field(6, 2, &pair)),
        1 => (7..40u32, wire_text()).prop_map(|(number, text)| wire_field(number, 2, &text)),
    ];
    vec(field, 0..6).prop_map(|fields| fields.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn json_documents_mean_to_us_what_they_mean_to_the_reference(document in document()) {
        agree::check_json(document.as_bytes());
    }

    #[test]
    fn broken_json_documents_are_taken_or_refused_as_by_the_reference(
        document in document(), damages in vec(damage(), 1..4),
    ) {
        agree::check_json(&damaged(document.into_bytes(), &damages));
    }

    #[test]
    fn percent_encoded_documents_mean_the_same(document in document()) {
        let set = percent_encoding::NON_ALPHANUMERIC;
        let encoded = percent_encoding::percent_encode(document.as_bytes(), set).to_string();
        agree::check_json(encoded.as_bytes());
    }

    #[test]
    fn arbitrary_bytes_are_taken_or_refused_as_by_the_reference(bytes in vec(any::<u8>(), 0..200)) {
        agree::check_json(&bytes);
        agree::check_query(&bytes);
        agree::check_protobuf(&bytes);
    }

    #[test]
    fn queries_mean_to_us_what_they_mean_to_the_reference(
        query in query(), damages in vec(damage(), 0..3),
    ) {
        agree::check_query(&damaged(query.into_bytes(), &damages));
    }

    #[test]
    fn log_groups_mean_to_us_what_they_mean_to_the_reference(group in wire_group()) {
        agree::check_protobuf(&group);
    }

    #[test]
    fn broken_log_groups_are_taken_or_refused_as_by_the_reference(
        group in wire_group(), damages in vec(damage(), 1..4),
    ) {
        agree::check_protobuf(&damaged(group, &damages));
    }
}
