//! The promises, on real servers
