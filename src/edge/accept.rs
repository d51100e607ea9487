//! Takes connections: a permit first, then the connection, then a task for it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::OwnedSemaphorePermit;

use super::crowd;
use super::establish::establish;
use super::lifetime::{Lifetime, Protocol};
use super::prefixes::Slot;
use super::{Shared, Way, connection};
use crate::config::ProxyRole;
use crate::telemetry::{ConnectionEnd, Metrics};

/// Pause after a connection could not be accepted: without descriptors the next would fail as well.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts connections of one listener until it is told to stop.
pub(super) async fn accept(listener: TcpListener, way: Arc<Way>, shared: Arc<Shared>) {
    loop {
        let permit = tokio::select! {
            permit = permit(&shared) => permit,
            () = shared.stop.no_more.cancelled() => break,
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shared.stop.no_more.cancelled() => break,
        };
        match accepted {
            Ok((stream, address)) => {
                shared.metrics.edge.accepted.inc();
                let taken = Taken::new(&shared.metrics, permit);
                let slot = match slot(address.ip(), &way, &shared) {
                    Ok(slot) => slot,
                    Err(end) => {
                        taken.ended(end);
                        continue;
                    }
                };
                // From here on another runtime has it.
                let (Ok(stream), Some((runtime, counted))) =
                    (stream.into_std(), shared.threads.choose())
                else {
                    taken.ended(ConnectionEnd::Broken);
                    continue;
                };
                let (way, its) = (Arc::clone(&way), Arc::clone(&shared));
                // One block: a future that is moved into another takes its room twice.
                let connection = async move {
                    let _counted = counted;
                    let end = match TcpStream::from_std(stream) {
                        Ok(stream) => run(stream, address, slot, &way, &its).await,
                        Err(_) => ConnectionEnd::Broken,
                    };
                    taken.ended(end);
                };
                shared.tasks.spawn_on(connection, runtime);
            }
            Err(error) => {
                shared.metrics.edge.accept_errors.inc();
                tracing::debug!(listener = way.name, %error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// A place among the connections of the peer's network. Proxies in front, which bring the
/// connections of many clients, need none; who is behind a PROXY header gets one when it is read.
fn slot(peer: IpAddr, way: &Way, shared: &Shared) -> Result<Option<Slot>, ConnectionEnd> {
    let in_front = way.proxy_protocol.role(peer) == ProxyRole::LoadBalancer;
    if in_front || shared.proxies.trusts(peer) {
        return Ok(None);
    }
    shared.prefixes.enter(peer).map(Some)
}

async fn permit(shared: &Shared) -> Option<OwnedSemaphorePermit> {
    if let Ok(permit) = Arc::clone(&shared.connections).try_acquire_owned() {
        return Some(permit);
    }
    shared.metrics.edge.full.inc();
    let mut permit = std::pin::pin!(Arc::clone(&shared.connections).acquire_owned());
    loop {
        shared.crowd.make_room();
        // Who gives way takes a moment, and may have begun a request meanwhile: then another does.
        if let Ok(permit) = tokio::time::timeout(crowd::PACE, permit.as_mut()).await {
            return permit.ok();
        }
    }
}

/// A connection that counts as open.
struct Taken {
    metrics: Arc<Metrics>,
    end: ConnectionEnd,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Taken {
    fn new(metrics: &Arc<Metrics>, permit: Option<OwnedSemaphorePermit>) -> Self {
        metrics.edge.open.add(1);
        Self {
            metrics: Arc::clone(metrics),
            end: ConnectionEnd::Stopped,
            _permit: permit,
        }
    }

    fn ended(mut self, end: ConnectionEnd) {
        self.end = end;
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.metrics.edge.open.sub(1);
        self.metrics.edge.ended.at(self.end as usize).inc();
    }
}

async fn run(
    stream: TcpStream,
    address: SocketAddr,
    slot: Option<Slot>,
    way: &Way,
    shared: &Arc<Shared>,
) -> ConnectionEnd {
    let ready = {
        // Until HTTP begins it counts as silent.
        let life = Arc::new(Lifetime::new(Protocol::Http1, shared.bounds.life));
        let _entry = shared.crowd.enter(&life);
        // Boxed: the connection would carry the room of its handshake for as long as it lives.
        let steps = Box::pin(async {
            let established = establish(stream, address, slot, way, shared).await?;
            connection::choose_protocol(established, way, shared).await
        });
        tokio::select! {
            biased;
            ready = steps => ready,
            () = life.asked_to_go() => Err(ConnectionEnd::Crowded),
        }
    };
    match ready {
        Ok(established) => connection::serve(established, way, shared).await,
        Err(end) => end,
    }
}
