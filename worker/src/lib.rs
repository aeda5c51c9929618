//! Runs the engine off the queue; knows no HTTP
