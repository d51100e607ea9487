//! The values of labels: closed enums.

/// Declares an enum of label values with an index into an array of cells.
macro_rules! label_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident => $label:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$vdoc])* $variant,)+ }

        impl $name {
            /// Every value.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];
            /// The value as a label.
            #[must_use]
            pub fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)+ }
            }
            /// How many values there are.
            pub const COUNT: usize = Self::ALL.len();
        }
    };
}

label_enum! {
    /// The kind of request, as a metric label.
    RouteLabel {
        /// `POST /logstores/{ls}/track`.
        TrackPost => "track_post",
        /// `GET /logstores/{ls}/track`.
        TrackGet => "track_get",
        /// `GET /logstores/{ls}/track.gif`.
        TrackGif => "track_gif",
        /// `GET /logstores/{ls}/track_ua.gif`.
        TrackUaGif => "track_ua_gif",
        /// `POST /logstores/{ls}`, `/shards/lb` or `/shards/route`.
        PutLogs => "put_logs",
        /// `POST /v1/events/{ls}`.
        Events => "events",
        /// `OPTIONS`, answered as a CORS preflight.
        Preflight => "preflight",
        /// `AssumeRole` at `/`.
        AssumeRole => "assume_role",
        /// `GET /get_sts_token`.
        GetStsToken => "get_sts_token",
        /// `POST /session`.
        Session => "session",
        /// Anything else.
        Unknown => "unknown",
    }
}

label_enum! {
    /// Where the credential of an accepted request stood, as a metric label.
    TokenSource {
        /// `Authorization: Bearer`.
        Authorization => "authorization",
        /// The path prefix `/t/{token}`.
        Path => "path",
        /// The query.
        Query => "query",
        /// A cookie.
        Cookie => "cookie",
        /// The tag `__token__` of the body.
        Body => "body",
        /// The signature of the request.
        Signature => "signature",
        /// None: the logstore is open.
        Anonymous => "anonymous",
    }
}

label_enum! {
    /// What came of reading the access key of an upstream again, as a metric label.
    CredentialRead {
        /// It is the same.
        Same => "same",
        /// It is another one.
        Changed => "changed",
        /// It could not be read.
        Failed => "failed",
    }
}

label_enum! {
    /// The kind of a credential, as a metric label.
    CredentialKind {
        /// A long-lived access key.
        AccessKey => "access_key",
        /// Temporary credentials of ours.
        Sts => "sts",
        /// A token.
        Jwt => "jwt",
        /// A ticket.
        Ticket => "ticket",
        /// A signature by a key that is not ours.
        Passthrough => "passthrough",
        /// None, where the logstore is open.
        Anonymous => "anonymous",
        /// None, or none that could be told.
        None => "none",
    }
}

label_enum! {
    /// The mini-program platform that the Referer speaks of. A label, never authority.
    PlatformLabel {
        /// WeChat.
        Wechat => "wechat",
        /// Alipay.
        Alipay => "alipay",
        /// Douyin, or Feishu, which sends the same host.
        Douyin => "douyin",
        /// QQ.
        Qq => "qq",
        /// Baidu.
        Baidu => "baidu",
        /// A quick app.
        QuickApp => "quickapp",
        /// A browser: an Origin or Sec-Fetch header came along.
        Browser => "browser",
        /// None of these.
        Other => "other",
    }
}

label_enum! {
    /// What became of a relayed request.
    RelayOutcome {
        /// The upstream took it.
        Accepted => "accepted",
        /// The upstream refused it.
        Refused => "refused",
        /// The upstream could not be reached, or failed.
        Failed => "failed",
    }
}

label_enum! {
    /// Why accepted events did not reach the store.
    DropReason {
        /// The store refused them for good.
        UpstreamRefused => "upstream_refused",
        /// They were still held when the stop deadline came.
        Stopped => "stopped",
        /// A bug: they vanished without an outcome.
        Lost => "lost",
        /// They were copies for a second destination, which had no room.
        NoRoom => "no_room",
    }
}

