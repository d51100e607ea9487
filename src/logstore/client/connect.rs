//! Getting a connection to the store: where to dial, and what to trust.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::Uri;
use http::uri::{Authority, Scheme};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::{
    CaptureConnection, Connected, Connection, HttpConnector,
};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tokio::net::TcpStream;
use tower_service::Service;

use super::StoreClientError;
use crate::foundation::names::ProjectName;

/// The endpoint without a project: scheme, host and port.
#[derive(Clone, Debug)]
pub(super) struct Base {
    scheme: Scheme,
    authority: Authority,
    ip: Option<IpAddr>,
}

impl Base {
    pub(super) fn parse(text: &str) -> Result<Self, StoreClientError> {
        let bad = || StoreClientError::Endpoint(text.to_owned());
        let uri: Uri = text.parse().map_err(|_| bad())?;
        let parts = uri.into_parts();
        let scheme = parts
            .scheme
            .filter(|it| *it == Scheme::HTTP || *it == Scheme::HTTPS);
        let authority = parts.authority.filter(|it| !it.as_str().contains('@'));
        let (Some(scheme), Some(authority)) = (scheme, authority) else {
            return Err(bad());
        };
        if parts.path_and_query.is_some_and(|path| path != "/") {
            return Err(bad());
        }
        // A project stands in front of the host, and nothing can stand in front of `[::1]`.
        let ip = authority.host().parse::<Ipv4Addr>().ok().map(IpAddr::V4);
        if authority.host().is_empty() || authority.host().starts_with('[') {
            return Err(bad());
        }
        Ok(Self {
            scheme,
            authority,
            ip,
        })
    }

    /// What `Host` says.
    pub(super) fn host(&self, project: &ProjectName) -> String {
        format!("{project}.{}", self.authority)
    }

    /// What is connected to, and what a certificate must name. An address takes no project.
    pub(super) fn url(&self, project: &ProjectName, path_and_query: &str) -> String {
        match self.ip {
            Some(_) => format!("{}://{}{path_and_query}", self.scheme, self.authority),
            None => format!("{}://{}{path_and_query}", self.scheme, self.host(project)),
        }
    }

    fn is_https(&self) -> bool {
        self.scheme == Scheme::HTTPS
    }

    /// The addresses to dial when no name has to be looked up. Names under `localhost` are the
    /// loopback (RFC 6761), which system resolvers do not all know.
    fn fixed_addresses(&self, address: Option<SocketAddr>) -> Vec<SocketAddr> {
        if let Some(address) = address {
            return vec![address];
        }
        let default_port = if self.is_https() { 443 } else { 80 };
        let port = self.authority.port_u16().unwrap_or(default_port);
        let host = self.authority.host().to_ascii_lowercase();
        let loopback = host == "localhost" || host.ends_with(".localhost");
        match self.ip {
            Some(ip) => vec![SocketAddr::new(ip, port)],
            None if loopback => vec![
                SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
                SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, port)),
            ],
            None => Vec::new(),
        }
    }
}

/// Makes the connector for an endpoint. With `https` in the endpoint it refuses to connect without
/// TLS, whatever happens. A connection takes at most `timeout`, TLS included.
pub(super) fn connector(
    base: &Base,
    address: Option<SocketAddr>,
    ca_file: Option<&Path>,
    timeout: Duration,
) -> Result<Connector, StoreClientError> {
    let mut by_name = HttpConnector::new();
    by_name.enforce_http(false);
    by_name.set_nodelay(true);
    by_name.set_connect_timeout(Some(timeout));
    let dial = Dial {
        fixed: base.fixed_addresses(address).into(),
        by_name,
    };
    let builder = HttpsConnectorBuilder::new().with_tls_config(tls_config(ca_file)?);
    let builder = if base.is_https() {
        builder.https_only()
    } else {
        builder.https_or_http()
    };
    Ok(Connector {
        secured: builder.enable_http1().wrap_connector(dial),
        timeout,
    })
}

/// TLS towards a server whose certificate is signed by an authority of `ca_file`, or by a public one.
///
/// # Errors
/// When the file cannot be read.
pub fn tls_config(ca_file: Option<&Path>) -> Result<ClientConfig, StoreClientError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(StoreClientError::Tls)?;
    let builder = match ca_file {
        None => builder.with_webpki_roots(),
        Some(path) => builder.with_root_certificates(read_roots(path)?),
    };
    Ok(builder.with_no_client_auth())
}

fn read_roots(path: &Path) -> Result<RootCertStore, StoreClientError> {
    let failed = |reason: String| StoreClientError::CaFile {
        path: path.to_owned(),
        reason,
    };
    let mut roots = RootCertStore::empty();
    let certificates =
        CertificateDer::pem_file_iter(path).map_err(|error| failed(error.to_string()))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| failed(error.to_string()))?;
        roots
            .add(certificate)
            .map_err(|error| failed(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(failed("it holds no certificate".to_owned()));
    }
    Ok(roots)
}

type Failed = Box<dyn std::error::Error + Send + Sync>;
type Pending<T> = Pin<Box<dyn Future<Output = Result<T, Failed>> + Send>>;

