//! The public listener: sockets to requests. Knows nothing of logstores.