label_enum! {
    /// Why a span did not reach its collector.
    SpanDrop {
        /// Too many were waiting.
        QueueFull => "queue_full",
        /// The collector could not be reached, or did not take it now, for too long.
        Unavailable => "unavailable",
        /// The collector refused it.
        Rejected => "rejected",
        /// It was left when a stop gave up.
        Stopped => "stopped",
    }
}

label_enum! {
    /// The state of the breaker of an upstream.
    BreakerState {
        /// The upstream takes what it is sent.
        Closed => "closed",
        /// One attempt is on its way to see whether it does again.
        HalfOpen => "half_open",
        /// It is down: nothing is sent.
        Open => "open",
    }
}

label_enum! {
    /// What found an event wanting, as a metric label.
    Judge {
        /// Its schema.
        Schema => "schema",
        /// A standing guard.
        Guard => "guard",
        /// A step that could not be done on it.
        Transform => "transform",
        /// The store, which refused it after it had been accepted.
        Store => "store",
    }
}

label_enum! {
    /// How a handshake of TLS at the private listener went.
    AdminHandshake {
        /// It went well.
        Done => "done",
        /// One of the two refused the other, or the client does not speak TLS.
        Failed => "failed",
        /// It took too long.
        Timeout => "timeout",
    }
}

label_enum! {
    /// How a login at the dashboard ended, or a call whose bearer was wrong.
    LoginOutcome {
        /// The admin token was right.
        Admin => "admin",
        /// A ticket was taken.
        Ticket => "ticket",
        /// A certificate was shown that has a role.
        Certificate => "certificate",
        /// The admin token was wrong.
        WrongToken => "wrong_token",
        /// The ticket may not be used, or not so.
        WrongTicket => "wrong_ticket",
        /// The bearer of a call is no session and not the admin token.
        WrongBearer => "wrong_bearer",
        /// Too many wrong ones came from there within a minute.
        TooMany => "too_many",
        /// There are as many sessions as there may be.
        Full => "full",
    }
}

label_enum! {
    /// A call of the admin API, as a metric label.
    AdminCall {
        /// `POST /api/v1/tickets`.
        CreateTicket => "create_ticket",
        /// `GET /api/v1/tickets`.
        ListTickets => "list_tickets",
        /// `POST /api/v1/tickets/{id}/extend`.
        ExtendTicket => "extend_ticket",
        /// `DELETE /api/v1/tickets/{id}`.
        RevokeTicket => "revoke_ticket",
        /// `GET /api/v1/quarantine`.
        ListQuarantine => "list_quarantine",
        /// `GET /api/v1/quarantine/{project}/{logstore}`.
        ReadQuarantine => "read_quarantine",
        /// `POST /api/v1/quarantine/replay`.
        ReplayQuarantine => "replay_quarantine",
        /// `POST /api/v1/quarantine/purge`.
        PurgeQuarantine => "purge_quarantine",
        /// `GET /api/v1/books`.
        ReadBooks => "read_books",
        /// `GET /api/v1/upstreams`.
        ReadUpstreams => "read_upstreams",
        /// `GET /api/v1/sample`.
        ReadSample => "read_sample",
        /// `GET /api/v1/log`.
        ShowLog => "show_log",
        /// `PUT /api/v1/log`.
        ChangeLog => "change_log",
        /// `DELETE /api/v1/log`.
        ResetLog => "reset_log",
        /// `POST /api/v1/revocations`.
        Revoke => "revoke",
        /// `GET /api/v1/revocations`.
        ListRevocations => "list_revocations",
        /// `DELETE /api/v1/revocations/{kind}/{value}`.
        LiftRevocation => "lift_revocation",
        /// `POST /api/v1/reload`.
        Reload => "reload",
        /// `GET /api/v1/state`.
        ReadState => "read_state",
        /// `GET /api/v1/config`.
        ReadConfig => "read_config",
        /// `GET /api/v1/drain`.
        ReadDrain => "read_drain",
        /// `POST /api/v1/drain`.
        BeginDrain => "begin_drain",
        /// `DELETE /api/v1/drain`.
        EndDrain => "end_drain",
        /// `POST /api/v1/explain`.
        Explain => "explain",
        /// `GET /api/v1/spool`.
        ListSpool => "list_spool",
        /// `GET /api/v1/spool/{project}/{logstore}`.
        VerifySpool => "verify_spool",
        /// `POST /api/v1/spool/purge`.
        PurgeSpool => "purge_spool",
        /// `GET /api/v1/openapi.json`.
        ReadOpenApi => "read_openapi",
        /// `GET /api/v1/limits`.
        ListLimits => "list_limits",
        /// `GET /api/v1/limits/{name}`.
        ShowLimit => "show_limit",
        /// `POST /api/v1/limits/{name}/overrides`.
        AddOverride => "add_override",
        /// `DELETE /api/v1/limits/{name}/overrides/{key}`.
        LiftOverride => "lift_override",
        /// `GET /api/v1/live`.
        Live => "live",
        /// Anything below `/api/v1/dashboard/`.
        Dashboard => "dashboard",
        /// `/metrics`, `/autoscale` or `/drain`, which are counted when they are refused.
        Open => "open",
        /// Anything else below `/api/`.
        Unknown => "unknown",
    }
}

