//! Check: rights, schema, backups, and a sample of every column opened for real.

use crate::{
    blame,
    census::{declared, places},
    engine::{Engine, Target, by_table},
    error::EngineError,
    length, owner, plan,
    source::KeyType,
};
use reseal_entities::{
    catalog as catalog_row,
    ledger::{catalog, keys as ledger_keys, scope, writers},
};
use reseal_keyring::{Ambiguity, KeyKind, Keyset, Template};
use serde::Serialize;

/// So many cells of a column are opened from each end of its table.
pub const SAMPLE_ROWS: u32 = 50;

/// So many rows are updated for a try, until one passes.
const TRIED_ROWS: u32 = 3;

/// What was found of one column.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ColumnCheck {
    /// `source:schema.table.column`.
    pub column: String,
    /// Cells that were opened.
    pub opened: usize,
    /// Cells that did not open, by code.
    pub unreadable: Vec<String>,
    /// What stops a rotation of it.
    pub problems: Vec<String>,
    /// What a person should know.
    pub warnings: Vec<String>,
    /// What fires or replicates at each row that is re-encrypted.
    pub notes: Vec<String>,
}

/// What was found of a source besides its registered columns.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SourceCheck {
    /// Its name.
    pub source: String,
    /// What the proof could not look at, each with its place: a rotation begins, and its proof waits for that.
    pub problems: Vec<String>,
}

/// What was found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Findings {
    /// Every registered column, and those that the configuration adds.
    pub columns: Vec<ColumnCheck>,
    /// Every source of the configuration.
    pub sources: Vec<SourceCheck>,
    /// Backups of wrapped keys that were missing and are written now.
    pub backups_written: usize,
}

impl Findings {
    /// Nothing stops a rotation.
    pub fn can_rotate(&self) -> bool {
        self.columns.iter().all(|c| c.problems.is_empty())
    }

    /// Nothing stops a rotation or its proof, and every sampled cell opened.
    pub fn good(&self) -> bool {
        self.can_rotate()
            && self.sources.iter().all(|s| s.problems.is_empty())
            && self.columns.iter().all(|c| c.unreadable.is_empty())
    }
}

/// Looks at every registered column and at what the configuration adds, and registers the latter when
/// nothing stops a rotation: a column none of whose cells opens is taken for a mistake.
pub async fn check(engine: &Engine) -> Result<Findings, EngineError> {
    let mut findings = look(engine).await?;
    if findings.can_rotate() {
        plan::register(engine).await?;
    }
    let mut keysets: Vec<String> =
        catalog::registered(engine.ledger.db()).await?.into_iter().map(|c| c.keyset).collect();
    keysets.sort();
    keysets.dedup();
    for keyset in &keysets {
        findings.backups_written += engine.keyring.back_up(keyset).await?;
    }
    Ok(findings)
}

/// Registers what `ignore_columns` leaves out, on the word of a person, and says how many of them are new. Proofs look
/// everywhere else.
pub async fn exclude(engine: &Engine, actor: &str) -> Result<usize, EngineError> {
    let txn = engine.ledger.begin().await?;
    let mut added = 0;
    for source in &engine.config.sources {
        added += scope::exclude(&txn, actor, &source.name, &source.ignore_columns).await?;
    }
    txn.commit().await?;
    Ok(added)
}

/// Looks, as [`check`] does, and writes nothing.
pub(crate) async fn look(engine: &Engine) -> Result<Findings, EngineError> {
    let columns = registered_and_declared(engine).await?;
    let declared = engine.declared().await?;
    let mut findings = Findings { sources: sources(engine, &columns).await?, ..Findings::default() };
    for table in by_table(columns) {
        let mut checks: Vec<_> =
            table.iter().map(|c| ColumnCheck { column: c.path(), ..ColumnCheck::default() }).collect();
        for (check, column) in checks.iter_mut().zip(&table) {
            let here = declared.iter().find(|d| catalog_row::Model::from(*d).is_at(column));
            let conflict = here.filter(|_| column.id != 0).and_then(|d| catalog::conflict(column, d));
            check.problems.extend(conflict.map(|conflict| format!("it {conflict}")));
            let ttl_ms = i64::try_from(engine.config.rotation.writer_ttl.as_millis()).unwrap_or(i64::MAX);
            check.problems.extend(writers::too_little_time(engine.ledger.db(), &column.keyset, ttl_ms).await?);
        }
        match engine.target(table).await {
            Ok(target) => look_at(engine, &target, &mut checks).await?,
            Err(e) => checks.iter_mut().for_each(|c| c.problems.push(e.to_string())),
        }
        findings.columns.extend(checks);
    }
    Ok(findings)
}

/// What is not registered is read by the proof, after everything else was done.
async fn sources(engine: &Engine, columns: &[catalog_row::Model]) -> Result<Vec<SourceCheck>, EngineError> {
    let scope = scope::now(engine.ledger.db()).await?;
    let mut found = Vec::new();
    for (name, source) in engine.sources() {
        // Those of the file count once this check has registered them.
        let mut left_out = scope.left_out(name);
        left_out.extend(declared(engine, name).iter().cloned());
        let problems = match source.unreadable(&places(columns, name), &left_out).await {
            Ok(unreadable) => unreadable.iter().map(|u| format!("{name}:{}: {}", u.path, u.why)).collect(),
            Err(e) => vec![format!("{name}: {e}")],
        };
        found.push(SourceCheck { source: name.clone(), problems });
    }
    Ok(found)
}

