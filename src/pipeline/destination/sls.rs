//! A logstore, by the API of SLS. It takes a LogGroup whole or not at all.

use std::sync::Arc;

use super::{Attempts, Failure, Parcel};
use crate::foundation::names::{LogstoreName, ProjectName};
use crate::logstore::client::{OnResend, PackedGroup, StoreClient};

/// A logstore at a store.
#[derive(Debug)]
pub struct Sls {
    /// The store.
    pub client: Arc<StoreClient>,
    /// The project, as it is called there.
    pub project: ProjectName,
    /// The logstore, as it is called there.
    pub logstore: LogstoreName,
    /// Counts what may be stored twice.
    pub on_resend: OnResend,
}

impl Sls {
    pub(super) async fn put(&self, parcel: &Parcel) -> Result<(), Failure> {
        let (project, logstore) = (&self.project, &self.logstore);
        let group = PackedGroup {
            codec: parcel.codec,
            body: parcel.body.clone(),
            raw_size: parcel.raw_size,
            span: parcel.span.as_ref().map(Attempts::of),
            hash_key: parcel.hash_key.map(|key| key.to_string()),
            on_resend: self.on_resend.clone(),
        };
        let sent = self.client.put_log_group(project, logstore, group);
        sent.await.map(|_receipt| ()).map_err(Failure::from)
    }
}
