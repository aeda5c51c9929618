//! The schema of the ledger and of the reference tables, in order.

mod guards;
mod m0001_ledger;
mod m0001_reference_tables;
mod m0002_adoption;
mod m0003_the_other_way;
mod m0004_what_people_say;
mod m0005_limits;
mod m0006_samples;
mod m0007_people;
mod m0008_operations;
mod m0009_sessions;
mod m0010_attempts;
mod m0011_pace;
mod m0014_swaps;
mod m0015_scope;
mod m0016_clearing;
mod m0017_pace_limits;
mod m0018_writers;
mod run;

pub use sea_orm_migration::MigratorTrait;

pub use run::{MigrateError, Outcome, migrate_ledger, migrate_reference_tables, pending};

use sea_orm_migration::prelude::*;

/// The ledger's migrations.
pub struct Ledger;

impl MigratorTrait for Ledger {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m0001_ledger::Migration),
            Box::new(m0002_adoption::Migration),
            Box::new(m0003_the_other_way::Migration),
            Box::new(m0004_what_people_say::Migration),
            Box::new(m0005_limits::Migration),
            Box::new(m0006_samples::Migration),
            Box::new(m0007_people::Migration),
            Box::new(m0008_operations::Migration),
            Box::new(m0009_sessions::Migration),
            Box::new(m0010_attempts::Migration),
            Box::new(m0011_pace::Migration),
            Box::new(m0014_swaps::Migration),
            Box::new(m0015_scope::Migration),
            Box::new(m0016_clearing::Migration),
            Box::new(m0017_pace_limits::Migration),
            Box::new(m0018_writers::Migration),
        ]
    }

    fn migration_table_name() -> DynIden {
        "reseal_migrations".into_iden()
    }
}

/// The reference tables' migrations; only for who asks for these tables.
pub struct ReferenceTables;

impl MigratorTrait for ReferenceTables {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(m0001_reference_tables::Migration)]
    }

    fn migration_table_name() -> DynIden {
        "reseal_reference_migrations".into_iden()
    }
}