pub(crate) async fn registered_and_declared(engine: &Engine) -> Result<Vec<catalog_row::Model>, EngineError> {
    let mut columns = catalog::registered(engine.ledger.db()).await?;
    for declared in engine.declared().await? {
        let column = catalog_row::Model::from(&declared);
        if !columns.iter().any(|c| c.is_at(&column)) {
            columns.push(column);
        }
    }
    Ok(columns)
}

async fn look_at(engine: &Engine, target: &Target, checks: &mut [ColumnCheck]) -> Result<(), EngineError> {
    let mut missing = target.source.missing_rights(&target.shape).await?;
    let notes = target.source.notes(&target.shape).await?;
    if missing.is_empty() {
        missing.extend(try_update(engine, target, &notes).await?);
    }
    let keys = ledger_keys::all(engine.ledger.db()).await?;
    let columns = target.columns.iter().zip(&target.shape.columns);
    for ((check, (column, wanted)), template) in checks.iter_mut().zip(columns).zip(&target.templates) {
        check.problems.extend(missing.clone());
        check.notes.extend(notes.clone());
        check.warnings.extend(ambiguity(target, template).await?);
        if !template.binds_to_row() {
            check.warnings.push(
                "its associated data does not name the row, so a cell copied into another row still opens".to_owned(),
            );
        }
        let keyset = match engine.keyring.keyset(&column.keyset).await {
            Ok(keyset) => keyset,
            Err(e) => {
                check.problems.push(format!("keyset `{}`: {e}", column.keyset));
                continue;
            }
        };
        let algorithm = length::next_algorithm(&keys, &column.keyset, None);
        check.problems.extend(length::too_short(target, wanted, algorithm).await?);
        let mut sample = target.source.sample(&target.shape, &column.column_name, true, SAMPLE_ROWS).await?;
        sample.extend(target.source.sample(&target.shape, &column.column_name, false, SAMPLE_ROWS).await?);
        sample.sort_unstable();
        sample.dedup();
        for (key, cell) in sample {
            let associated_data = template.render(&target.shape.split_key(&key)?);
            let adoptable = keyset.adoptable(wanted.layout, &cell, &associated_data);
            match adoptable.and_then(|()| keyset.decrypt_from(wanted.layout, &cell, &associated_data)) {
                Ok(_) => check.opened += 1,
                Err(e) => check.unreadable.push(format!("row {key}: {} ({e})", e.code())),
            }
        }
        if check.opened == 0 && !check.unreadable.is_empty() {
            check.problems.push(format!(
                "none of {} sampled cells opens: is keyset `{}` the right one, and associated data `{}` what the \
                 application passes?",
                check.unreadable.len(),
                column.keyset,
                column.associated_data
            ));
        }
    }
    Ok(())
}

/// Re-encrypts one row as it is and takes it back. What the source says when no row of some passes: it is read-only, or
/// a trigger or a publication is in the way.
async fn try_update(engine: &Engine, target: &Target, notes: &[String]) -> Result<Option<String>, EngineError> {
    let Target { source, shape, .. } = target;
    let mut keysets = Vec::new();
    for column in &target.columns {
        match engine.keyring.keyset(&column.keyset).await {
            Ok(keyset) => keysets.push(keyset),
            Err(_) => return Ok(None), // each column says so itself
        }
    }
    let keysets: Vec<&Keyset> = keysets.iter().map(|k| &**k).collect();
    let mut problem = None;
    for column in &target.columns {
        let some = source.sample(shape, &column.column_name, false, 1).await?;
        let Some((key, _)) = some.first() else { continue };
        for row in source.neighbours(shape, key, TRIED_ROWS).await? {
            let Some(swap) = target.again(row, &keysets)? else { continue };
            problem = match source.try_swap(shape, std::slice::from_ref(&swap)).await {
                Ok(tried) if tried.rows == 1 => return Ok(None),
                Ok(_) => Some(blame::ignored(notes).to_string()),
                Err(e) => Some(format!("an UPDATE of one row fails: {e}")),
            };
        }
    }
    Ok(problem)
}

/// Whether two rows can have the same associated data.
async fn ambiguity(target: &Target, template: &Template) -> Result<Option<String>, EngineError> {
    let key = &target.shape.key;
    let kind = |i: usize| match key[i].ty {
        KeyType::Integer => KeyKind::Integer,
        KeyType::Uuid => KeyKind::Fixed,
        KeyType::UuidBytes => KeyKind::Fixed,
        KeyType::Text => KeyKind::Text,
        KeyType::Bytes => KeyKind::Hex,
    };
    let why = match template.ambiguity(kind) {
        None => return Ok(None),
        Some(Ambiguity::Unparted(one, other)) => {
            format!("nothing in it parts `{}` from `{}`", key[one].name, key[other].name)
        }
        Some(Ambiguity::Contained(separators)) => {
            let Some(why) = contained(target, &separators).await? else { return Ok(None) };
            why
        }
    };
    Ok(Some(format!(
        "two rows can have the same associated data, since {why}; cells could be moved between them: a template for new \
         columns should put a separator there that no value contains"
    )))
}

async fn contained(target: &Target, separators: &[String]) -> Result<Option<String>, EngineError> {
    for separator in separators {
        for key in target.shape.key.iter().filter(|k| k.ty == KeyType::Text) {
            if target.source.key_contains(&target.shape, &key.name, separator).await? {
                return Ok(Some(format!("`{}` contains {separator:?} in some row", key.name)));
            }
        }
    }
    Ok(None)
}

/// Takes the database that a source is connected to for the registered one, and for this ledger's: the data, or the
/// ledger, has moved or was restored. Refused while the key backup has keys that the ledger lacks.
pub async fn accept_source(engine: &Engine, actor: &str, name: &str) -> Result<(), EngineError> {
    owner::accept(engine, actor, name).await
}
