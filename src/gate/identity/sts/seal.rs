//! Security tokens: everything that temporary credentials are, sealed.
//!
//! Promise: a token opens only under a key of the ring, unchanged to the bit, and then says what was
//! sealed. It is no secret of its own use: requests are signed with the secret inside it.
//!
//! The text is base64 of these bytes, and reads `CAIS...` as those of Alibaba Cloud do:
//!
//! | bytes | |
//! |---|---|
//! | `08 02 12` | as genuine tokens begin |
//! | 1 | version of this table |
//! | 4 | id of the key |
//! | 12 | nonce, random |
//! | rest | AES-256-GCM of the fields, with the 20 bytes before as associated data |
//!
//! Random nonces of 96 bits are good for 2^32 tokens under one key (NIST SP 800-38D): at a hundred
//! in a second more than a year. Change the key before.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::ring::{Broken, KEY_ID, KeyRing, NONCE};
use crate::foundation::secret::Secret;
use crate::foundation::wire::{Field, LENGTH_DELIMITED, Reader, VARINT, put_bytes, put_varint};
use crate::gate::identity::Origin;

const MAGIC: [u8; 4] = [0x08, 0x02, 0x12, VERSION];
const VERSION: u8 = 1;
const HEADER: usize = MAGIC.len() + KEY_ID + NONCE;
/// Longest token that is read, in characters. The longest that is made has about 4,000.
pub(super) const MAX_TOKEN: usize = 5120;

/// What temporary credentials are and may do.
#[derive(Clone, Debug)]
pub struct Grant {
    /// ARN of the role that was assumed.
    pub role_arn: String,
    /// Name that the caller gave the session.
    pub session_name: String,
    /// Id of the temporary key.
    pub access_key_id: String,
    /// Its secret.
    pub secret: Secret,
    /// When it was made, unix seconds.
    pub issued_at: u64,
    /// When it ends, unix seconds.
    pub expires_at: u64,
    /// What they were given for.
    pub origin: Origin,
    /// Session policy, as it was given: the credentials may do what both it and the role allow.
    pub policy: Option<String>,
}

impl Grant {
    /// Seals it with the ring's first key.
    pub(super) fn seal(&self, ring: &KeyRing, nonce: [u8; NONCE]) -> Result<String, Broken> {
        let mut header = Vec::with_capacity(HEADER);
        header.extend_from_slice(&MAGIC);
        header.extend_from_slice(&ring.sealing_id());
        header.extend_from_slice(&nonce);
        let mut sealed = self.write().ok_or(Broken)?;
        ring.seal(nonce, &header, &mut sealed)?;
        header.append(&mut sealed);
        let token = STANDARD.encode(&header);
        // One that would not open is not given out.
        if token.len() > MAX_TOKEN {
            return Err(Broken);
        }
        Ok(token)
    }

    /// Opens a token.
    pub(super) fn open(token: &[u8], ring: &KeyRing) -> Result<Self, Broken> {
        if token.len() > MAX_TOKEN {
            return Err(Broken);
        }
        let mut bytes = STANDARD.decode(token).map_err(|_| Broken)?;
        let (header, sealed) = bytes.split_at_mut_checked(HEADER).ok_or(Broken)?;
        let (id, nonce) = parse_header(header)?;
        let plain = ring.open(&id, nonce, header, sealed)?;
        let grant = Self::read(plain);
        // What was opened in place holds the secret.
        zeroize::Zeroize::zeroize(&mut bytes);
        grant.ok_or(Broken)
    }

    /// `None` when its origin is too long.
    fn write(&self) -> Option<Vec<u8>> {
        let origin = self.origin.text()?;
        let mut out = Vec::with_capacity(256);
        let texts = [
            (1, self.role_arn.as_bytes()),
            (2, self.session_name.as_bytes()),
            (3, self.access_key_id.as_bytes()),
            (4, self.secret.expose()),
            (7, origin.as_bytes()),
        ];
        for (field, text) in texts {
            put_bytes(&mut out, field << 3 | LENGTH_DELIMITED, text);
        }
        for (field, time) in [(5, self.issued_at), (6, self.expires_at)] {
            out.push(field << 3 | VARINT);
            put_varint(&mut out, time);
        }
        if let Some(policy) = &self.policy {
            put_bytes(&mut out, 8 << 3 | LENGTH_DELIMITED, policy.as_bytes());
        }
        Some(out)
    }

