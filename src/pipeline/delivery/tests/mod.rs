//! Delivery to stores that refuse, are down, or are slow, on real sockets.

mod outage;
mod poison;
