//! Bytes and signatures recorded from the official SDKs (Python 0.9.52 unless said), for tests.

/// LogGroup: topic `web`, source `203.0.113.7`, one log at 1781510400 with event=click and
/// page=/home, tag `__client_ip__`=`203.0.113.7`. 87 bytes.
pub const V_PB1_RAW: &str = "0a250880e2bed106120e0a056576656e741205636c69636b120d0a047061676512052f686f6d651a03776562220b3230332e302e3131332e37321c0a0d5f5f636c69656e745f69705f5f120b3230332e302e3131332e37";
/// The same as a literal-only lz4 block. 89 bytes.
pub const V_PB1_LZ4: &str = "f0480a250880e2bed106120e0a056576656e741205636c69636b120d0a047061676512052f686f6d651a03776562220b3230332e302e3131332e37321c0a0d5f5f636c69656e745f69705f5f120b3230332e302e3131332e37";
/// The same as zlib. 83 bytes.
pub const V_PB1_ZLIB: &str = "789ce352e56878b4ef229b101f176b6a596a5e89106b724e6672b6102f174b41627aaa10ab7e467e6eaa1473796a9212b79181b19e819ea1a1b19eb9910c176f7c3c502d504f7c66417cbc10b22c00190f16c9";
/// LogGroup: four logs at 1781510400..=1781510403 with event=page_view, path=/products/list and
/// ua=Mozilla/5.0, topic `web`, source `203.0.113.7`, tag `__pack_id__`=`0123456789ABCDEF-0`.
/// 337 bytes as an lz4 block of 145.
pub const V_PB2_LZ4: &str = "ff3c0a450880e2bed10612120a056576656e741209706167655f7669657712160a0470617468120e2f70726f64756374732f6c69737412110a027561120b4d6f7a696c6c612f352e300a4508814700331f828e00331f83470030f0261a03776562220b3230332e302e3131332e3732210a0b5f5f7061636b5f69645f5f1212303132333435363738394142434445462d30";
/// MD5 of the 337 plain bytes.
pub const V_PB2_MD5: &str = "CBCF91A719858CBD7CD3183142A52450";

/// The same LogGroup in a list: 340 bytes as an lz4 block of 148.
pub const V_PB2_LIST_LZ4: &str = "ff3f0ad1020a450880e2bed10612120a056576656e741209706167655f7669657712160a0470617468120e2f70726f64756374732f6c69737412110a027561120b4d6f7a696c6c612f352e300a4508814700331f824700331f83470030f0261a03776562220b3230332e302e3131332e3732210a0b5f5f7061636b5f69645f5f1212303132333435363738394142434445462d30";

/// The bytes that a text of hexadecimal digits stands for.
pub fn unhex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2));
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

/// Our protobuf messages against the recorded bytes, in both directions.
mod tests {
    use md5::{Digest, Md5};
    use prost::Message;

    use super::*;
    use crate::logstore::codec::{Codec, decompress};
    use crate::logstore::proto::{Log, LogGroup, LogGroupList, LogTag, log};

    fn log(time: u32, contents: &[(&str, &str)]) -> Log {
        let content = |(key, value): &(&str, &str)| log::Content {
            key: key.to_string().into(),
            value: value.to_string().into(),
        };
        Log {
            time,
            contents: contents.iter().map(content).collect(),
            time_ns: None,
        }
    }

    fn group(logs: Vec<Log>, tag: (&str, &str)) -> LogGroup {
        LogGroup {
            logs,
            topic: Some("web".into()),
            source: Some("203.0.113.7".into()),
            log_tags: vec![LogTag {
                key: tag.0.to_owned().into(),
                value: tag.1.to_owned().into(),
            }],
            ..LogGroup::default()
        }
    }

    fn first() -> LogGroup {
        let contents = [("event", "click"), ("page", "/home")];
        group(
            vec![log(1_781_510_400, &contents)],
            ("__client_ip__", "203.0.113.7"),
        )
    }

    fn second() -> LogGroup {
        let contents = [
            ("event", "page_view"),
            ("path", "/products/list"),
            ("ua", "Mozilla/5.0"),
        ];
        let logs = (1_781_510_400..1_781_510_404)
            .map(|time| log(time, &contents))
            .collect();
        group(logs, ("__pack_id__", "0123456789ABCDEF-0"))
    }

    #[test]
    fn a_log_group_has_the_bytes_that_the_python_sdk_writes() {
        let bytes = unhex(V_PB1_RAW);
        assert_eq!(first().encode_to_vec(), bytes);
        assert_eq!(LogGroup::decode(&bytes[..]), Ok(first()));
        let bytes = second().encode_to_vec();
        assert_eq!(bytes.len(), 337);
        assert_eq!(Md5::digest(&bytes).to_vec(), unhex(V_PB2_MD5));
    }

    #[test]
    fn nanoseconds_are_four_fixed_bytes_at_the_end_of_a_log() {
        let mut group = first();
        group.logs[0].time_ns = Some(123_456_789);
        let raw = unhex(V_PB1_RAW);
        let log_end = 2 + 0x25;
        let expected = [
            &[0x0a, 0x2a],
            &raw[2..log_end],
            &unhex("2515cd5b07"),
            &raw[log_end..],
        ]
        .concat();
        assert_eq!(expected.len(), 92);
        assert_eq!(group.encode_to_vec(), expected);
    }

    #[test]
    fn a_list_of_log_groups_is_read_as_the_store_sends_it() {
        let mut raw = Vec::new();
        decompress(Codec::Lz4, &unhex(V_PB2_LIST_LZ4), Some(340), 340, &mut raw).unwrap();
        let list = LogGroupList::decode(&raw[..]).unwrap();
        assert_eq!(list.log_groups, [second()]);
    }
}
