//! Who is signed in to the dashboard.

use sea_orm_migration::{prelude::*, schema::*};

/// See the module.
pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0009_sessions"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, m: &SchemaManager) -> Result<(), DbErr> {
        let mut sessions = Table::create();
        sessions.table("reseal_sessions");
        for mut column in [
            big_pk_auto("id"),
            big_integer("token_id"),
            string_len("secret_hash", 64),
            big_integer("opened_at"),
            big_integer("seen_at"),
            big_integer("expires_at"),
            big_integer_null("closed_at"),
        ] {
            sessions.col(column.take());
        }
        let mut token = ForeignKey::create();
        token.name("fk_reseal_sessions_token_id").from("reseal_sessions", "token_id").to("reseal_tokens", "id");
        m.create_table(sessions.foreign_key(&mut token).take()).await
    }
}
