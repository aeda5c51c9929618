//! Whole rotations by the real binary, in as many processes as a user would start, on PostgreSQL and
//! Redis, with data that Python's Tink wrote and compares.

mod applications;
mod audit;
mod kills;
mod poison;
mod restore;
mod schedules;
mod workers;
mod world;
mod writers;
