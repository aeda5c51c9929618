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
mod pages;
mod rights;
mod sessions;
mod signing_in;
mod site;
mod visitor;
mod worded;
mod world;
