//! One rotation, on every database, step by step in one process.

mod adoption;
mod adversity;
mod clearing;
mod clocks;
mod connecting;
mod faults;
mod forecast;
mod forgotten;
mod hazards;
mod limits;
mod locks;
mod mistakes;
mod operations;
mod ownership;
mod refusals;
mod samples;
mod scanning;
mod schemas;
mod scope;
mod settings;
mod silence;
mod site;
mod splitting;
mod swaps;
mod sweep_pace;
mod the_other_way;
mod throttling;
mod two_people;
mod whole;

/// Makes a test of each `async fn name(backend)` for every database.
macro_rules! on_every_database {
    ($($name:ident),+ $(,)?) => {
        mod sqlite { $(#[tokio::test(flavor = "multi_thread")] async fn $name() { super::$name(crate::site::Sqlite).await } )+ }
        mod postgres { $(#[tokio::test(flavor = "multi_thread")] async fn $name() { super::$name(crate::site::Postgres).await } )+ }
    };
}
pub(crate) use on_every_database;
