//! Tokens of every algorithm: those that another implementation made, and our own round trips.

use super::*;

const PLAIN: &str = r#"{"some":"payload"}"#;

/// Made with PyJWT, with the private halves of these keys.
const OTHERS: &[(Algorithm, &str, &str)] = &[
    (
        Algorithm::RS256,
        keys::SMALL_SPKI,
        "eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzI1NiJ9.eyJzb21lIjoicGF5bG9hZCJ9.Ewwls5YPuJCmAR3XR2tcptOLrH83wVCzmUaUpGMzMLcPknRrIvbDmFGlNlQha-PMx0jsxt3t1oxpz7P3z3SR9o4qyWusAb99UG_Jn8oP8W0a5GKSy4UEJB0xgpVvJl5F2JaIPeUSHpV0VeS2WAsGSBBSAaOMkrc-8uie-H4J9M0",
    ),
    (
        Algorithm::RS384,
        keys::SMALL_SPKI,
        "eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzM4NCJ9.eyJzb21lIjoicGF5bG9hZCJ9.m1RuDGy8OPDvONmHIjkU_wiOn0XMYl5GxojksDlYOSRJXg6cVzQZyOHJGV9bONqHWkgEP17IjgGqxFtG6GUlvL6gKUTQelCdOjfz5VWnddopk6sRd7sjoP74LslXiXlk3FzOIgy_6RKXPTYUbtEJqebHavIruSANKOqz2VLTAJA",
    ),
    (
        Algorithm::RS512,
        keys::SMALL_SPKI,
        "eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzUxMiJ9.eyJzb21lIjoicGF5bG9hZCJ9.XPpoIHqO6bRmjHKVVe3roUMKKHwU8_U873k1CbV3tsIs0wKosoS9ppnR2dR9em_kpgN13IhuE3hrjpwu5341Y04vM30KWYCdiW4fG6nnG1IBpHD-p6eicea1JL_u5lRk_eh7n6FMLEB-yFXtxB9bVyxi53WdzXBdjDZQk7FBvys",
    ),
    (
        Algorithm::PS256,
        keys::SMALL_SPKI,
        "eyJ0eXAiOiJKV1QiLCJhbGciOiJQUzI1NiJ9.eyJzb21lIjoicGF5bG9hZCJ9.PVI3RADAGE4s6V_7u2DNcOJR7bP9XApieZLgpDncCDpUU8PxujhedLWoPFLtV3X6c5ilerAE2-67LHjjiNrilJzGgNUo85mm_CbChyFlyVm_nr7ZwcEBF0GqnPExHwdT0SKqeIVGJZMKt5oRazsgycuoxvnFdw_KkN6QRajjKlY",
    ),
    (
        Algorithm::PS384,
        keys::SMALL_SPKI,
        "eyJ0eXAiOiJKV1QiLCJhbGciOiJQUzM4NCJ9.eyJzb21lIjoicGF5bG9hZCJ9.cj8RXa9GCOkj9MZFQHpJoA_SIL-iiL2bow0R-bSFP3KGiR7s0DZDY704hwZpzoEwQE2O3boAGD-tEdgVZVayIMLgngCGA1mLXti2wF5r9qh8kCao7LhAC4PuBfRNZEmQtSojq5hfVouGqBhlN2gbZzDJTgQB4uznGr0w4SImqJo",
    ),
    (
        Algorithm::RS256,
        keys::RSA_SPKI,
        "eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzI1NiJ9.eyJzb21lIjoicGF5bG9hZCJ9.gSiHhK7ciDl9EpbdNLkgT0uPliZCPrIqYrhsVqX0OKRdrrGYLkeeWo1EA1WBFa6Th01yKG1c2HMH8G-Qk6ONTq-XO4pE0_ypqSgW56d5R7ywEj_HQUb4aYSAhQic7qzQwNGe2XBQSRNBVrNQiwiZtSVENsW2PizdPjwjRVUuq_L2DwnBpFuNtUbrPIabflzC9qILNCkULDHKApwGhxhb5YB9jBTVQ727_nOSwwLP0UkU20JzPsSrvWQHiuPXj4nZ6StV8N0-VlKmKo_AdgeVWW2stj_hTblRcAmcDaOT4E0zTcyZ9vES2FMtxU4qb4D9nXx6Q_S90OtxRIusfKAh2w",
    ),
    (
        Algorithm::RS384,
        keys::RSA_SPKI,
        "eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzM4NCJ9.eyJzb21lIjoicGF5bG9hZCJ9.md8CcsXzypok_qKUavlaXQKEfv7RYUWYYQbEyP2IxRytqwhRB4KL8NJRTlt1mhpernuRAHur9M231IrzrdCt7VClYeWPiHJz_G7X42wnE1T3E2kmzlGHm7_XUvzp7yvdTuUYnWDymHCtgJsNcObMgdiKHUh_t8lDR4Le5CgVZzIS3TZo5B5VCYMR_bMvjYA18LpqEPkobwA0EmCJr6pfZqrT834XpR1qk5PClsysgvt6aoiIgMEDE3Pye6j87FyyFsHMjsGSZj2DbU1Qq6ps4WdJj3b7t83gZdwYcLkMOZ5YQTAc_LsM_bPliGzIfdCtRURL7Ep-WH8A__wvmPCQCQ",
    ),
    (
        Algorithm::RS512,
        keys::RSA_SPKI,
        "eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzUxMiJ9.eyJzb21lIjoicGF5bG9hZCJ9.VJVyXQYbi-SHz4sYoi91hemuzxnj4-rQeM_IdH-DaEroFXDd65eCmnzLSgmzHh2tEJ8V51GntiPvOsXG4lP8i5mqc0scaJZjVBJtL-rYaJwx-ldXEbfnFi8hmJZ3PKk0tG9HCVY2ZUIHYLuR6uw39omHNaPW6ISvaYgBoHaXgDEpy0CSajvRNw4orme6OZ0OwopP2ASCgvxLmEGTf7BOT6PZStVUjWKiPXD5ZKdl1x5nf5ov0YBV8OsgpR5W-W-u4D1TpewpQTWtiKsjAmrEh7UUBagFyYWe5IK5mlwLx6fbqjNPEb7fhrB8OXZKFzcTe-SnulP5bn2DtX1P9ww1mw",
    ),
    (
        Algorithm::PS256,
        keys::RSA_SPKI,
        "eyJ0eXAiOiJKV1QiLCJhbGciOiJQUzI1NiJ9.eyJzb21lIjoicGF5bG9hZCJ9.rqAawV0xnOeB1SOnBkN1MXdOdr03Ed90dwgdmEKHUMwe63PIR-13Xr7T_5ZY8YM8up6zIMxkRuo1nQozmTqBNzWaeANYn-7Llaro6FSYsXTWpygfUnjP95SNMnm55uwfdaMZP5cb8n1rcNx3l7EqOWPWKfwwH9nx2LWVdUPkI1Cc6nyGjwD-9TTLYhMEPaiUR18VZ2RIWX2X0ZnehmQHyG8YcXXAU4gDpQvZjpFX4yuc6IsrJROfyXZodgPyM06145eOKgQtS9U5MxumupQ-9PegyDPhNxZBQ1yUt57e1YkAPmtFM01K5XOiGjKM5ui7Cbg8TCDqstUxb44-EwtPkA",
    ),
    (
        Algorithm::PS384,
        keys::RSA_SPKI,
        "eyJ0eXAiOiJKV1QiLCJhbGciOiJQUzM4NCJ9.eyJzb21lIjoicGF5bG9hZCJ9.1REATvgB1RCMaa69p5lenB7tFMoUJJHa8aVz8jWpLv5H_9Md0Cx7jqneV--lsxsbL7O5yOfaaHqczP0Qv7hjolX0qTJywvxFfaIrkz690cha69-oaXIST9ftAxq7TEhEFjc9UqY2myXoLHI2G2mh8CfxyX4ip6ibmBvLfrN5GlIzn5hWjr-a6Z43hg6J3pbF4nRJX-hYgFieiL8CvJwz_Sj_4w0xiRzPWsVIC955CZE3hEwNzt7Qwt9Pavhgju3LZC9YIlwIl48QuKYs3aYk-Rycu-syL2vU0rjH7MgW1Nu6RGs9TZzjgT77xX84enSFENQkotNXbO5hi749Zj-CVg",
    ),
    (
        Algorithm::PS512,
        keys::RSA_SPKI,
        "eyJ0eXAiOiJKV1QiLCJhbGciOiJQUzUxMiJ9.eyJzb21lIjoicGF5bG9hZCJ9.k3O8JmMUqMY3us11F8rPuW12X-kRYc3OkxR_zhpnyVLXDk5_KObXgqh8TAt0UQ-hQCio76FwfuCkdPzGw8e2uXiZjyn2ISGI0qDT-FhZrZZ5JJXM6EUOV3HypxFmj12amxcGrumw8mxP8jIc5h44GI_XaSz8xOEz7pnm4BOLVVLQiJ5xV97o1Anp1NcRGPEHQYWd9Y3NEkmCp8chmap5b007S5Qu6QiHYVpY3x1H_Q-YER_eJvhJXpr9NjsX8g0vpOTWlbqumHTzLCxszm8o8dWG9_jVBRz5gPm9henxL-21NpqVlA70ZkLBN4svnOlth8X2FRV-2V_vO-blEyo7zA",
    ),
    (
        Algorithm::ES256,
        keys::P256_SPKI,
        "eyJ0eXAiOiJKV1QiLCJhbGciOiJFUzI1NiJ9.eyJzb21lIjoicGF5bG9hZCJ9.MFAJEEHQezUJu9vtzd8FmPbcgq79keilYr_4_GTnpffXLCANkIs0K0d_5hg9vong-Ab0FJeLChPg8WMaCc7cjg",
    ),
    (
        Algorithm::ES384,
        keys::P384_SPKI,
        "eyJ0eXAiOiJKV1QiLCJhbGciOiJFUzM4NCJ9.eyJzb21lIjoicGF5bG9hZCJ9.-MGZWIUnAU7-aF6wZ4ZPRG1EYPsWJzvyRHsagmq7m-P1PjjBgBC8G3CBPc-h3eYTRbdqMStYek10r8l3xa2nRk5WkzzbHbVBmAddxRIJHYIIpOooIJZwuQ-rz7nqOqxO",
    ),
    (
        Algorithm::ES512,
        keys::P521_SPKI,
        "eyJ0eXAiOiJKV1QiLCJhbGciOiJFUzUxMiJ9.eyJzb21lIjoicGF5bG9hZCJ9.ASKA3Fo6qTuy7gQU9QQKcsDN1eMP8vFYS9FIMaVFsL8yiW10FsFm-4Hf5p0pjc5N9TYJQW0mK3VJFddpLjTQhg6oAR6xb2xqeq9C3ZN-zxI4b0PBE7d0UeLQIWCNKLBs1gkdtTIzSqE6b0Z4VkUY1kEuNFeERl89OaEVutN4v6WURZ3d",
    ),
    (
        Algorithm::HS384,
        "secret",
        "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzM4NCJ9.eyJzb21lIjoicGF5bG9hZCJ9.nTEWoACdd1RjJ5irBtVd643BRUl38AjKfZd8pprCAE3HmiIKrujHBiC0khtCj9pL",
    ),
    (
        Algorithm::HS512,
        "secret",
        "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzUxMiJ9.eyJzb21lIjoicGF5bG9hZCJ9.EgMnzcJYrElON09Bw_OwaqR_Z7Cq30n7cgTZGJqtK1YHfG1cGnGJoJGwOLj6AWg9taOyJN3Dnqd9NXeTCjTCwA",
    ),
];