    /// Reads what [`Grant::write`] wrote. A field that is not known here may be a limit that another
    /// version of this program has set: then the whole is not good.
    fn read(plain: &[u8]) -> Option<Self> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
        let mut texts: [Option<&[u8]>; 9] = [None; 9];
        let mut times: [Option<u64>; 9] = [None; 9];
        let mut fields = Reader::new(plain);
        while let Some(field) = fields.next_field().ok()? {
            let again = match field {
                Field::Bytes(number @ (1..=4 | 7 | 8), bytes) => {
                    let slot = texts.get_mut(usize::try_from(number).ok()?)?;
                    slot.replace(bytes).is_some()
                }
                Field::Varint(number @ (5 | 6), time) => {
                    let slot = times.get_mut(usize::try_from(number).ok()?)?;
                    slot.replace(time).is_some()
                }
                _ => return None,
            };
            if again {
                return None;
            }
        }
        let [_, role, session, id, secret, _, _, origin, policy] = texts;
        let [_, _, _, _, _, issued, expires, _, _] = times;
        Some(Self {
            role_arn: text(role?)?,
            session_name: text(session?)?,
            access_key_id: text(id?)?,
            secret: Secret::new(secret?),
            issued_at: issued?,
            expires_at: expires?,
            origin: Origin::read(std::str::from_utf8(origin?).ok()?)?,
            policy: match policy {
                Some(policy) => Some(text(policy)?),
                None => None,
            },
        })
    }
}

fn parse_header(header: &[u8]) -> Result<([u8; KEY_ID], [u8; NONCE]), Broken> {
    let rest = header.strip_prefix(&MAGIC).ok_or(Broken)?;
    let (id, nonce) = rest.split_first_chunk().ok_or(Broken)?;
    Ok((*id, nonce.try_into().map_err(|_| Broken)?))
}

