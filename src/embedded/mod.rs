//! The embedded logstore: the API of SLS on local disk.

mod store;
