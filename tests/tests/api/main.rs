//! The promises of the HTTP API, over a socket.

mod asking;
mod audit;
mod events;
mod fuzzed;
mod input;
mod rights;
mod site;
