//! The ports: free, or in use by whom.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use socket2::{Domain, Protocol, Socket, Type};

use super::finding::Findings;
use crate::config::{Config, UpstreamKind};

/// Looks at every address that a node would listen at. `runs` says that one does.
pub(super) fn look(config: &Config, runs: bool, findings: &mut Findings) {
    let listeners = config.ingest.all_listeners().into_iter();
    let mut all: Vec<(String, SocketAddr)> = listeners
        .map(|it| (format!("ingest `{}`", it.name), it.listen))
        .collect();
    all.push(("admin".to_owned(), config.admin.listen));
    let mut kinds = config.upstreams.iter().map(|upstream| upstream.kind);
    if kinds.any(|kind| kind == UpstreamKind::Embedded) {
        all.push(("embedded".to_owned(), config.embedded.listen));
    }
    for (name, address) in all {
        let subject = format!("{name} at {address}");
        match free(address) {
            Ok(()) if runs => findings.warn(
                "port",
                &subject,
                "free, although a node runs",
                "the node was started with other addresses, or another configuration; look at the lines that it prints at start",
            ),
            Ok(()) => findings.ok("port", &subject, "free"),
            Err(error) => taken(&subject, address, runs, &error, findings),
        }
    }
}

fn taken(
    subject: &str,
    address: SocketAddr,
    runs: bool,
    error: &std::io::Error,
    findings: &mut Findings,
) {
    match error.kind() {
        ErrorKind::AddrInUse => {
            let holder = holder(address);
            let ours = |holder: &Holder| {
                (runs && holder.name == "tollgate") || (holder.pid == 1 && holder.name == "systemd")
            };
            match holder {
                Some(holder) if ours(&holder) => {
                    let told = format!("in use by {} (process {})", holder.name, holder.pid);
                    findings.ok("port", subject, told);
                }
                Some(holder) => findings.fail(
                    "port",
                    subject,
                    format!("in use by {} (process {})", holder.name, holder.pid),
                    "stop that process, or choose another address in the configuration",
                ),
                None if runs => findings.ok("port", subject, "in use, while a node runs"),
                None => findings.fail(
                    "port",
                    subject,
                    "in use by a process that this user cannot see",
                    "run `tollgate doctor` as root to see which one, or choose another address",
                ),
            }
        }
        ErrorKind::PermissionDenied => findings.fail(
            "port",
            subject,
            "this user may not listen at it",
            "give the service CAP_NET_BIND_SERVICE (AmbientCapabilities= of systemd), or choose a port from 1024 on",
        ),
        ErrorKind::AddrNotAvailable => findings.fail(
            "port",
            subject,
            "no interface of this machine has this address",
            "name an address of this machine, or `0.0.0.0` or `[::]` for all of them",
        ),
        _ => findings.fail("port", subject, error.to_string(), ""),
    }
}

/// Binds, without listening: nobody can connect meanwhile.
fn free(address: SocketAddr) -> std::io::Result<()> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    // As a listener does: what is left of closed connections does not count.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())
}

/// Who listens at a port.
struct Holder {
    pid: u32,
    name: String,
}

/// The process that listens at an address, as far as this user may see it.
fn holder(address: SocketAddr) -> Option<Holder> {
    let mut inodes = BTreeSet::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let text = std::fs::read_to_string(table).unwrap_or_default();
        inodes.extend(text.lines().filter_map(|line| listening(line, address)));
    }
    let folders = std::fs::read_dir("/proc").ok()?;
    let pids = folders.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| holds(*pid, &inodes)).find_map(|pid| {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        let name = name.trim().to_owned();
        Some(Holder { pid, name })
    })
}

/// The inode of a line of `/proc/net/tcp` that is a socket listening at the port of `address`, and
/// at its address or at all.
fn listening(line: &str, address: SocketAddr) -> Option<u64> {
    const LISTEN: &str = "0A";
    let words: Vec<&str> = line.split_whitespace().collect();
    let (local, state, inode) = (words.get(1)?, words.get(3)?, words.get(9)?);
    let (host, port) = local.rsplit_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let all = host.bytes().all(|digit| digit == b'0');
    let same = all || address.ip().is_unspecified() || host == hex(address.ip());
    (*state == LISTEN && port == address.port() && same).then(|| inode.parse().ok())?
}

/// An address as the kernel writes it: words of 32 bits, each in the order of this machine.
fn hex(address: IpAddr) -> String {
    let words = |bytes: &[u8]| {
        let words = bytes.chunks_exact(4).filter_map(|it| it.try_into().ok());
        words
            .map(|word| format!("{:08X}", u32::from_ne_bytes(word)))
            .collect()
    };
    match address {
        IpAddr::V4(address) => words(&address.octets()),
        IpAddr::V6(address) => words(&address.octets()),
    }
}

fn holds(pid: u32, inodes: &BTreeSet<u64>) -> bool {
    let Ok(descriptors) = std::fs::read_dir(format!("/proc/{pid}/fd")) else {
        return false;
    };
    let links = descriptors.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    let mut sockets = links.filter_map(|link| socket(&link));
    sockets.any(|inode| inodes.contains(&inode))
}

/// The inode of a link such as `socket:[123]`.
fn socket(link: &Path) -> Option<u64> {
    let inode = link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
    inode.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listening_socket_is_found_by_its_address_or_by_all_addresses() {
        let line = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4242 1 0 100 0 0 10 0";
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        if cfg!(target_endian = "little") {
            assert_eq!(listening(line, at("127.0.0.1:8080")), Some(4242));
        }
        assert_eq!(listening(line, at("0.0.0.0:8080")), Some(4242));
        assert_eq!(listening(line, at("127.0.0.1:8081")), None);
        assert_eq!(listening(line, at("10.0.0.1:8080")), None);
        let connected = line.replace(" 0A ", " 01 ");
        assert_eq!(listening(&connected, at("127.0.0.1:8080")), None);
        assert_eq!(listening("sl local_address", at("127.0.0.1:8080")), None);
        assert_eq!(socket(Path::new("socket:[77]")), Some(77));
        assert_eq!(socket(Path::new("/dev/null")), None);
    }
}
