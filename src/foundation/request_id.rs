//! Request ids of the form that SLS uses: 24 upper-case hex characters.

use std::cell::Cell;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Length of a request id in characters.
pub const REQUEST_ID_LENGTH: usize = 24;

/// Ids that a thread takes at once: a counter that every request of every thread adds to costs each of them
/// the wait for its cache line.
const AT_ONCE: u64 = 1024;

/// Where the ids begin that no thread has taken.
static SEQUENCE: LazyLock<AtomicU64> = LazyLock::new(|| AtomicU64::new(random_start()));

thread_local! {
    /// The next id of this thread, and how many it has left.
    static OWN: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
}

/// A request id, unique in this process and very likely unique across processes: four bytes of time
/// and eight bytes of a counter that starts at a random place. Those of one thread follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestId([u8; REQUEST_ID_LENGTH]);

impl RequestId {
    /// The next id, made at `unix_seconds`.
    #[must_use]
    pub fn next(unix_seconds: u64) -> Self {
        let count = count();
        let mut hex = [0u8; REQUEST_ID_LENGTH];
        let (time, rest) = hex.split_at_mut(8);
        write_hex(unix_seconds, time);
        write_hex(count, rest);
        Self(hex)
    }

    /// An id that was written before; `None` when it is none.
    #[must_use]
    pub fn read(id: &[u8]) -> Option<Self> {
        let is_hex = |byte: &u8| byte.is_ascii_digit() || (b'A'..=b'F').contains(byte);
        let id: [u8; REQUEST_ID_LENGTH] = id.try_into().ok()?;
        id.iter().all(is_hex).then_some(Self(id))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The id as bytes, for a header value.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

fn count() -> u64 {
    let (next, left) = match OWN.get() {
        (_, 0) => (SEQUENCE.fetch_add(AT_ONCE, Ordering::Relaxed), AT_ONCE),
        own => own,
    };
    OWN.set((next.wrapping_add(1), left - 1));
    next
}

fn write_hex(mut value: u64, digits: &mut [u8]) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for digit in digits.iter_mut().rev() {
        *digit = HEX.get((value & 15) as usize).copied().unwrap_or(b'0');
        value >>= 4;
    }
}

fn random_start() -> u64 {
    getrandom::u64().unwrap_or_else(|_| super::clock::unix_millis().rotate_left(32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_24_upper_case_hex_characters_and_starts_with_the_time() {
        let id = RequestId::next(0x5642_EFA4);
        assert_eq!(id.as_str().len(), REQUEST_ID_LENGTH);
        assert!(id.as_str().starts_with("5642EFA4"), "{}", id.as_str());
        assert!(
            id.as_str()
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(&b))
        );
    }

    #[test]
    fn an_id_is_read_again_and_nothing_else_is() {
        let id = RequestId::next(7);
        assert_eq!(RequestId::read(id.as_bytes()), Some(id));
        assert_eq!(RequestId::read(b"short"), None);
        assert_eq!(RequestId::read(&[b'g'; REQUEST_ID_LENGTH]), None);
    }

    #[test]
    fn two_ids_differ() {
        assert_ne!(RequestId::next(1), RequestId::next(1));
    }

    #[test]
    fn ids_of_threads_at_once_differ_beyond_what_one_takes_at_once() {
        let each = 3 * AT_ONCE + 7;
        let some = move || -> Vec<RequestId> { (0..each).map(|_| RequestId::next(1)).collect() };
        let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(some)).collect();
        let ids = threads.into_iter().flat_map(|it| it.join().unwrap());
        let mut ids: Vec<_> = ids.map(|id| id.as_str().to_owned()).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len() as u64, 4 * each);
    }
}
