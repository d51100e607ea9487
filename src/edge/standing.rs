//! The public listeners as they stand: bound, served, and changed by a reload.
//!
//! Promise: another configuration is taken over whole or not at all. What can fail (certificates, new
//! addresses) is made ready first. A listener that stays keeps its socket; one that is taken out accepts
//! nothing more, and its connections end with their next answer.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::room::Room;
use super::threads::Threads;
use super::tls::ListenerTls;
use super::way::{Post, Rules, Way, load_tls, same_tls};
use super::{BindError, EdgeError, Shared, Stop, accept, max_connections, socket};
use crate::config::{Config, Listener};
use crate::foundation::sockets::PassedSockets;
use crate::front::StandingFront;
use crate::telemetry::Metrics;

/// The public listeners, bound and not yet served: connections wait in the kernel's queues.
#[derive(Debug)]
pub struct Bound {
    config: Config,
    listeners: Vec<(Listener, Option<Arc<ListenerTls>>, TcpListener)>,
    descriptors: Option<u64>,
    threads: Threads,
}

impl Bound {
    /// Binds every public listener of the configuration. `descriptors` is the limit of file
    /// descriptors, if there is one. A socket that was passed for a listener is used instead.
    ///
    /// # Errors
    /// When an address is taken or not ours, a certificate cannot be used, or the system gives no
    /// threads; the error names it. Nothing listens then.
    pub fn bind(
        config: &Config,
        descriptors: Option<u64>,
        metrics: &Metrics,
        passed: &mut PassedSockets,
    ) -> Result<Self, EdgeError> {
        let ingest = &config.ingest;
        let mut listeners = Vec::new();
        for listener in ingest.all_listeners() {
            let tls = load_tls(&listener, metrics)?;
            let socket = socket::bind_public(ingest, &listener, passed)?;
            listeners.push((listener, tls, socket));
        }
        Ok(Self {
            config: config.clone(),
            listeners,
            descriptors,
            threads: Threads::start(ingest.threads).map_err(EdgeError::Threads)?,
        })
    }

    /// Accepts from now on, once [`Edge::serve`] runs.
    ///
    /// # Errors
    /// When a socket cannot be kept to be handed on.
    pub fn stand(
        self,
        front: Arc<StandingFront>,
        metrics: Arc<Metrics>,
        stop: Stop,
    ) -> Result<Edge, BindError> {
        let most = max_connections(&self.config, self.descriptors);
        metrics.edge.limit.set(most as u64);
        let shared = Arc::new(Shared {
            front,
            metrics,
            room: Room::new(most),
            crowd: Arc::default(),
            threads: self.threads,
            tasks: TaskTracker::new(),
        });
        let rules = Arc::new(Rules::new(&self.config.ingest, None));
        let edge = Edge {
            shared,
            stop,
            descriptors: self.descriptors,
            standing: Mutex::default(),
            rules: ArcSwap::new(Arc::clone(&rules)),
        };
        let mut standing = edge.standing();
        for (listener, tls, socket) in self.listeners {
            let taken = Socket::new(socket, &listener)?;
            standing.push(edge.listen(&self.config, listener, tls, taken, &rules));
        }
        drop(standing);
        Ok(edge)
    }
}

/// A listening socket, and a copy that is kept to be handed on.
#[derive(Debug)]
struct Socket {
    listening: TcpListener,
    copy: OwnedFd,
    address: SocketAddr,
}

impl Socket {
    fn new(listening: TcpListener, listener: &Listener) -> Result<Self, BindError> {
        let copy = listening.as_fd().try_clone_to_owned();
        let made = copy.and_then(|copy| Ok((listening.local_addr()?, copy)));
        let (address, copy) = made.map_err(|source| BindError {
            what: format!("clients (listener `{}`)", listener.name),
            address: listener.listen,
            source,
        })?;
        Ok(Self {
            listening,
            copy,
            address,
        })
    }
}

/// A listener that is served.
struct Standing {
    listener: Listener,
    address: SocketAddr,
    post: Arc<Post>,
    tls: Option<Arc<ListenerTls>>,
    /// Ends looking at the files of its TLS.
    fresh: CancellationToken,
    copy: OwnedFd,
}

/// The public listeners, while they are served.
pub struct Edge {
    shared: Arc<Shared>,
    stop: Stop,
    descriptors: Option<u64>,
    standing: Mutex<Vec<Standing>>,
    rules: ArcSwap<Rules>,
}

impl std::fmt::Debug for Edge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Edge")
            .field("addresses", &self.addresses())
            .finish_non_exhaustive()
    }
}

/// What another configuration needs of the public listeners.
#[derive(Debug)]
pub struct Prepared(Vec<Next>);