/// Makes connections, within a time.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    secured: HttpsConnector<Dial>,
    timeout: Duration,
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<Dialled>;
    type Error = Failed;
    type Future = Pending<Self::Response>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        self.secured.poll_ready(context)
    }

    fn call(&mut self, url: Uri) -> Self::Future {
        let connecting = tokio::time::timeout(self.timeout, self.secured.call(url));
        let timeout = self.timeout;
        Box::pin(async move {
            connecting.await.unwrap_or_else(|_| {
                let message = format!("no connection within {} ms", timeout.as_millis());
                Err(io::Error::new(io::ErrorKind::TimedOut, message).into())
            })
        })
    }
}

/// Dials fixed addresses, one after another, or else the host of the URL by name, which is looked up
/// for each connection.
#[derive(Clone, Debug)]
pub(super) struct Dial {
    fixed: Arc<[SocketAddr]>,
    by_name: HttpConnector,
}

impl Service<Uri> for Dial {
    type Response = Dialled;
    type Error = Failed;
    type Future = Pending<Dialled>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        self.by_name.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, url: Uri) -> Self::Future {
        if self.fixed.is_empty() {
            let connecting = self.by_name.call(url);
            return Box::pin(async move { Ok(Dialled::new(connecting.await?)) });
        }
        let addresses = Arc::clone(&self.fixed);
        Box::pin(async move { Ok(Dialled::new(TokioIo::new(dial_first(&addresses).await?))) })
    }
}

/// A connection, which knows how old and how used it is.
#[derive(Debug)]
pub(super) struct Dialled {
    stream: TokioIo<TcpStream>,
    use_: Arc<Use>,
}

/// How a connection was used.
#[derive(Debug)]
pub(super) struct Use {
    since: Instant,
    requests: AtomicU32,
}

impl Use {
    /// Counts a request on the connection that was captured. Whether it had carried others before;
    /// one that is as old as `age` is not used for a further one.
    pub(super) fn count(captured: &CaptureConnection, age: Duration) -> bool {
        let connection = captured.connection_metadata();
        let Some(connected) = connection.as_ref() else {
            return false;
        };
        let mut facts = http::Extensions::new();
        connected.get_extras(&mut facts);
        let Some(use_) = facts.get::<Arc<Self>>() else {
            return false;
        };
        if use_.since.elapsed() >= age {
            connected.poison();
        }
        use_.requests.fetch_add(1, Ordering::Relaxed) > 0
    }
}

impl Dialled {
    fn new(stream: TokioIo<TcpStream>) -> Self {
        let use_ = Use {
            since: Instant::now(),
            requests: AtomicU32::new(0),
        };
        Self {
            stream,
            use_: Arc::new(use_),
        }
    }
}

impl Connection for Dialled {
    fn connected(&self) -> Connected {
        self.stream
            .inner()
            .connected()
            .extra(Arc::clone(&self.use_))
    }
}

impl Read for Dialled {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl Write for Dialled {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, pieces)
    }
}

async fn dial_first(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(text: &str) -> Base {
        Base::parse(text).unwrap()
    }

    #[test]
    fn a_project_stands_in_front_of_a_name_but_not_of_an_address_to_dial() {
        let project = ProjectName::new("demo").unwrap();
        for (text, host, url) in [
            (
                "https://cn-hangzhou.log.aliyuncs.com",
                "demo.cn-hangzhou.log.aliyuncs.com",
                "https://demo.cn-hangzhou.log.aliyuncs.com/x",
            ),
            (
                "http://localhost:8080/",
                "demo.localhost:8080",
                "http://demo.localhost:8080/x",
            ),
            (
                "http://127.0.0.1:8080",
                "demo.127.0.0.1:8080",
                "http://127.0.0.1:8080/x",
            ),
        ] {
            assert_eq!(base(text).host(&project), host);
            assert_eq!(base(text).url(&project, "/x"), url);
        }
    }

    #[test]
    fn names_under_localhost_and_given_addresses_need_no_resolver() {
        let fixed = |text: &str, address| base(text).fixed_addresses(address);
        let text = |addresses: Vec<SocketAddr>| {
            let texts: Vec<_> = addresses.iter().map(ToString::to_string).collect();
            texts.join(" ")
        };
        let given = Some(SocketAddr::from(([10, 0, 0, 1], 81)));
        assert_eq!(text(fixed("http://example.com:9", given)), "10.0.0.1:81");
        assert_eq!(text(fixed("http://10.0.0.2", None)), "10.0.0.2:80");
        assert_eq!(text(fixed("https://10.0.0.2", None)), "10.0.0.2:443");
        for host in ["localhost", "store.localhost", "LOCALHOST"] {
            let url = format!("http://{host}:8080");
            assert_eq!(text(fixed(&url, None)), "127.0.0.1:8080 [::1]:8080");
        }
        for host in ["example.com", "notlocalhost", "localhost.example.com"] {
            assert_eq!(text(fixed(&format!("http://{host}"), None)), "");
        }
    }

    #[test]
    fn what_is_not_an_endpoint_is_refused() {
        for bad in [
            "",
            "cn-hangzhou.log.aliyuncs.com",
            "ftp://example.com",
            "http://",
            "http://user@example.com",
            "http://example.com/logstores",
            "http://example.com/?a=b",
            "http://[::1]:8080",
            "http://exa mple.com",
        ] {
            assert!(Base::parse(bad).is_err(), "{bad}");
        }
    }
}