#[test]
fn tokens_of_another_implementation_verify_with_their_algorithm_alone() {
    for (algorithm, key, token) in OTHERS {
        let key = key.as_bytes();
        let decoding = Decoding::new(key, &rules(&[*algorithm])).unwrap();
        assert_eq!(decode(&decoding, token).unwrap(), PLAIN, "{algorithm}");
        let all: Vec<_> = Algorithm::ALL
            .into_iter()
            .filter(|it| it.key_type() == algorithm.key_type())
            .collect();
        for other in all {
            if let Ok(decoding) = Decoding::new(key, &rules(&[other])) {
                let expected = match other == *algorithm {
                    true => Ok(PLAIN.to_owned()),
                    false => Err(DecodeError::Algorithm),
                };
                assert_eq!(decode(&decoding, token), expected, "{algorithm} {other}");
            }
        }
    }
}

#[test]
fn signatures_without_chance_are_the_same_as_those_of_others() {
    let keys = [
        (keys::SMALL_SPKI, keys::SMALL_PKCS8),
        (keys::RSA_SPKI, keys::RSA_PKCS8),
        ("secret", "secret"),
    ];
    let mut same = 0;
    for (algorithm, key, token) in OTHERS {
        let name = algorithm.as_str();
        if name.starts_with("PS") || name.starts_with("ES") {
            continue;
        }
        let (_, private) = keys.iter().find(|(public, _)| public == key).unwrap();
        let encoding = Encoding::new(*algorithm, private.as_bytes(), &[]).unwrap();
        assert_eq!(encode(&encoding, PLAIN), *token, "{algorithm}");
        same += 1;
    }
    assert_eq!(same, 8);
}

