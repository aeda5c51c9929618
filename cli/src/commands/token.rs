//! `reseal token`: who may call the HTTP API.

use crate::{
    actor::actor,
    context::Context,
    failure::{Exit, Failure},
    ground,
    output::{Table, time},
};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use reseal_entities::{
    ledger::{
        now_ms,
        tokens::{self, New},
    },
    tokens::{Model, Role},
};
use sea_orm::ActiveEnum;
use serde_json::{Value, json};
use std::time::Duration;

#[derive(clap::Subcommand)]
pub(crate) enum Token {
    /// Makes a token and prints it, this once
    Create(Create),
    /// Shows every token, never its secret
    List,
    /// Revokes a token for good
    Revoke {
        /// The token, as `reseal token list` numbers it
        id: i64,
    },
}

#[derive(clap::Args)]
pub(crate) struct Create {
    /// What it may do
    #[arg(long, value_parser = roles())]
    role: Role,
    /// Who is meant: stands in the audit, and is unique [default: the role and some digits]
    #[arg(long)]
    name: Option<String>,
    /// For how long, e.g. 90d [default: until it is revoked]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    expires: Option<Duration>,
    /// At most so many requests a second [default: none of its own]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    requests_per_second: Option<i32>,
}

/// A test holds these to the roles that there are.
const ROLES: [&str; 6] = ["viewer", "operator", "key_admin", "app", "auditor", "admin"];

fn roles() -> impl TypedValueParser<Value = Role> {
    PossibleValuesParser::new(ROLES).try_map(|word| Role::try_from_value(&word))
}

pub(crate) async fn run(command: Token, context: &Context) -> Result<Exit, Failure> {
    match command {
        Token::Create(args) => create(args, context).await,
        Token::List => list(context).await,
        Token::Revoke { id } => revoke(id, context).await,
    }
}

async fn create(args: Create, context: &Context) -> Result<Exit, Failure> {
    let ledger = ground::ledger_only(&context.config()?).await?;
    let new = New {
        name: args.name,
        role: args.role,
        expires_in_ms: args.expires.map(|length| i64::try_from(length.as_millis()).unwrap_or(i64::MAX)),
        requests_per_second: args.requests_per_second,
    };
    let txn = ledger.begin().await?;
    let (token, presented) = tokens::create(&txn, &actor(), &new).await?;
    txn.commit().await?;
    let until = token.expires_at.map_or_else(|| "until it is revoked".to_owned(), |at| format!("until {}", time(at)));
    context.output.note(&format!(
        "token {} of {} ({}), good {until}; it is shown this once, and the ledger keeps only its hash: put it where its user reads it",
        token.id, token.name, token.role
    ));
    let mut object = told(&token, "active");
    object["token"] = json!(presented);
    context.output.show(&object, || presented.clone());
    Ok(Exit::Done)
}

async fn list(context: &Context) -> Result<Exit, Failure> {
    let ledger = ground::ledger_only(&context.config()?).await?;
    let (tokens, now) = (tokens::list(ledger.db()).await?, now_ms(ledger.db()).await?);
    let mut table =
        Table::new(&["id#", "name", "role", "state", "expires", "last used?", "made?", "by?", "per second#?"]);
    let mut objects = Vec::new();
    for token in tokens {
        let state = state(&token, now);
        objects.push(told(&token, state));
        let or = |at: Option<i64>, otherwise: &str| at.map_or_else(|| otherwise.to_owned(), time);
        table.row([
            token.id.to_string(),
            token.name.clone(),
            token.role.to_string(),
            state.to_owned(),
            or(token.expires_at, "never"),
            or(token.last_used_at, "never"),
            time(token.created_at),
            token.created_by.clone(),
            token.requests_per_second.map(|n| n.to_string()).unwrap_or_default(),
        ]);
    }
    context.output.show(&json!({"tokens": objects}), || {
        table.or("no token yet: make one with `reseal token create --role ROLE`")
    });
    Ok(Exit::Done)
}

async fn revoke(id: i64, context: &Context) -> Result<Exit, Failure> {
    let ledger = ground::ledger_only(&context.config()?).await?;
    let txn = ledger.begin().await?;
    let changed = tokens::revoke(&txn, &actor(), id).await?;
    txn.commit().await?;
    let token = tokens::one(ledger.db(), id).await?;
    let mut object = told(&token, "revoked");
    object["changed"] = json!(changed);
    context.output.show(&object, || match (changed, token.revoked_at, &token.revoked_by) {
        (false, Some(at), Some(who)) => {
            format!("token {id} of {} was revoked before, by {who} at {}", token.name, time(at))
        }
        _ => format!("token {id} of {} is revoked: whoever presents it is refused from now on", token.name),
    });
    Ok(Exit::Done)
}

fn state(token: &Model, now: i64) -> &'static str {
    match (token.revoked_at, token.expires_at) {
        (Some(_), _) => "revoked",
        (None, Some(until)) if until <= now => "expired",
        _ => "active",
    }
}

/// All but the hash.
fn told(token: &Model, state: &str) -> Value {
    json!({
        "id": token.id, "name": token.name, "role": token.role, "state": state,
        "requests_per_second": token.requests_per_second, "created_at": time(token.created_at),
        "created_by": token.created_by, "expires_at": token.expires_at.map(time),
        "last_used_at": token.last_used_at.map(time), "revoked_at": token.revoked_at.map(time),
        "revoked_by": token.revoked_by,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use sea_orm::Iterable;

    #[test]
    fn every_role_can_be_named() {
        assert!(Role::iter().map(|role| role.to_value()).eq(ROLES));
    }
}