label_enum! {
    /// Who asked for a reload, as a metric label.
    ReloadSource {
        /// SIGHUP.
        Signal => "signal",
        /// The admin API.
        Api => "api",
        /// A file that has changed.
        File => "file",
    }
}

label_enum! {
    /// What became of a reload, as a metric label.
    ReloadOutcome {
        /// It was taken over.
        Done => "done",
        /// Something was wrong, or needs a restart; what was there before stays.
        Refused => "refused",
        /// It was only asked what would change.
        DryRun => "dry_run",
    }
}

label_enum! {
    /// What became of what a limit was asked, as a metric label.
    LimitOutcome {
        /// There was room.
        Passed => "passed",
        /// Refused.
        Refused => "refused",
        /// Too much, and let through since the limit only observes.
        Observed => "observed",
        /// Too much, and stored in another logstore.
        Diverted => "diverted",
        /// Too much, and let through as one of the sample.
        Sampled => "sampled",
        /// Too much, and stored with a mark.
        Marked => "marked",
    }
}

label_enum! {
    /// What became of a call of the admin API, as a metric label.
    AdminOutcome {
        /// It was done.
        Done => "done",
        /// The request was wrong, or what it asked for is not possible.
        Refused => "refused",
        /// It came without the token, with a wrong one, or from a page.
        Denied => "denied",
        /// It could not be done here.
        Failed => "failed",
    }
}

impl AdminOutcome {
    /// That of an answer with this status.
    #[must_use]
    pub fn of(status: http::StatusCode) -> Self {
        match status.as_u16() {
            401 | 403 => Self::Denied,
            200..=299 => Self::Done,
            500..=599 => Self::Failed,
            _ => Self::Refused,
        }
    }
}

label_enum! {
    /// Why a public connection ended, as a metric label.
    ConnectionEnd {
        /// The client closed it, or the last answer was given.
        Closed => "closed",
        /// The service is stopping.
        Stopped => "stopped",
        /// Its network had as many as it may.
        PrefixLimit => "prefix_limit",
        /// Its network opened more in a second than it may.
        PrefixRate => "prefix_rate",
        /// Its PROXY header, its TLS handshake or the wait for its turn took too long.
        HandshakeTimeout => "handshake_timeout",
        /// Its handshake was slow while others waited for their turn.
        HandshakeCrowded => "handshake_crowded",
        /// Its TLS handshake failed.
        HandshakeFailed => "handshake_failed",
        /// It is not from a load balancer that may speak the PROXY protocol.
        ProxyUntrusted => "proxy_untrusted",
        /// It is from such a one, and has no good PROXY header.
        ProxyHeader => "proxy_header",
        /// Nothing came, or not the whole preface of HTTP/2.
        FirstByteTimeout => "first_byte_timeout",
        /// A request head took too long.
        HeaderTimeout => "header_timeout",
        /// It stood too long between requests.
        IdleTimeout => "idle_timeout",
        /// It stood still, or was the oldest, while new ones waited for a place.
        Crowded => "crowded",
        /// The client did not read its answers.
        WriteTimeout => "write_timeout",
        /// The client did not answer a PING.
        PingTimeout => "ping_timeout",
        /// It has come to its greatest age.
        MaxAge => "max_age",
        /// It has had its greatest number of requests.
        MaxRequests => "max_requests",
        /// More of its refused requests than may wait for their answers did, or were given up.
        Refused => "refused",
        /// Its client sent frames of HTTP/2 without end, and hardly a request.
        FrameFlood => "frame_flood",
        /// The client broke the rules of HTTP.
        ProtocolError => "protocol_error",
        /// The connection broke.
        Broken => "broken",
    }
}