/// Algorithms, private forms and public forms of a key.
type Pair = (&'static [Algorithm], &'static [&'static str]);

const PAIRS: &[Pair] = &[
    (
        &[
            Algorithm::RS256,
            Algorithm::RS384,
            Algorithm::RS512,
            Algorithm::PS256,
            Algorithm::PS384,
        ],
        &[
            keys::SMALL_PKCS1,
            keys::SMALL_PKCS8,
            keys::SMALL_SPKI,
            keys::SMALL_PUBLIC,
        ],
    ),
    (
        &[
            Algorithm::RS256,
            Algorithm::RS384,
            Algorithm::RS512,
            Algorithm::PS256,
            Algorithm::PS384,
            Algorithm::PS512,
        ],
        &[
            keys::RSA_PKCS1,
            keys::RSA_PKCS8,
            keys::RSA_SPKI,
            keys::RSA_PUBLIC,
        ],
    ),
    (
        &[Algorithm::ES256],
        &[keys::P256_SEC1, keys::P256_PKCS8, keys::P256_SPKI],
    ),
    (
        &[Algorithm::ES384],
        &[keys::P384_SEC1, keys::P384_PKCS8, keys::P384_SPKI],
    ),
    (
        &[Algorithm::ES512],
        &[keys::P521_SEC1, keys::P521_PKCS8, keys::P521_SPKI],
    ),
];

#[test]
fn every_form_of_a_private_key_signs_and_every_form_of_a_key_verifies() {
    for (algorithms, forms) in PAIRS {
        for algorithm in *algorithms {
            for private in forms.iter().take(2) {
                let encoding = Encoding::new(*algorithm, private.as_bytes(), &[]).unwrap();
                let token = encode(&encoding, PLAIN);
                for form in *forms {
                    let decoding = Decoding::new(form.as_bytes(), &rules(algorithms)).unwrap();
                    assert_eq!(decode(&decoding, &token).unwrap(), PLAIN, "{algorithm}");
                }
            }
        }
    }
}

#[test]
fn a_changed_header_payload_or_signature_does_not_verify() {
    for (algorithm, key, token) in OTHERS {
        let decoding = Decoding::new(key.as_bytes(), &rules(&[*algorithm])).unwrap();
        let (message, signature) = token.rsplit_once('.').unwrap();
        let (header, _) = message.split_once('.').unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        let with = |message: &str, signature: &[u8]| {
            let signature = URL_SAFE_NO_PAD.encode(signature);
            decode(&decoding, &format!("{message}.{signature}"))
        };
        let wrong = Err(DecodeError::Signature);
        let payload = URL_SAFE_NO_PAD.encode(r#"{"some":"paysoad"}"#);
        assert_eq!(with(&format!("{header}.{payload}"), &signature), wrong);
        let header = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"{algorithm}","typ":"JWT"}}"#));
        let payload = URL_SAFE_NO_PAD.encode(PLAIN);
        assert_eq!(with(&format!("{header}.{payload}"), &signature), wrong);
        for at in [0, signature.len() / 2, signature.len() - 1] {
            let mut other = signature.clone();
            other[at] ^= 1;
            assert_eq!(with(message, &other), wrong, "{algorithm} {at}");
        }
        let (half, _) = signature.split_at(signature.len() / 2);
        let longer = [&signature[..], &[0]].concat();
        let before = [&[0], &signature[..]].concat();
        let zeros = vec![0; signature.len()];
        for other in [&[][..], half, &longer, &before, &zeros] {
            assert_eq!(with(message, other), wrong, "{algorithm}");
        }
    }
}
