//! The ground: small types and functions that know nothing of Tollgate's job.

pub mod address_text;
pub mod apart;
pub mod budget;
pub mod client_address;
pub mod clock;
pub mod names;
pub mod network;
pub mod peers;
pub mod request_id;
pub mod secret;
pub mod serve;
pub mod sockets;
pub mod stall;
pub mod trace_context;
pub mod units;
pub mod whole_file;
pub mod wire;
