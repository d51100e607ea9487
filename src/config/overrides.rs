//! What the command line says in place of the file.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::Config;

/// Values that stand above those of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `ingest.listen`.
    pub listen: Option<SocketAddr>,
    /// `admin.listen`.
    pub admin_listen: Option<SocketAddr>,
    /// `embedded.listen`.
    pub logstore_listen: Option<SocketAddr>,
    /// `data_dir`.
    pub data_dir: Option<PathBuf>,
}

impl Overrides {
    /// The dotted keys that are overridden.
    pub fn keys(&self) -> impl Iterator<Item = &'static str> {
        [
            ("ingest.listen", self.listen.is_some()),
            ("admin.listen", self.admin_listen.is_some()),
            ("embedded.listen", self.logstore_listen.is_some()),
            ("data_dir", self.data_dir.is_some()),
        ]
        .into_iter()
        .filter_map(|(key, given)| given.then_some(key))
    }
}

impl Config {
    /// Puts what the command line says in place. The result is not checked; see
    /// [`super::Checked`].
    pub fn apply(&mut self, overrides: &Overrides) {
        let listener = |own: &mut SocketAddr, given: Option<SocketAddr>| {
            *own = given.unwrap_or(*own);
        };
        listener(&mut self.ingest.listen, overrides.listen);
        listener(&mut self.admin.listen, overrides.admin_listen);
        listener(&mut self.embedded.listen, overrides.logstore_listen);
        if let Some(data_dir) = &overrides.data_dir {
            self.data_dir.clone_from(data_dir);
        }
    }
}
