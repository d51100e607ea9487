//! `tollgate explain-ip`: whose address a request counts as, and why.
//!
//! Asks the same functions as a listener does; nothing is sent anywhere.

use std::net::IpAddr;
use std::str::FromStr;

use clap::Args;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};

use super::form::{Form, FormArgs};
use super::source::ConfigSource;
use super::{Exit, Failure, output};
use crate::config::{Config, Listener, MAIN_LISTENER, ProxyRole};
use crate::foundation::client_address::{Client, ProxyRules, SchemeSource, Unusable, trace};

const EXAMPLES: &str = "\
Examples:
  tollgate explain-ip --config tollgate.toml --peer 10.0.0.7 \\
      --header 'X-Forwarded-For: 203.0.113.9, 198.51.100.7'
      who a request is from that a load balancer at 10.0.0.7 passed on
  tollgate explain-ip --config tollgate.toml --peer 10.0.0.7 --proxy 198.51.100.7
      who a connection is from whose PROXY header names 198.51.100.7

Exit codes: 0 told, 1 the connection is closed by the rules of the PROXY protocol, 2 the command line
is wrong, 78 the configuration is.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ExplainIpArgs {
    #[command(flatten)]
    source: ConfigSource,
    /// Address that the connection is from.
    #[arg(long, value_name = "ADDRESS")]
    peer: IpAddr,
    /// Source address in the connection's PROXY header; `local` for a header that names none.
    #[arg(long, value_name = "ADDRESS|local")]
    proxy: Option<ProxySource>,
    /// Header of the request, as `Name: value`; may be given again, in the order of the request.
    #[arg(long = "header", value_name = "HEADER")]
    headers: Vec<Header>,
    /// Name of the listener.
    #[arg(long, default_value = MAIN_LISTENER)]
    listener: String,
    #[command(flatten)]
    form: FormArgs,
}

/// What a PROXY header names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ProxySource {
    Local,
    Address(IpAddr),
}

impl FromStr for ProxySource {
    type Err = std::net::AddrParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "local" {
            return Ok(Self::Local);
        }
        text.parse().map(Self::Address)
    }
}

#[derive(Clone, Debug)]
struct Header(HeaderName, HeaderValue);

impl FromStr for Header {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || "a header is written as `Name: value`".to_owned();
        let (name, value) = text.split_once(':').ok_or_else(bad)?;
        let name = name.parse().map_err(|_| bad())?;
        let value = HeaderValue::from_bytes(value.trim().as_bytes()).map_err(|_| bad())?;
        Ok(Self(name, value))
    }
}

/// What was found.
struct Explained<'a> {
    args: &'a ExplainIpArgs,
    role: ProxyRole,
    rules: &'a ProxyRules,
    outcome: Result<Decided, &'static str>,
}

/// The decision for a connection that is served.
struct Decided {
    /// Who the connection is from, after its PROXY header.
    connection: IpAddr,
    hops: Vec<HopTold>,
    client: Client,
}

struct HopTold {
    text: String,
    found: Result<IpAddr, Unusable>,
    trusted: bool,
}

pub(super) fn run(args: &ExplainIpArgs) -> Result<Exit, Failure> {
    let config = args.source.load()?;
    let listener = listener(&config, &args.listener)?;
    let role = listener.proxy_protocol.role(args.peer);
    let rules = config.ingest.trusted_proxies.rules();
    let outcome = connection(args, role).map(|connection| decide(args, connection, &rules));
    let explained = Explained {
        args,
        role,
        rules: &rules,
        outcome,
    };
    match args.form.output {
        Form::Text => explained.text()?,
        Form::Json => output::line(explained.json())?,
    }
    Ok(match explained.outcome {
        Ok(_) => Exit::Success,
        Err(_) => Exit::Partial,
    })
}

fn listener(config: &Config, name: &str) -> Result<Listener, Failure> {
    let mut listeners = config.ingest.all_listeners();
    let names: Vec<String> = listeners.iter().map(|l| format!("`{}`", l.name)).collect();
    let index = listeners.iter().position(|listener| listener.name == name);
    match index {
        Some(index) => Ok(listeners.swap_remove(index)),
        None => {
            let message = format!(
                "there is no listener `{}`; there is {}",
                output::escape(name),
                names.join(", ")
            );
            Err(Failure::new(Exit::Config, message))
        }
    }
}

/// Who the connection is from, or why it is closed.
fn connection(args: &ExplainIpArgs, role: ProxyRole) -> Result<IpAddr, &'static str> {
    let peer = args.peer.to_canonical();
    match (role, args.proxy) {
        (ProxyRole::Refused, _) => {
            Err("the listener speaks the PROXY protocol, and this peer is not trusted to")
        }
        (ProxyRole::LoadBalancer, None) => {
            Err("a trusted load balancer has to begin with a PROXY header (--proxy)")
        }
        (ProxyRole::NotSpoken | ProxyRole::Direct, Some(_)) => {
            Err("no PROXY header is taken from this peer; it is no request either")
        }
        (ProxyRole::LoadBalancer, Some(ProxySource::Address(address))) => {
            Ok(address.to_canonical())
        }
        (ProxyRole::LoadBalancer, Some(ProxySource::Local)) => Ok(peer),
        (ProxyRole::NotSpoken | ProxyRole::Direct, None) => Ok(peer),
    }
}

