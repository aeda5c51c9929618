//! The promises of the HTTP API, over a socket.

mod asking;
mod audit;
mod batches;
mod codes;
mod described;
mod events;
mod fuzzed;
mod guide;
mod input;
mod rights;
mod site;
mod world;
