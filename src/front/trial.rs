//! Requests that are only tried out: told by the very code that tells those of clients, over lanes that
//! deliver nowhere.

use bytes::Bytes;
use http::Request;

use super::arrival::framing_is_plain;
use super::body::RequestBody;
use super::reply::Reply;
use super::respond::Visit;
use super::service::{Front, Sender};
use super::trace::{Stage, Trace};

/// When a request is tried out.
#[derive(Clone, Copy, Debug)]
pub struct TrialTime {
    /// On the wall clock, unix seconds.
    pub unix_seconds: u64,
    /// On the clocks of limits and guards: nanoseconds since the first request that is tried out with them.
    pub nanos: u64,
}

impl Front {
    /// Answers a request as one of a client, and writes down why. What it changes (limits, what guards
    /// remember, lanes) is that of this front, which should be one that serves nobody.
    pub async fn try_out(
        &self,
        request: Request<Bytes>,
        sender: Sender,
        time: TrialTime,
        trace: &Trace,
    ) -> Reply {
        let (parts, body) = request.into_parts();
        let mut body = RequestBody::Whole(body);
        if let Err(refusal) = framing_is_plain(&parts) {
            trace.enter(Stage::Route);
            trace.refused(&refusal);
            return self.misframed(&parts, &refusal);
        }
        let visit = Visit {
            sender,
            unix_seconds: time.unix_seconds,
            trace: Some(trace),
            timer: None,
            span: None,
            trial: Some(time.nanos),
        };
        self.respond(&parts, &mut body, visit).await
    }
}
