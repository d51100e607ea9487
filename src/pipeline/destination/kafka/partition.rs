//! Which partition a key belongs to, as Kafka's own (Java) client decides it: the same keys stand in
//! the same partitions, whoever wrote them.

/// The partition of a key, of so many.
pub(super) fn partition_of(key: &[u8], partitions: i32) -> i32 {
    let positive = murmur2(key) & 0x7fff_ffff;
    let count = partitions.max(1).cast_unsigned();
    (positive % count).cast_signed()
}

/// MurmurHash2 with 32 bits and Kafka's seed (`org.apache.kafka.common.utils.Utils.murmur2`).
fn murmur2(data: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    const R: u32 = 24;
    // A length that does not fit is taken as Java's int takes it.
    let length = (data.len() & 0xffff_ffff) as u64;
    let mut hash = SEED ^ u32::try_from(length).unwrap_or(u32::MAX);
    let (words, rest) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> R;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    for (place, byte) in rest.iter().enumerate().rev() {
        hash ^= u32::from(*byte) << (8 * place);
    }
    if !rest.is_empty() {
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_the_java_client() {
        // From UtilsTest.testMurmur2 of Apache Kafka.
        for (key, hash) in [
            (&b"21"[..], -973_932_308_i32),
            (b"foobar", -790_332_482),
            (b"a-little-bit-long-string", -985_981_536),
            (b"a-little-bit-longer-string", -1_486_304_829),
            (
                b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
                -58_897_971,
            ),
            (b"abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key).cast_signed(), hash, "{key:?}");
        }
    }

    #[test]
    fn a_key_has_one_partition_of_those_that_are_there() {
        for partitions in [1, 2, 3, 7, 100] {
            for key in ["", "a", "user-1", "203.0.113.7"] {
                let partition = partition_of(key.as_bytes(), partitions);
                assert!((0..partitions).contains(&partition));
                assert_eq!(partition, partition_of(key.as_bytes(), partitions));
            }
        }
        assert_eq!(
            partition_of(b"foobar", 4),
            (-790_332_482_i32 & 0x7fff_ffff) % 4
        );
    }
}
