//! What holds for any input: one check for each parser. Each panics when its promise is broken, and
//! says whether the input was taken. The tests and the fuzz targets both end here.

mod config;
mod decompress;
mod forwarded;
mod policy;
mod policy_model;
mod proxy_protocol;
mod search;
mod signature;
mod sts;
mod token;
mod wire;

pub use self::config::config;
pub use self::decompress::decompress;
pub use self::forwarded::forwarded;
pub use self::policy::policy;
pub use self::proxy_protocol::proxy_protocol;
pub use self::search::search;
pub use self::signature::signature;
pub use self::sts::sts;
pub use self::token::token;
pub use self::wire::wire;
