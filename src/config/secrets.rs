//! Whether the secrets that a configuration refers to can be had.

use super::problems::{Problem, Problems};
use super::{Config, MIN_HASH_KEY, Transform};
use crate::foundation::secret::{Secret, SecretRef};

/// The least length of an HMAC-SHA256 key (RFC 7518 section 3.2).
const SHORTEST_JWT_SECRET: usize = 32;

impl Config {
    /// Reads every secret once and looks at its form. It touches the environment and files, so it
    /// is not part of loading.
    ///
    /// # Errors
    /// Every secret that cannot be read, is too short for its use, or is not text where it must
    /// be. The secrets themselves are not in the messages.
    pub fn check_secrets(&self) -> Result<(), Problems> {
        let mut problems = Vec::new();
        for (index, jwt) in self.identity.jwt.iter().enumerate() {
            let key = format!("identity.jwt[{index}].secret");
            check(key, jwt.secret.as_ref(), jwt_fault, &mut problems);
        }
        for (index, access_key) in self.identity.access_keys.iter().enumerate() {
            let key = format!("identity.access_key[{index}].secret");
            check(key, Some(&access_key.secret), text_fault, &mut problems);
        }
        for (name, keys) in [
            ("sts", &self.identity.sts.keys),
            ("ticket", &self.identity.ticket.keys),
        ] {
            for (index, reference) in keys.iter().enumerate() {
                let key = format!("identity.{name}.keys[{index}]");
                check(key, Some(reference), sealing_fault, &mut problems);
            }
        }
        let key = "admin.token".to_owned();
        let token = self.admin.token.as_ref();
        check(key, token, sealing_fault, &mut problems);
        let key = "quota.redis.password".to_owned();
        let password = self.quota.redis.password.as_ref();
        check(key, password, |_| None, &mut problems);
        for (name, reference) in &self.traces.headers {
            let key = format!("traces.headers.{name}");
            check(key, Some(reference), header_fault, &mut problems);
        }
        let own = self.embedded.access_key_secret.as_ref();
        let key = "embedded.access_key_secret".to_owned();
        check(key, own, text_fault, &mut problems);
        for (index, upstream) in self.upstreams.iter().enumerate() {
            for (name, reference) in [
                ("access_key_secret", &upstream.access_key_secret),
                ("security_token", &upstream.security_token),
            ] {
                let key = format!("upstream[{index}].{name}");
                check(key, reference.as_ref(), text_fault, &mut problems);
            }
            let password = upstream.kafka.as_ref().and_then(|it| it.password.as_ref());
            let key = format!("upstream[{index}].kafka.password");
            check(key, password, text_fault, &mut problems);
        }
        for (index, project) in self.projects.iter().enumerate() {
            for (inner, logstore) in project.logstores.iter().enumerate() {
                for (place, step) in logstore.transforms.iter().enumerate() {
                    let key = format!("project[{index}].logstore[{inner}].transform[{place}].key");
                    // What a key of tokens must be like is known where it is put to use.
                    let of_token =
                        matches!(step, Transform::JwtEncoding(_) | Transform::JwtDecoding(_));
                    let fault = |secret: &Secret| match of_token {
                        true => None,
                        false => hash_fault(secret),
                    };
                    check(key, step.key(), fault, &mut problems);
                }
            }
        }
        Problems::of("", problems).map_or(Ok(()), Err)
    }
}

fn check(
    key: String,
    reference: Option<&SecretRef>,
    fault: impl Fn(&Secret) -> Option<String>,
    problems: &mut Vec<Problem>,
) {
    let Some(reference) = reference else {
        return;
    };
    let message = match reference.read() {
        Ok(secret) => fault(&secret).map(|fault| format!("the secret at {reference} {fault}")),
        Err(error) => Some(error.to_string()),
    };
    problems.extend(message.map(|message| Problem::error(key, message)));
}

fn sealing_fault(secret: &Secret) -> Option<String> {
    let length = secret.expose().len();
    (length < SHORTEST_JWT_SECRET)
        .then(|| format!("has {length} bytes; at least {SHORTEST_JWT_SECRET} are needed"))
}

fn hash_fault(secret: &Secret) -> Option<String> {
    let length = secret.expose().len();
    (length < MIN_HASH_KEY)
        .then(|| format!("has {length} bytes; a key of hashes has at least {MIN_HASH_KEY}"))
}

fn jwt_fault(secret: &Secret) -> Option<String> {
    let length = secret.expose().len();
    (length < SHORTEST_JWT_SECRET)
        .then(|| format!("has {length} bytes; a JWT secret has at least {SHORTEST_JWT_SECRET}"))
}

/// The value of a header is text on one line.
fn header_fault(secret: &Secret) -> Option<String> {
    let sound = |byte: &u8| byte.is_ascii_graphic() || *byte == b' ';
    let sound = secret.expose().iter().all(sound);
    (!sound).then(|| "holds a line break or a character outside ASCII".to_owned())
}

/// A key or token that goes into a signature or a header is text without spaces.
fn text_fault(secret: &Secret) -> Option<String> {
    let sound = secret.expose().iter().all(u8::is_ascii_graphic);
    (!sound).then(|| "holds a space, a line break or a character outside ASCII".to_owned())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn with_jwt_file(path: &Path) -> Config {
        let mut config = Config::quickstart();
        for jwt in &mut config.identity.jwt {
            jwt.secret = Some(SecretRef::File(path.to_owned()));
        }
        config
    }

    #[test]
    fn a_jwt_secret_has_32_bytes_and_the_message_does_not_repeat_it() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "hunter2hunter2hunter2hunter2hun\n").unwrap();
        let text = with_jwt_file(file.path())
            .check_secrets()
            .unwrap_err()
            .to_string();
        assert!(
            text.starts_with("error: identity.jwt[0].secret: "),
            "{text}"
        );
        assert!(text.contains("has 31 bytes"), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
        std::fs::write(file.path(), "x".repeat(32)).unwrap();
        assert_eq!(with_jwt_file(file.path()).check_secrets(), Ok(()));
    }

    #[test]
    fn every_secret_that_cannot_be_read_is_told() {
        let mut config = with_jwt_file(Path::new("/nonexistent/jwt.key"));
        let variable = SecretRef::Env("TOLLGATE_TEST_NO_SUCH_VARIABLE".to_owned());
        config.embedded.access_key_secret = Some(variable.clone());
        for upstream in &mut config.upstreams {
            upstream.security_token = Some(variable.clone());
        }
        let problems = config.check_secrets().unwrap_err();
        let keys: Vec<&str> = problems.iter().map(|problem| &*problem.key).collect();
        assert_eq!(
            keys,
            [
                "identity.jwt[0].secret",
                "embedded.access_key_secret",
                "upstream[0].security_token"
            ]
        );
    }

    #[test]
    fn an_access_key_with_a_line_break_inside_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "abc\ndef\n").unwrap();
        let mut config = Config::quickstart();
        config.embedded.access_key_secret = Some(SecretRef::File(file.path().to_owned()));
        assert!(config.check_secrets().is_err());
    }
}