#[derive(Debug)]
struct Next {
    listener: Listener,
    tls: Option<Arc<ListenerTls>>,
    /// None: it stands where it did.
    socket: Option<Socket>,
    /// Whose socket that is: it has given its address up.
    handed_by: Option<String>,
    moves: bool,
}

impl Edge {
    /// The listeners by name, and where they listen, the first one first.
    #[must_use]
    pub fn addresses(&self) -> Vec<(String, SocketAddr)> {
        let standing = self.standing();
        let each = standing.iter();
        each.map(|it| (it.listener.name.clone(), it.address))
            .collect()
    }

    /// The listening sockets, by the names that they are passed on by. It keeps none of them.
    #[must_use]
    pub fn take_sockets(&self) -> Vec<(String, OwnedFd)> {
        let standing = std::mem::take(&mut *self.standing());
        let each = standing.into_iter();
        each.map(|it| {
            let name = socket::passed_name(&it.listener.name).to_owned();
            (name, it.copy)
        })
        .collect()
    }

    /// The runtimes that serve connections, a thread each.
    #[must_use]
    pub fn runtimes(&self) -> Vec<Handle> {
        self.shared.threads.handles()
    }

    /// Reads every certificate again.
    pub fn refresh_certificates(&self) {
        let all: Vec<_> = self
            .standing()
            .iter()
            .filter_map(|it| it.tls.clone())
            .collect();
        all.iter().for_each(|tls| tls.refresh(true));
    }

    /// Serves until it is told to stop, then returns when the last connection is done. Bound that
    /// wait with a timeout: a slow client can hold it.
    pub async fn serve(self: Arc<Self>) {
        self.stop.no_more.cancelled().await;
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }

    /// Makes ready what only reads files.
    ///
    /// # Errors
    /// When a certificate cannot be used.
    pub fn prepare(&self, config: &Config) -> Result<Prepared, EdgeError> {
        // Not held while files are read: a stop needs it.
        let known: Vec<_> = self
            .standing()
            .iter()
            .map(|it| (it.listener.clone(), it.tls.clone()))
            .collect();
        let mut all = Vec::new();
        for listener in config.ingest.all_listeners() {
            let before = known.iter().find(|(it, _)| it.name == listener.name);
            let tls = match before {
                Some((before, tls)) if same_tls(before, &listener) => tls.clone(),
                _ => load_tls(&listener, &self.shared.metrics)?,
            };
            let place = |it: &Listener| (it.listen, it.ipv6_only);
            let moves = before.is_none_or(|(it, _)| place(it) != place(&listener));
            all.push(Next {
                listener,
                tls,
                socket: None,
                handed_by: None,
                moves,
            });
        }
        Ok(Prepared(all))
    }

    /// Binds the addresses that are new; of one that another listener gives up, the socket is handed
    /// on, with the connections that wait in it. To be called in a runtime.
    ///
    /// # Errors
    /// When one is taken or not ours. Nothing listens there then.
    pub fn open(&self, config: &Config, prepared: &mut Prepared) -> Result<(), EdgeError> {
        let staying = prepared.0.iter().filter(|next| !next.moves);
        let staying: BTreeSet<String> = staying.map(|it| it.listener.name.clone()).collect();
        for next in prepared.0.iter_mut().filter(|next| next.moves) {
            let socket = match self.given_up(&staying, &next.listener)? {
                Some((name, socket)) => {
                    next.handed_by = Some(name);
                    socket
                }
                None => {
                    let mut none = PassedSockets::default();
                    socket::bind_public(&config.ingest, &next.listener, &mut none)?
                }
            };
            next.socket = Some(Socket::new(socket, &next.listener)?);
        }
        Ok(())
    }

    /// A socket at this very place, of a listener that does not stay there, and the name of that one.
    fn given_up(
        &self,
        staying: &BTreeSet<String>,
        wanted: &Listener,
    ) -> Result<Option<(String, TcpListener)>, BindError> {
        let standing = self.standing();
        let fits = |it: &&Standing| {
            it.address == wanted.listen
                && it.listener.ipv6_only == wanted.ipv6_only
                && !staying.contains(&it.listener.name)
        };
        let Some(before) = standing.iter().find(fits) else {
            return Ok(None);
        };
        let copy = before.copy.try_clone().map(std::net::TcpListener::from);
        let socket = copy.and_then(TcpListener::from_std);
        let socket = socket.map_err(|source| BindError {
            what: format!("clients (listener `{}`)", wanted.name),
            address: wanted.listen,
            source,
        })?;
        Ok(Some((before.listener.name.clone(), socket)))
    }