/// Whether a token says that a key of this ring has sealed it. Whether that is so is not known.
pub(super) fn names_key_of(token: &[u8], ring: &KeyRing) -> bool {
    // 28 characters are 21 bytes: the header and one more.
    let mut header = [0; HEADER + 1];
    let start = token.get(..28).unwrap_or_default();
    let decoded = STANDARD.decode_slice(start, &mut header);
    decoded == Ok(HEADER + 1)
        && header
            .get(..HEADER)
            .and_then(|header| parse_header(header).ok())
            .is_some_and(|(id, _)| ring.knows(&id))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ring(keys: &[&str]) -> KeyRing {
        let secrets: Vec<Secret> = keys.iter().map(|key| Secret::new(key.repeat(32))).collect();
        KeyRing::new(&secrets).unwrap()
    }

    fn grant(policy: Option<&str>) -> Grant {
        Grant {
            role_arn: "acs:ram::1234567890123456:role/sls-web-tracking".to_owned(),
            session_name: "device-001".to_owned(),
            access_key_id: "STS.abcdefghijklmnopqrstuvwxyz".to_owned(),
            secret: Secret::new("a temporary secret"),
            issued_at: 1_781_510_400,
            expires_at: 1_781_514_000,
            origin: server("server-1"),
            policy: policy.map(str::to_owned),
        }
    }

    fn server(id: &str) -> Origin {
        Origin::AccessKey { id: id.to_owned() }
    }

    fn same(a: &Grant, b: &Grant) -> bool {
        a.write() == b.write()
    }

    #[test]
    fn a_token_reads_as_a_genuine_one_begins_and_opens_again() {
        let ring = ring(&["a"]);
        for policy in [None, Some("{\"Version\":\"1\"}")] {
            let grant = grant(policy);
            let token = grant.seal(&ring, [7; NONCE]).unwrap();
            assert!(token.starts_with("CAIS"), "{token}");
            assert!(token.len() < 400, "{}", token.len());
            assert!(same(&Grant::open(token.as_bytes(), &ring).unwrap(), &grant));
            assert!(names_key_of(token.as_bytes(), &ring));
        }
    }

    #[test]
    fn the_longest_token_is_within_the_bound() {
        let mut grant = grant(Some(&"p".repeat(2048)));
        grant.role_arn = "r".repeat(256);
        grant.session_name = "s".repeat(64);
        grant.origin = server(&"c".repeat(1000));
        assert_eq!(grant.origin.text().unwrap().len(), 1024);
        let token = grant.seal(&ring(&["a"]), [0; NONCE]).unwrap();
        assert!(token.len() < MAX_TOKEN, "{}", token.len());
    }

    #[test]
    fn a_key_that_was_put_in_front_seals_and_the_one_behind_it_still_opens() {
        let (old, both, new) = (ring(&["a"]), ring(&["b", "a"]), ring(&["b"]));
        let sealed_by_old = grant(None).seal(&old, [1; NONCE]).unwrap();
        let sealed_by_new = grant(None).seal(&both, [2; NONCE]).unwrap();
        let opens = |token: &str, ring| Grant::open(token.as_bytes(), ring).is_ok();
        assert!(opens(&sealed_by_old, &both) && !opens(&sealed_by_old, &new));
        assert!(opens(&sealed_by_new, &both) && opens(&sealed_by_new, &new));
        assert!(!opens(&sealed_by_new, &old));
        assert!(!names_key_of(sealed_by_old.as_bytes(), &new));
    }

    #[test]
    fn a_grant_with_a_field_too_many_too_few_or_twice_is_none() {
        let whole = grant(Some("{}")).write().unwrap();
        assert!(Grant::read(&whole).is_some());
        for more in [
            &[9 << 3, 1][..],
            &[5 << 3, 1],
            &[8 << 3 | 2, 0],
            &[5 << 3 | 2, 0],
        ] {
            assert!(Grant::read(&[&whole, more].concat()).is_none());
        }
        assert!(Grant::read(b"").is_none());
    }

    proptest! {
        #[test]
        fn what_is_sealed_opens_to_the_same(
            session in "[a-z0-9]{2,64}",
            caller in ".{0,40}",
            secret in "[a-zA-Z0-9]{1,60}",
            times in any::<(u64, u64)>(),
            policy in proptest::option::of(".{0,300}"),
            nonce in any::<[u8; NONCE]>(),
        ) {
            let ring = ring(&["a", "b"]);
            let grant = Grant {
                session_name: session,
                origin: server(&caller),
                secret: Secret::new(secret),
                issued_at: times.0,
                expires_at: times.1,
                policy,
                ..grant(None)
            };
            let token = grant.seal(&ring, nonce).unwrap();
            prop_assert!(same(&Grant::open(token.as_bytes(), &ring).unwrap(), &grant));
        }

        #[test]
        fn a_token_with_any_bit_flipped_does_not_open(at in any::<prop::sample::Index>(), bit in 0u8..8) {
            let ring = ring(&["a", "b"]);
            let token = grant(Some("{}")).seal(&ring, [3; NONCE]).unwrap();
            let mut bytes = STANDARD.decode(&token).unwrap();
            let place = at.index(bytes.len());
            bytes[place] ^= 1 << bit;
            prop_assert!(Grant::open(STANDARD.encode(&bytes).as_bytes(), &ring).is_err());
            let mut text = token.into_bytes();
            let place = at.index(text.len());
            text[place] ^= 1 << bit;
            prop_assert!(Grant::open(&text, &ring).is_err());
        }

        #[test]
        fn a_cut_or_longer_token_does_not_open(at in any::<prop::sample::Index>(), more in "[A-Za-z0-9+/=]{1,8}") {
            let ring = ring(&["a"]);
            let token = grant(None).seal(&ring, [3; NONCE]).unwrap();
            prop_assert!(Grant::open(&token.as_bytes()[..at.index(token.len())], &ring).is_err());
            prop_assert!(Grant::open((token + &more).as_bytes(), &ring).is_err());
        }
    }
}
