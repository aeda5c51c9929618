//! Primary keys of any arity and type in SQL.
//!
//! A key's texts are always selected under names of their own: under the columns' names, `ORDER BY`
//! would sort by the text. The table is always `t`, and its columns are named through that: a column can have any name,
//! also one of ours.

use super::*;

/// Qualified, as every name in a statement that writes: see [`session::begin_as_the_role`].
pub(super) const EQUALS: &str = "OPERATOR(pg_catalog.=)";

/// A key column's canonical text.
pub(super) fn text_of(ty: KeyType, expression: &str) -> String {
    match ty {
        KeyType::Bytes | KeyType::UuidBytes => format!("pg_catalog.encode({expression}, 'hex')"),
        KeyType::Integer | KeyType::Uuid | KeyType::Text => format!("{expression}::pg_catalog.text"),
    }
}

/// And back.
pub(super) fn from_text(ty: KeyType, expression: &str) -> String {
    match ty {
        KeyType::Integer => format!("{expression}::bigint"),
        KeyType::Uuid => format!("{expression}::pg_catalog.uuid"),
        KeyType::Text => expression.to_owned(),
        KeyType::Bytes | KeyType::UuidBytes => format!("pg_catalog.decode({expression}, 'hex')"),
    }
}

pub(super) fn key_names(shape: &Shape, alias: &str) -> String {
    shape.key.iter().map(|k| format!("{alias}{}", quoted(&k.name))).collect::<Vec<_>>().join(", ")
}

pub(super) fn key_texts(shape: &Shape, alias: &str) -> String {
    let text = |(i, k): (usize, &KeyColumn)| {
        format!("{} AS reseal_k{i}", text_of(k.ty, &format!("{alias}{}", quoted(&k.name))))
    };
    shape.key.iter().enumerate().map(text).collect::<Vec<_>>().join(", ")
}

/// The key's texts in a result, from column `first` on.
pub(super) fn key_of(shape: &Shape, row: &PgRow, first: usize) -> Result<String, SourceError> {
    let parts = (first..first + shape.key.len()).map(|i| row.try_get(i)).collect::<Result<_, _>>()?;
    Ok(shape.join_key(parts))
}

/// A column, or several as a row value, which PostgreSQL compares along the index.
pub(super) fn tuple(shape: &Shape, alias: &str) -> String {
    if shape.key.len() == 1 { key_names(shape, alias) } else { format!("({})", key_names(shape, alias)) }
}

/// The same of bound texts, from parameter `first` on.
pub(super) fn bound(shape: &Shape, first: usize) -> String {
    let part = |(i, k): (usize, &KeyColumn)| from_text(k.ty, &format!("${}::pg_catalog.text", first + i));
    let parts = shape.key.iter().enumerate().map(part).collect::<Vec<_>>().join(", ");
    if shape.key.len() == 1 { parts } else { format!("({parts})") }
}

/// `t.{key} > {$first …} AND {key} <= {…}`, with the bounds that there are.
pub(super) fn in_range(shape: &Shape, range: &Range, first: usize) -> Result<(String, Vec<String>), SourceError> {
    let (mut terms, mut binds) = (vec!["true".to_owned()], Vec::new());
    for (operator, key) in [(">", &range.after), ("<=", &range.up_to)] {
        if let Some(key) = key {
            terms.push(format!("{} {operator} {}", tuple(shape, "t."), bound(shape, first + binds.len())));
            binds.extend(shape.split_key(key)?);
        }
    }
    Ok((terms.join(" AND "), binds))
}

/// `t.{key} = {$first …}`.
pub(super) fn is_key(shape: &Shape, key: &str, first: usize) -> Result<(String, Vec<String>), SourceError> {
    Ok((format!("{} {EQUALS} {}", tuple(shape, "t."), bound(shape, first)), shape.split_key(key)?))
}

/// `t."a", t."b" DESC`: the order of a key, always the index's own.
pub(super) fn order(shape: &Shape, descending: bool) -> String {
    let direction = if descending { " DESC" } else { "" };
    shape.key.iter().map(|k| format!("t.{}{direction}", quoted(&k.name))).collect::<Vec<_>>().join(", ")
}

/// `(SELECT … FROM ROWS FROM (unnest($1::text[]), …)) v` with the keys as `k0, k1 …` of their own types and after
/// them `more` as they are, and the arrays of the keys to bind first.
pub(super) fn unnest<'k>(
    shape: &Shape,
    keys: impl Iterator<Item = &'k String>,
    more: &[(String, &str)],
) -> Result<(String, Vec<Vec<String>>), SourceError> {
    let mut parts = vec![Vec::new(); shape.key.len()];
    for key in keys {
        for (part, text) in parts.iter_mut().zip(shape.split_key(key)?) {
            part.push(text);
        }
    }
    let arity = shape.key.len();
    let types = std::iter::repeat_n("text", arity).chain(more.iter().map(|(_, ty)| *ty));
    let arrays = types
        .enumerate()
        .map(|(i, ty)| format!("pg_catalog.unnest(${}::pg_catalog.{ty}[])", i + 1))
        .collect::<Vec<_>>()
        .join(", ");
    let more: Vec<&str> = more.iter().map(|(name, _)| name.as_str()).collect();
    let texts: Vec<String> = (0..arity).map(|i| format!("k{i}")).collect();
    let names = texts.iter().map(String::as_str).chain(more.iter().copied()).collect::<Vec<_>>().join(", ");
    let typed =
        shape.key.iter().zip(&texts).map(|(k, text)| format!("{} AS {text}", from_text(k.ty, &format!("u.{text}"))));
    let selected = typed.chain(more.iter().map(|m| (*m).to_owned())).collect::<Vec<_>>().join(", ");
    Ok((format!("(SELECT {selected} FROM ROWS FROM ({arrays}) AS u({names})) AS v"), parts))
}

pub(super) fn same_key(shape: &Shape) -> String {
    let same = shape.key.iter().enumerate().map(|(i, k)| format!("t.{} {EQUALS} v.k{i}", quoted(&k.name)));
    same.collect::<Vec<_>>().join(" AND ")
}
