//! What an answer says of its client, for whoever keeps its connection.

use super::reply::{Reply, X_TOLLGATE_ACK, X_TOLLGATE_REASON};
use crate::event::Reason;

/// What an answer says of its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// What it sent was taken.
    Taken,
    /// It was refused for what it sent, for who it is, or for how much it sends.
    Refused,
    /// Nothing: it sent no events, or was refused because we or the store are short of something.
    Neither,
}

impl Verdict {
    /// The verdict of an answer.
    #[must_use]
    pub fn of(reply: &Reply) -> Self {
        let (status, headers) = (reply.status(), reply.headers());
        if status.is_client_error() {
            let reason = headers.get(X_TOLLGATE_REASON);
            // The quota of the store, which its other clients have used up as well.
            return match reason {
                Some(reason) if reason == Reason::UpstreamQuota.label() => Self::Neither,
                _ => Self::Refused,
            };
        }
        // Preflights and logouts prove nothing, and anybody gets them.
        if status.is_success() && headers.contains_key(X_TOLLGATE_ACK) {
            return Self::Taken;
        }
        Self::Neither
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, StatusCode};

    use super::*;

    #[test]
    fn only_what_is_the_clients_doing_counts() {
        for reason in Reason::ALL {
            let mut reply = Reply::default();
            *reply.status_mut() = reason.status();
            let label = HeaderValue::from_static(reason.label());
            reply.headers_mut().insert(X_TOLLGATE_REASON, label);
            let ours = reason.status().is_server_error() || *reason == Reason::UpstreamQuota;
            let expected = if ours {
                Verdict::Neither
            } else {
                Verdict::Refused
            };
            assert_eq!(Verdict::of(&reply), expected, "{reason:?}");
        }
        let mut reply = Reply::default();
        assert_eq!(Verdict::of(&reply), Verdict::Neither, "a preflight");
        let kept = HeaderValue::from_static("memory");
        reply.headers_mut().insert(X_TOLLGATE_ACK, kept);
        assert_eq!(Verdict::of(&reply), Verdict::Taken);
        *reply.status_mut() = StatusCode::PERMANENT_REDIRECT;
        assert_eq!(Verdict::of(&reply), Verdict::Neither);
    }
}