    /// Puts in force what was made ready. Nothing of it fails. To be called in a runtime.
    pub fn take_over(&self, config: &Config, prepared: Prepared) {
        let most = max_connections(config, self.descriptors);
        self.shared.room.resize(most);
        self.shared.metrics.edge.limit.set(most as u64);
        let rules = Arc::new(Rules::new(&config.ingest, Some(&self.rules.load())));
        self.rules.store(Arc::clone(&rules));
        let mut standing = self.standing();
        let mut before = std::mem::take(&mut *standing);
        // A socket that was bound anew at the address of another, beside it, is another queue.
        let handed = prepared.0.iter().filter_map(|it| it.handed_by.clone());
        let handed: BTreeSet<String> = handed.collect();
        for next in prepared.0 {
            let place = before
                .iter()
                .position(|it| it.listener.name == next.listener.name);
            let known = place.map(|place| before.remove(place));
            let (listener, tls) = (next.listener, next.tls);
            match (known, next.socket) {
                (Some(known), None) => {
                    standing.push(self.change(config, known, listener, tls, &rules));
                }
                (known, Some(socket)) => {
                    known.into_iter().for_each(|it| it.retire(&handed));
                    let (name, address) = (&listener.name, socket.address);
                    tracing::info!(listener = name, %address, "a listener takes connections");
                    standing.push(self.listen(config, listener, tls, socket, &rules));
                }
                (None, None) => debug_assert!(false, "a new listener was not bound"),
            }
        }
        before.into_iter().for_each(|it| it.retire(&handed));
    }

    /// A listener that stays where it is.
    fn change(
        &self,
        config: &Config,
        known: Standing,
        listener: Listener,
        tls: Option<Arc<ListenerTls>>,
        rules: &Arc<Rules>,
    ) -> Standing {
        let way = Way::new(config, &listener, tls.clone(), rules, &self.shared);
        known.post.way.store(Arc::new(way));
        let same = match (&known.tls, &tls) {
            (Some(before), Some(now)) => Arc::ptr_eq(before, now),
            (None, None) => true,
            _ => false,
        };
        let fresh = match same {
            true => known.fresh,
            false => {
                known.fresh.cancel();
                self.keep_fresh(tls.as_ref())
            }
        };
        Standing {
            listener,
            tls,
            fresh,
            ..known
        }
    }

    /// A new listener, which is served from now on.
    fn listen(
        &self,
        config: &Config,
        listener: Listener,
        tls: Option<Arc<ListenerTls>>,
        socket: Socket,
        rules: &Arc<Rules>,
    ) -> Standing {
        let way = Way::new(config, &listener, tls.clone(), rules, &self.shared);
        let post = Arc::new(Post {
            name: listener.name.clone(),
            way: ArcSwap::from_pointee(way),
            stop: self.stop.of_one(),
            retired: AtomicBool::new(false),
        });
        let accepting = accept::accept(
            socket.listening,
            Arc::clone(&post),
            Arc::clone(&self.shared),
        );
        self.shared.tasks.spawn(accepting);
        Standing {
            fresh: self.keep_fresh(tls.as_ref()),
            listener,
            address: socket.address,
            post,
            tls,
            copy: socket.copy,
        }
    }

    fn keep_fresh(&self, tls: Option<&Arc<ListenerTls>>) -> CancellationToken {
        let stop = self.stop.now.child_token();
        if let Some(tls) = tls {
            self.shared
                .tasks
                .spawn(Arc::clone(tls).keep_fresh(stop.clone()));
        }
        stop
    }

    fn standing(&self) -> MutexGuard<'_, Vec<Standing>> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Standing {
    /// It accepts nothing more, and its connections end with their next answer. Who waits at a socket
    /// that was handed on is for the listener that has it now.
    fn retire(self, handed: &BTreeSet<String>) {
        let (name, address) = (&self.listener.name, self.address);
        tracing::info!(listener = name, %address, "a listener was taken out; its connections end");
        let last = !handed.contains(name);
        self.post.retired.store(last, Ordering::Release);
        self.post.stop.no_more.cancel();
        self.fresh.cancel();
    }
}

/// The names of the listeners and files of certificates and authorities that a configuration uses.
#[must_use]
pub fn certificate_files(config: &Config, private: &str) -> BTreeSet<(String, String)> {
    let all = config.ingest.all_listeners();
    let public = all.iter().map(|it| (it.name.as_str(), &it.tls));
    let mut files = BTreeSet::new();
    for (name, tls) in public.chain([(private, &config.admin.tls)]) {
        let certificates = tls.certificates.iter().map(|it| &it.cert);
        for path in certificates.chain(&tls.client_ca) {
            files.insert((name.to_owned(), path.display().to_string()));
        }
    }
    files
}
