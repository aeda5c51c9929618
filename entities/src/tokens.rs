//! Who may call: tokens, their roles, and what each role may do.
//!
//! | role | for | sees | operates | keys | encrypts | audit | tokens |
//! |---|---|---|---|---|---|---|---|
//! | `viewer` | screens and alerts | yes | | | | | |
//! | `operator` | requests, retries, pauses, cancels, turns round | yes | yes | | | | |
//! | `key_admin` | approves and clears, dismisses holds, gives rows up | yes | | yes | | | |
//! | `app` | encrypts and decrypts values | | | | yes | | |
//! | `auditor` | reads the audit | yes | | | | yes | |
//! | `admin` | makes and revokes tokens, and everything else | yes | yes | yes | yes | yes | yes |
//!
//! A key admin does not operate: who may let a key be destroyed should not be who asks for its rotation. The
//! price: whoever is both needs two tokens, or an admin's.

use crate::state::states;
use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};

states! {
    /// What a token is for.
    Role {
        /// Looks.
        Viewer,
        /// Runs rotations.
        Operator,
        /// Decides over keys.
        KeyAdmin,
        /// An application that has its values encrypted.
        App,
        /// Reads who did what.
        Auditor,
        /// Everything.
        Admin,
    }
}

/// What may be done. Each route, and each command of the dashboard, asks for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter)]
pub enum Right {
    /// Look at rotations, batches, quarantine, keys, workers.
    View,
    /// Request rotations and steer them.
    Operate,
    /// Approve and clear; give values up.
    Keys,
    /// Encrypt, decrypt and re-encrypt values.
    Encrypt,
    /// Read the audit.
    Audit,
    /// Make, list and revoke tokens.
    Administer,
}

impl std::fmt::Display for Right {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::View => "view",
            Self::Operate => "operate",
            Self::Keys => "keys",
            Self::Encrypt => "encrypt",
            Self::Audit => "audit",
            Self::Administer => "administer",
        })
    }
}

impl Role {
    /// Whether this role has `right`. The whole of it.
    pub fn may(self, right: Right) -> bool {
        use Right::{Administer, Audit, Encrypt, Keys, Operate, View};
        match self {
            Self::Viewer => matches!(right, View),
            Self::Operator => matches!(right, View | Operate),
            Self::KeyAdmin => matches!(right, View | Keys),
            Self::App => matches!(right, Encrypt),
            Self::Auditor => matches!(right, View | Audit),
            Self::Admin => matches!(right, View | Operate | Keys | Encrypt | Audit | Administer),
        }
    }
}

/// One token. Its secret is nowhere: only who holds it has it.
#[derive(Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "reseal_tokens")]
pub struct Model {
    /// Its id; the second part of what is presented.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// Who is meant: the actor of what is done with it.
    #[sea_orm(column_type = "String(StringLen::N(64))")]
    pub name: String,
    /// The name again until it is revoked, then NULL: unique, so that the audit's names tell people apart.
    #[sea_orm(column_type = "String(StringLen::N(64))", nullable, unique)]
    pub live_name: Option<String>,
    /// What it may do.
    pub role: Role,
    /// SHA-256 of its secret, hexadecimal.
    #[sea_orm(column_type = "String(StringLen::N(64))")]
    pub secret_hash: String,
    /// At most so many requests a second; none: it has no limit of its own.
    pub requests_per_second: Option<i32>,
    /// Unix milliseconds, database time, here and below.
    pub created_at: i64,
    /// By whom.
    #[sea_orm(column_type = "String(StringLen::N(128))")]
    pub created_by: String,
    /// From when on it is refused; none: never.
    pub expires_at: Option<i64>,
    /// When it was last accepted, to the minute.
    pub last_used_at: Option<i64>,
    /// Since when it is refused.
    pub revoked_at: Option<i64>,
    /// By whom.
    #[sea_orm(column_type = "String(StringLen::N(128))", nullable)]
    pub revoked_by: Option<String>,
}

// Not derived: the hash has no business in a log.
impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "token {} ({}, {})", self.id, self.name, self.role)
    }
}

/// None.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
