use std::net::TcpListener;

/// A port that was free a moment ago. Another process may take it first, so whoever starts a
/// server on it tries again with another one.
pub(crate) fn free() -> u16 {
    let taken = TcpListener::bind(("127.0.0.1", 0)).expect("loopback");
    taken.local_addr().expect("bound").port()
}