label_enum! {
    /// How the address of a request's client was found, as a metric label.
    AddressOutcome {
        /// The connection is not from a trusted proxy: it is the connection's.
        PeerNotTrusted => "peer_not_trusted",
        /// A trusted proxy named no client: it is the proxy's.
        NoHeader => "no_header",
        /// It is the first in the header that is no trusted proxy.
        NotTrusted => "not_trusted",
        /// Every address is a trusted proxy: it is the furthest.
        AllTrusted => "all_trusted",
        /// The next entry is not an address: it is that of the proxy that wrote it.
        Malformed => "malformed",
        /// The next entry hides the address: it is that of the proxy that wrote it.
        Hidden => "hidden",
        /// More proxies than are looked at: it is that of the last one looked at.
        TooManyHops => "too_many_hops",
    }
}

label_enum! {
    /// The kind of a finished TLS handshake, as a metric label.
    TlsHandshake {
        /// TLS 1.2, in full.
        Tls12 => "tls12",
        /// TLS 1.2, with a ticket.
        Tls12Resumed => "tls12_resumed",
        /// TLS 1.3, in full.
        Tls13 => "tls13",
        /// TLS 1.3, with a ticket.
        Tls13Resumed => "tls13_resumed",
    }
}

label_enum! {
    /// The version of HTTP, as a metric label.
    HttpVersion {
        /// HTTP/1.0.
        Http10 => "1.0",
        /// HTTP/1.1.
        Http11 => "1.1",
        /// HTTP/2.
        Http2 => "2",
    }
}

label_enum! {
    /// A stage of a request that is timed, as a metric label.
    RequestStage {
        /// What the head tells.
        Head => "head",
        /// The credential, and limits on its bearer.
        Credential => "credential",
        /// The body arrives.
        Body => "body",
        /// The body becomes events.
        Events => "events",
        /// Schema, guards and steps.
        Quality => "quality",
        /// Limits on events, and the hand-over.
        Commit => "commit",
        /// Until the events are as safe as asked.
        Ack => "ack",
        /// The answer.
        Answer => "answer",
    }
}

label_enum! {
    /// How far a stop is, as a metric label.
    DrainStage {
        /// There is none.
        Serving => "serving",
        /// `/readyz` says no, and all else is as it was.
        NotReady => "not_ready",
        /// No new connections; requests under way are answered.
        Closing => "closing",
        /// What is held is delivered.
        Delivering => "delivering",
    }
}

label_enum! {
    /// A kind of names from the configuration that stand in labels, as a metric label.
    NameKind {
        /// `[[limit]]`.
        Limit => "limit",
        /// `[[upstream]]`.
        Upstream => "upstream",
        /// Projects, of an upstream.
        Project => "project",
        /// `[[identity.jwt]]` with a URL.
        KeySet => "key_set",
        /// Files of certificates, of a listener each.
        Certificate => "certificate",
        /// Fields whose values a guard counts, of a logstore each.
        Field => "field",
    }
}

label_enum! {
    /// A bound that a node can come to, as a metric label.
    LoadPart {
        /// `limits.memory`.
        Memory => "memory",
        /// What the fullest logstore may hold now.
        Logstore => "logstore",
        /// Public connections.
        Connections => "connections",
        /// `overload.max_lag`.
        Lag => "lag",
    }
}
