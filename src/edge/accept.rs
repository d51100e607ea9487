//! Takes connections: a permit first, then the connection, then a task for it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

use super::crowd;
use super::establish::establish;
use super::lifetime::{Lifetime, Protocol};
use super::prefixes::Slot;
use super::room::Place;
use super::way::{Post, Way};
use super::{Shared, connection};
use crate::config::ProxyRole;
use crate::telemetry::{ConnectionEnd, Metrics};

/// Pause after a connection could not be accepted: without descriptors the next would fail as well.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts connections of one listener until it is told to stop.
pub(super) async fn accept(listener: TcpListener, post: Arc<Post>, shared: Arc<Shared>) {
    loop {
        let place = tokio::select! {
            place = place(&shared) => place,
            () = post.stop.no_more.cancelled() => break,
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = post.stop.no_more.cancelled() => break,
        };
        match accepted {
            Ok((stream, address)) => take(stream, address, place, &post, &shared),
            Err(error) => {
                shared.metrics.edge.accept_errors.inc();
                tracing::debug!(listener = post.name, %error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    // A listener that is taken out while the others stay: who has come to it is still heard, as far as
    // there is room.
    if !post.retired.load(Ordering::Acquire) {
        return;
    }
    // Asked of the socket itself: the runtime may not know of the last ones yet.
    let Ok(listener) = listener.into_std() else {
        return;
    };
    while let Some(place) = shared.room.try_enter()
        && let Ok((stream, address)) = listener.accept()
    {
        shared.metrics.edge.accepted.inc();
        let taken = Taken::new(&shared.metrics, Some(place));
        match stream.set_nonblocking(true) {
            Ok(()) => serve(stream, address, taken, &post, &shared),
            Err(_) => taken.ended(ConnectionEnd::Broken),
        }
    }
}

fn take(
    stream: TcpStream,
    address: SocketAddr,
    place: Option<Place>,
    post: &Arc<Post>,
    shared: &Arc<Shared>,
) {
    shared.metrics.edge.accepted.inc();
    let taken = Taken::new(&shared.metrics, place);
    // From here on another runtime has it.
    match stream.into_std() {
        Ok(stream) => serve(stream, address, taken, post, shared),
        Err(_) => taken.ended(ConnectionEnd::Broken),
    }
}

fn serve(
    stream: std::net::TcpStream,
    address: SocketAddr,
    taken: Taken,
    post: &Arc<Post>,
    shared: &Arc<Shared>,
) {
    let way = post.way.load_full();
    let slot = match slot(address.ip(), &way) {
        Ok(slot) => slot,
        Err(end) => return taken.ended(end),
    };
    let Some((runtime, counted)) = shared.threads.choose() else {
        return taken.ended(ConnectionEnd::Broken);
    };
    let post = Arc::clone(post);
    // One block: a future that is moved into another takes its room twice.
    let connection = async move {
        let _counted = counted;
        let end = match TcpStream::from_std(stream) {
            Ok(stream) => run(stream, address, slot, &way, &post).await,
            Err(_) => ConnectionEnd::Broken,
        };
        taken.ended(end);
    };
    shared.tasks.spawn_on(connection, runtime);
}

/// A place among the connections of the peer's network. Proxies in front, which bring the
/// connections of many clients, need none; who is behind a PROXY header gets one when it is read.
fn slot(peer: IpAddr, way: &Way) -> Result<Option<Slot>, ConnectionEnd> {
    let in_front = way.proxy_protocol.role(peer) == ProxyRole::LoadBalancer;
    if in_front || way.rules.proxies.trusts(peer) {
        return Ok(None);
    }
    way.rules.prefixes.enter(peer).map(Some)
}

async fn place(shared: &Shared) -> Option<Place> {
    if let Some(place) = shared.room.try_enter() {
        return Some(place);
    }
    shared.metrics.edge.full.inc();
    let mut place = std::pin::pin!(shared.room.enter());
    loop {
        shared.crowd.make_room();
        // Who gives way takes a moment, and may have begun a request meanwhile: then another does.
        if let Ok(place) = tokio::time::timeout(crowd::PACE, place.as_mut()).await {
            return place;
        }
    }
}

/// A connection that counts as open.
struct Taken {
    metrics: Arc<Metrics>,
    end: ConnectionEnd,
    _place: Option<Place>,
}

impl Taken {
    fn new(metrics: &Arc<Metrics>, place: Option<Place>) -> Self {
        metrics.edge.open.add(1);
        Self {
            metrics: Arc::clone(metrics),
            end: ConnectionEnd::Stopped,
            _place: place,
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
    post: &Arc<Post>,
) -> ConnectionEnd {
    let ready = {
        // Until HTTP begins it counts as silent.
        let life = Arc::new(Lifetime::new(Protocol::Http1, way.rules.bounds.life));
        let _entry = way.shared.crowd.enter(&life);
        // Boxed: the connection would carry the room of its handshake for as long as it lives.
        let steps = Box::pin(async {
            let established = establish(stream, address, slot, way, post).await?;
            connection::choose_protocol(established, way, post).await
        });
        tokio::select! {
            biased;
            ready = steps => ready,
            () = life.asked_to_go() => Err(ConnectionEnd::Crowded),
        }
    };
    match ready {
        Ok(established) => connection::serve(established, way, post).await,
        Err(end) => end,
    }
}