fn decide(args: &ExplainIpArgs, connection: IpAddr, rules: &ProxyRules) -> Decided {
    let mut headers = HeaderMap::new();
    for Header(name, value) in &args.headers {
        headers.append(name.clone(), value.clone());
    }
    let mut hops = Vec::new();
    let client = trace(connection, &headers, rules, |hop| {
        hops.push(HopTold {
            text: output::escape(&String::from_utf8_lossy(hop.text)),
            found: hop.found,
            trusted: hop.trusted,
        });
    });
    Decided {
        connection,
        hops,
        client,
    }
}

/// What the PROXY protocol asks of the peer, in words and for programs.
fn role_words(role: ProxyRole) -> (&'static str, &'static str) {
    match role {
        ProxyRole::NotSpoken => (
            "not_spoken",
            "the listener does not speak the PROXY protocol",
        ),
        ProxyRole::LoadBalancer => ("load_balancer", "a trusted load balancer"),
        ProxyRole::Direct => ("direct", "not a load balancer; served as the client it is"),
        ProxyRole::Refused => ("refused", "not a trusted load balancer"),
    }
}

fn fault_word(fault: Unusable) -> &'static str {
    match fault {
        Unusable::Malformed => "malformed",
        Unusable::Hidden => "hidden",
    }
}

/// The word for an address and whether it is a trusted proxy.
fn trust_words(trusted: bool) -> &'static str {
    if trusted {
        "a trusted proxy"
    } else {
        "not a trusted proxy"
    }
}

impl Explained<'_> {
    fn text(&self) -> Result<(), Failure> {
        let row = |what: &str, value: &str, note: &str| {
            output::line(format!("{what:<16} {value:<24} {note}").trim_end())
        };
        row("peer", &self.args.peer.to_string(), role_words(self.role).1)?;
        let decided = match &self.outcome {
            Ok(decided) => decided,
            Err(why) => return output::line(format_args!("\nclosed: {why}.")),
        };
        let note = trust_words(self.rules.trusts(decided.connection));
        match self.args.proxy {
            Some(ProxySource::Local) => row("PROXY header", "names nobody", "")?,
            Some(ProxySource::Address(address)) => {
                row("PROXY header", &address.to_string(), "the client of that")?;
            }
            None => {}
        }
        row("connection", &decided.connection.to_string(), note)?;
        let name = self.rules.header.name();
        for hop in &decided.hops {
            let note = match hop.found {
                Ok(_) => trust_words(hop.trusted),
                Err(Unusable::Malformed) => "not an address",
                Err(Unusable::Hidden) => "hides the address",
            };
            row(name.as_str(), &hop.text, note)?;
        }
        let client = decided.client;
        output::line(format_args!(
            "\nclient: {}\nbecause: {}.",
            client.address,
            client.ended.meaning()
        ))?;
        output::line(match (self.rules.scheme, client.secure) {
            (SchemeSource::Header, Some(true)) => "TLS: yes, as the proxy says.",
            (SchemeSource::Header, Some(false)) => "TLS: no, as the proxy says.",
            (SchemeSource::Header, None) => "TLS: as the connection to Tollgate is.",
            (SchemeSource::None, _) => {
                "TLS: as the connection to Tollgate is; no proxy is asked (trusted_proxies.scheme)."
            }
        })
    }

    fn json(&self) -> Value {
        let mut json = json!({
            "listener": self.args.listener,
            "peer": self.args.peer,
            "proxyProtocol": role_words(self.role).0,
        });
        let decided = match &self.outcome {
            Ok(decided) => decided,
            Err(why) => {
                merge(&mut json, json!({ "closed": why }));
                return json;
            }
        };
        let hop = |hop: &HopTold| match hop.found {
            Ok(address) => json!({
                "entry": hop.text, "address": address, "trusted": hop.trusted,
            }),
            Err(fault) => json!({ "entry": hop.text, "fault": fault_word(fault) }),
        };
        let client = decided.client;
        let more = json!({
            "connection": decided.connection,
            "connectionTrusted": self.rules.trusts(decided.connection),
            "header": self.rules.header.name().as_str(),
            "hops": decided.hops.iter().map(hop).collect::<Vec<_>>(),
            "client": client.address,
            "reason": client.ended.label(),
            "meaning": client.ended.meaning(),
            "scheme": self.rules.scheme,
            "secure": client.secure,
        });
        merge(&mut json, more);
        json
    }
}

/// Adds the members of one object to another.
fn merge(json: &mut Value, more: Value) {
    if let (Value::Object(json), Value::Object(more)) = (json, more) {
        json.extend(more);
    }
}
