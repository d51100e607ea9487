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
        /// `POST /api/v1/quarantine/replay`.
        ReplayQuarantine => "replay_quarantine",
        /// `POST /api/v1/quarantine/purge`.
        PurgeQuarantine => "purge_quarantine",
        /// `GET /api/v1/books`.
        ReadBooks => "read_books",
        /// `GET /api/v1/sample`.
        ReadSample => "read_sample",
        /// `POST /api/v1/revocations`.
        Revoke => "revoke",
        /// `GET /api/v1/revocations`.
        ListRevocations => "list_revocations",
        /// `DELETE /api/v1/revocations/{kind}/{value}`.
        LiftRevocation => "lift_revocation",
        /// `POST /api/v1/identity/reload`.
        Reload => "reload",
        /// `GET /api/v1/limits`.
        ListLimits => "list_limits",
        /// `GET /api/v1/limits/{name}`.
        ShowLimit => "show_limit",
        /// `POST /api/v1/limits/{name}/overrides`.
        AddOverride => "add_override",
        /// `DELETE /api/v1/limits/{name}/overrides/{key}`.
        LiftOverride => "lift_override",
        /// Anything else below `/api/`.
        Unknown => "unknown",
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
