//! Who is signed in to the dashboard: one session, one browser, one token.

use sea_orm::entity::prelude::*;

/// One session. Its secret is in the browser's cookie, and nowhere else.
#[derive(Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "reseal_sessions")]
pub struct Model {
    /// Its id; the first part of what is presented.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// The token that opened it, and as which it acts.
    pub token_id: i64,
    /// SHA-256 of its secret, hexadecimal.
    #[sea_orm(column_type = "String(StringLen::N(64))")]
    pub secret_hash: String,
    /// Unix milliseconds, database time, here and below.
    pub opened_at: i64,
    /// When it was last used, to the minute.
    pub seen_at: i64,
    /// From when on it is refused, however busy.
    pub expires_at: i64,
    /// Since when it is refused: somebody signed out.
    pub closed_at: Option<i64>,
}

// Not derived: the hash has no business in a log.
impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "session {} of token {}", self.id, self.token_id)
    }
}

/// What it points to.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
    /// The token.
    #[sea_orm(belongs_to = "super::tokens::Entity", from = "Column::TokenId", to = "super::tokens::Column::Id")]
    Token,
}

impl Related<super::tokens::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::Token.def()
    }
}

impl ActiveModelBehavior for ActiveModel {}
