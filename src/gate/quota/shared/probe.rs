//! Whether the store can be reached and takes writes, for somebody who asks.
//!
//! Promise: nothing is written to the store.

use std::pin::pin;
use std::time::Duration;

use redis::Value;

use super::link::Reach;
use super::status::StoreFault;
use crate::config::Redis;

/// What came of one address of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreProbe {
    /// Host and port.
    pub address: String,
    /// Whether it is a replica, which takes no writes; or why that is not known.
    pub replica: Result<bool, StoreFault>,
}

/// Connects to each address of the configuration, and asks for its role, each within `time`.
pub async fn probe(redis: &Redis, time: Duration) -> Vec<StoreProbe> {
    let reach = Reach::new(redis).within(time);
    let mut probes = Vec::new();
    for url in &reach.urls {
        let asked = async {
            let (mut link, mut driver) = reach.connect(url).await?;
            let mut pipe = redis::pipe();
            pipe.cmd("PING").cmd("ROLE");
            let asking = pin!(link.ask(&pipe));
            let answers = tokio::select! {
                answers = asking => answers?,
                () = &mut driver => return Err(StoreFault::Closed),
            };
            Ok(answers)
        };
        let replica = asked.await.and_then(|answers| role(&answers));
        probes.push(StoreProbe {
            address: format!("{}:{}", url.host, url.port),
            replica,
        });
    }
    probes
}

/// Whether the answers to PING and ROLE are those of a replica.
fn role(answers: &[Value]) -> Result<bool, StoreFault> {
    match answers {
        [Value::ServerError(error), _] => Err(super::link::fault_of_code(error.code())),
        [_, Value::Array(role)] => match role.first() {
            Some(Value::BulkString(name)) => Ok(name != b"master"),
            _ => Ok(false),
        },
        // A user may not be allowed to ask for the role.
        [_, _] => Ok(false),
        _ => Err(StoreFault::Protocol),
    }
}
