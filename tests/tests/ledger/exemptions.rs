//! A replica or an application that a clearing need not wait for.

use reseal_entities::{
    audit,
    exemptions::{self, Kind},
    ledger::{exclude, writers},
    state::RotationState,
};
use sea_orm::{ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter};

use crate::{
    ground::{alone, for_each_ledger, run},
    rows::World,
};

#[test]
fn an_exclusion_is_written_once_with_its_audit_and_makes_the_step_due() {
    for_each_ledger(async |ledger| {
        let db = ledger.db();
        let w = World::at(db, RotationState::Clearing).await;
        run(db, format!("UPDATE reseal_rotations SET step_due_at = 9000000000000 WHERE id = {}", w.id)).await;
        let exclude = async || {
            alone(&ledger, async |txn| {
                exclude::exclude(txn, "ada", w.id, (Kind::Replica, "app:standby1"), "it is rebuilt").await
            })
            .await
        };
        assert!(exclude().await.unwrap());
        assert!(!exclude().await.unwrap(), "the second time nothing changes");
        assert_eq!(exclude::names(db, w.id, Kind::Replica).await.unwrap(), ["app:standby1"]);
        assert!(exclude::names(db, w.id, Kind::Writer).await.unwrap().is_empty());
        assert_eq!(w.rotation(db).await.step_due_at, 0);
        let entries = audit::Entity::find().filter(audit::Column::Action.eq("clearing.excluded"));
        assert_eq!(entries.count(db).await.unwrap(), 1);
    });
}

#[test]
fn what_is_not_known_or_has_ended_is_refused() {
    for_each_ledger(async |ledger| {
        let db = ledger.db();
        let w = World::at(db, RotationState::Waiting).await;
        let exclude = async |what: (Kind, &str)| {
            alone(&ledger, async |txn| exclude::exclude(txn, "ada", w.id, what, "gone").await).await
        };
        assert_eq!(exclude((Kind::Writer, "app-1")).await.unwrap_err().code(), "unknown_writer");
        assert_eq!(exclude((Kind::Replica, "standby1")).await.unwrap_err().code(), "unknown_replica");
        writers::beat(db, "app-1", &w.keyset, w.old, 1).await.unwrap();
        let of_rotation = w.rotation(db).await;
        assert_eq!(writers::lagging(db, &of_rotation).await.unwrap().len(), 1);
        assert!(exclude((Kind::Writer, "app-1")).await.unwrap());
        assert!(writers::lagging(db, &of_rotation).await.unwrap().is_empty());
        run(db, format!("UPDATE reseal_rotations SET open_keyset = NULL WHERE id = {}", w.id)).await;
        assert_eq!(exclude((Kind::Replica, "app:standby1")).await.unwrap_err().code(), "rotation_ended");
        assert_eq!(exemptions::Entity::find().count(db).await.unwrap(), 1);
    });
}
