//! How many connections each peer has, for a listener that one of them must not have to itself.
//!
//! Promise: the table has no more entries than there are connections. Loopback is not bound: what comes
//! from there is on this machine.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The connections of each peer.
pub struct Peers {
    most: u32,
    table: Mutex<BTreeMap<IpAddr, u32>>,
    refused: Box<dyn Fn() + Send + Sync>,
}

impl fmt::Debug for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Peers({} each)", self.most)
    }
}

/// A connection of a peer, until it is dropped.
#[derive(Debug)]
pub struct PeerPlace {
    /// None for loopback.
    counted: Option<(Arc<Peers>, IpAddr)>,
}

impl Peers {
    /// Nobody yet; each peer may have `most` connections. `refused` is told of one that has them.
    pub fn new(most: u32, refused: impl Fn() + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            most,
            table: Mutex::default(),
            refused: Box::new(refused),
        })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<IpAddr, u32>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for one more connection, if its peer may have one.
    #[must_use]
    pub fn place(self: &Arc<Self>, peer: IpAddr) -> Option<PeerPlace> {
        if peer.to_canonical().is_loopback() {
            return Some(PeerPlace { counted: None });
        }
        let sender = sender_of(peer);
        let mut table = self.lock();
        let count = table.entry(sender).or_insert(0);
        if *count >= self.most {
            drop(table);
            (self.refused)();
            return None;
        }
        *count += 1;
        drop(table);
        Some(PeerPlace {
            counted: Some((Arc::clone(self), sender)),
        })
    }
}

impl Drop for PeerPlace {
    fn drop(&mut self) {
        let Some((peers, sender)) = &self.counted else {
            return;
        };
        let mut table = peers.lock();
        if let Some(count) = table.get_mut(sender) {
            *count -= 1;
            if *count == 0 {
                table.remove(sender);
            }
        }
    }
}

/// Who an address is counted as: itself, and for IPv6 its /64, since whoever has one has them all.
#[must_use]
pub fn sender_of(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => {
            let network = address.to_bits() & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from_bits(network))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use bytes::Bytes;
    use http::Response;
    use http_body_util::Full;
    use hyper::service::service_fn;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};
    use tokio_util::sync::CancellationToken;
    use tokio_util::task::TaskTracker;

    use super::*;
    use crate::foundation::serve::{Connected, ServeOptions, serve};

    #[test]
    fn a_peer_has_so_many_and_others_have_theirs() {
        let refused = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&refused);
        let peers = Peers::new(2, move || {
            count.fetch_add(1, Ordering::Relaxed);
        });
        let from = |address: &str| peers.place(address.parse().unwrap());
        let first = from("192.0.2.1").unwrap();
        let _second = from("::ffff:192.0.2.1").unwrap();
        assert!(from("192.0.2.1").is_none(), "the same by another name");
        let _other = from("192.0.2.2").unwrap();
        drop(first);
        let _again = from("192.0.2.1").unwrap();
        let networks = [from("2001:db8::1").unwrap(), from("2001:db8::2").unwrap()];
        assert!(from("2001:db8::3").is_none());
        assert_eq!(refused.load(Ordering::Relaxed), 2);
        drop(networks);
        assert_eq!(peers.lock().len(), 2, "what has none is forgotten");
        let own: Vec<_> = (0..10).map(|_| from("127.0.0.1").unwrap()).collect();
        assert_eq!((own.len(), peers.lock().len()), (10, 2));
    }

    /// An address of this machine that is not loopback, if it has one. Nothing is sent.
    fn own_address() -> Option<IpAddr> {
        let socket = std::net::UdpSocket::bind("0.0.0.0:0").ok()?;
        socket.connect("192.0.2.1:9").ok()?;
        let address = socket.local_addr().ok()?.ip();
        (!address.is_loopback() && !address.is_unspecified()).then_some(address)
    }

    #[tokio::test]
    async fn a_listener_closes_what_one_peer_has_too_much() {
        let Some(address) = own_address() else {
            return; // a machine without a network has no peers but itself
        };
        let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let options = ServeOptions {
            max_connections: 8,
            header_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(10),
            max_header: 8192,
            peers: Some(Peers::new(2, || {})),
        };
        let stop = CancellationToken::new();
        let service = |_: Connected| {
            service_fn(|_| async {
                let body = Full::new(Bytes::from_static(b"served"));
                Ok::<_, Infallible>(Response::new(body))
            })
        };
        let tasks = TaskTracker::new();
        tasks.spawn(serve(listener, options, None, service, stop.clone()));
        let ask = async |from: &str| {
            let mut stream = TcpStream::connect((from, port)).await.unwrap();
            let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
            // It may be closed by now.
            drop(stream.write_all(head).await);
            let mut answer = [0; 1024];
            let read = stream.read(&mut answer).await.unwrap_or(0);
            (read > 0).then_some(stream)
        };
        let own = address.to_string();
        let first = ask(&own).await.unwrap();
        let _second = ask(&own).await.unwrap();
        assert!(ask(&own).await.is_none());
        for _ in 0..4 {
            assert!(ask("127.0.0.1").await.is_some(), "probes have room");
        }
        drop(first);
        let mut again = ask(&own).await;
        while again.is_none() {
            tokio::time::sleep(Duration::from_millis(10)).await;
            again = ask(&own).await;
        }
        stop.cancel();
    }
}
