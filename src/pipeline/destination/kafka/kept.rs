//! What all attempts share as long as it works: a connection.
//!
//! Promise: one is opened at a time, by an attempt whose own time bounds that; nobody waits to give one
//! up; and an attempt gives up what it used itself, not what another has opened since.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Something that is opened when it is first needed.
#[derive(Debug)]
pub(super) struct Kept<T> {
    now: Mutex<Option<Arc<T>>>,
    opening: tokio::sync::Mutex<()>,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self {
            now: Mutex::default(),
            opening: tokio::sync::Mutex::default(),
        }
    }
}

impl<T> Kept<T> {
    /// What is there and still good, or what is opened now.
    ///
    /// # Cancel safety
    /// Nothing is kept of an opening that is dropped, and the next one begins anew.
    pub(super) async fn get<E>(
        &self,
        is_good: impl Fn(&T) -> bool,
        open: impl Future<Output = Result<T, E>>,
    ) -> Result<Arc<T>, E> {
        let good = || self.now().as_ref().filter(|it| is_good(it)).map(Arc::clone);
        if let Some(it) = good() {
            return Ok(it);
        }
        let _alone = self.opening.lock().await;
        if let Some(it) = good() {
            return Ok(it);
        }
        let opened = Arc::new(open.await?);
        *self.now() = Some(Arc::clone(&opened));
        Ok(opened)
    }

    /// Lets the next attempt open anew, unless one has done so since.
    pub(super) fn give_up(&self, used: &Arc<T>) {
        let mut now = self.now();
        if now.as_ref().is_some_and(|it| Arc::ptr_eq(it, used)) {
            *now = None;
        }
    }

    fn now(&self) -> MutexGuard<'_, Option<Arc<T>>> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    type Opened = Result<u32, ()>;

    #[tokio::test]
    async fn a_failed_attempt_gives_up_what_it_used_and_not_what_is_newer() {
        let kept = Kept::default();
        let of_two = kept.get(|_| true, ready(Opened::Ok(1))).await.unwrap();
        let same = kept.get(|_| true, ready(Opened::Ok(2))).await.unwrap();
        assert!(Arc::ptr_eq(&of_two, &same));
        kept.give_up(&of_two);
        let newer = kept.get(|_| true, ready(Opened::Ok(3))).await.unwrap();
        // The second attempt on the first one fails later.
        kept.give_up(&same);
        let still = kept.get(|_| true, ready(Opened::Ok(4))).await.unwrap();
        assert!(Arc::ptr_eq(&newer, &still));
        let old = kept.get(|it| *it != 3, ready(Opened::Ok(5))).await;
        assert_eq!(old, Ok(Arc::new(5)));
    }

    #[tokio::test(start_paused = true)]
    async fn an_opening_that_hangs_holds_up_nobody_who_gives_up_and_ends_with_its_attempt() {
        let kept = Kept::default();
        let old = kept.get(|_| true, ready(Opened::Ok(1))).await.unwrap();
        let second = std::time::Duration::from_secs(1);
        let hangs = kept.get(|_| false, pending::<Opened>());
        let others = async {
            kept.give_up(&old);
            assert!(kept.now().is_none());
        };
        let (ended, ()) = tokio::join!(tokio::time::timeout(second, hangs), others);
        assert!(ended.is_err());
        assert_eq!(
            kept.get(|_| true, ready(Opened::Ok(2))).await,
            Ok(Arc::new(2))
        );
    }
}
