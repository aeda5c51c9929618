//! Whole rotations by the real binary, in as many processes as a user would start, on PostgreSQL and
//! Redis, with data that Python's Tink wrote and compares.

mod adopting;
mod adoption;
mod applications;
mod audit;
mod dashboard;
mod kills;
mod limits;
mod own_tables;
mod poison;
mod published;
mod restore;
mod schedules;
mod serving;
mod tink_adopted;
mod workers;
mod world;
mod writers;
