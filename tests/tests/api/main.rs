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
mod keys;
mod links;
mod pages;
mod rights;
mod seen;
mod sessions;
mod signing_in;
mod site;
mod visitor;
mod worded;
mod world;
