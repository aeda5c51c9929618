//! What an operator allows a rotation: changed by two at once.

use reseal_entities::{
    audit,
    ledger::throttle::{Limits, limit_if_open},
    state::RotationState,
};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder};
use serde_json::json;

use crate::{
    ground::{alone, for_each_ledger, wait_for_a_lock, warm},
    rows::World,
};

#[test]
fn of_two_changes_at_once_neither_undoes_the_other() {
    for_each_ledger(async |ledger| {
        let w = World::at(ledger.db(), RotationState::Reencrypting).await;
        warm(&ledger).await;
        // given one change that is not committed, and another that has begun
        let first = ledger.begin().await.unwrap();
        let slower = |now| Limits { rows_per_second: Some(500), ..now };
        limit_if_open(&first, w.id, "ada", slower).await.unwrap();
        let (other, id) = (ledger.clone(), w.id);
        let second = tokio::spawn(async move {
            let fewer = |now| Limits { lanes: Some(4), ..now };
            alone(&other, async |txn| limit_if_open(txn, id, "bob", fewer).await).await
        });
        wait_for_a_lock(&ledger, 1).await;
        // when both are committed
        first.commit().await.unwrap();
        let both = Limits { rows_per_second: Some(500), lanes: Some(4), batches: None };
        assert_eq!(second.await.unwrap().unwrap(), both);
        // then both stand, and the audit tells what each of them changed
        assert_eq!(w.rotation(ledger.db()).await.limits(), both);
        let entries = audit::Entity::find().filter(audit::Column::Action.eq("rotation.limited"));
        let entries = entries.order_by_asc(audit::Column::Seq).all(ledger.db()).await.unwrap();
        let told = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        let slower = json!({"rows_per_second": 500, "lanes": null, "batches": null});
        let told: Vec<_> = entries.iter().map(|e| (e.actor.as_str(), told(&e.before), told(&e.after))).collect();
        assert_eq!(told, [("ada", json!(Limits::default()), slower.clone()), ("bob", slower, json!(both))]);
    });
}
