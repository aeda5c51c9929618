//! What every step needs: the ledger, the keys, the sources, the configuration, a name.

use crate::{
    error::EngineError,
    keys::Keyring,
    owner,
    source::{self, CellColumn, Shape, Source, SourceError},
};
use reseal_config::Config;
use reseal_entities::{
    catalog,
    ledger::{
        Ledger, LedgerError, catalog as catalog_rows,
        catalog::Declared,
        scope::{self, Scope},
        sources::Mark,
    },
    planned_tables,
};
use reseal_keyring::{Encoding, Format, Layout, Template};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

/// Asked between chunks: true means finish what is in hand and take no more.
pub type Stop<'a> = &'a (dyn Fn() -> bool + Send + Sync);

/// The engine of one process.
pub struct Engine {
    /// The durable truth.
    pub ledger: Ledger,
    /// The keys of this process.
    pub keyring: Keyring,
    /// What may be set.
    pub config: Config,
    /// This process's unique name, in leases and in the audit.
    pub worker: String,
    sources: BTreeMap<String, Arc<dyn Source>>,
    /// What a source's mark says when the source is this ledger's; the nonce is the ledger's to say.
    pub(crate) me: Mark,
    reencrypted: AtomicI64,
}

/// A table in hand: where it is, what it looks like now, what its cells are bound to.
pub(crate) struct Target {
    pub source: Arc<dyn Source>,
    pub shape: Shape,
    pub columns: Vec<catalog::Model>,
    pub templates: Vec<Template>,
}

impl Engine {
    /// Connects to every source of the configuration. The ledger must be migrated.
    pub async fn open(config: Config, ledger: Ledger, worker: String) -> Result<Self, EngineError> {
        let keyring = Keyring::open(ledger.clone(), config.kek.uri.expose(), &config.ledger.key_backup)?;
        keyring.refuse_another_kek().await?;
        let mut sources = BTreeMap::new();
        for declared in &config.sources {
            let opened = source::open(declared, config.ledger.url.expose()).await.map_err(|e| {
                EngineError::refused(e.code, format!("source `{}` ({}): {e}", declared.name, declared.url))
            })?;
            sources.insert(declared.name.clone(), Arc::from(opened));
        }
        let me = Mark { ledger: ledger.identity().await?.name, place: ledger.place().await?, nonce: String::new() };
        Ok(Self { ledger, keyring, config, worker, sources, me, reencrypted: AtomicI64::new(0) })
    }

    /// A source by name.
    pub fn source(&self, name: &str) -> Result<Arc<dyn Source>, EngineError> {
        // The ledger's refusal, since it costs a batch no attempt: another worker may have the source.
        self.sources.get(name).cloned().ok_or_else(|| {
            LedgerError::refused(
                "source_not_configured",
                format!(
                    "source `{name}` is registered in the ledger and not in the configuration of {}: add [[source]] name = \"{name}\" \
                     there, or, if that database is gone, run `reseal catalog forget-source {name}`",
                    self.worker
                ),
            )
            .into()
        })
    }

    /// Refuses to go on where this process is not configured for every source that a proof must cover.
    pub(crate) fn refuse_less_than(&self, scope: &Scope) -> Result<(), EngineError> {
        scope.sources.iter().try_for_each(|name| self.source(name).map(|_| ()))
    }

    /// Every source that a proof must cover.
    pub(crate) async fn covered(&self) -> Result<Vec<(String, Arc<dyn Source>)>, EngineError> {
        let names = scope::now(self.ledger.db()).await?.sources;
        names.into_iter().map(|name| self.source(&name).map(|source| (name, source))).collect()
    }

    /// Every source of the configuration.
    pub fn sources(&self) -> impl Iterator<Item = (&String, &Arc<dyn Source>)> {
        self.sources.iter()
    }

    /// The columns that the configuration declares, found in the live schemas; the error names the
    /// option.
    pub async fn declared(&self) -> Result<Vec<Declared>, EngineError> {
        let mut declared = Vec::new();
        for (i, table) in self.config.tables.iter().enumerate() {
            let wanted: Vec<CellColumn> = table
                .columns
                .iter()
                .map(|c| Ok(CellColumn::wanted(&c.name, layout(c.format.as_str(), c.encoding.as_str())?)))
                .collect::<Result<_, EngineError>>()?;
            let source = self.source(&table.source)?;
            let shape = source.shape(table.schema.as_deref(), &table.name, &table.primary_key, &wanted).await;
            let shape =
                shape.map_err(|e| EngineError::refused(e.code, format!("table[{i}] (`{}`): {e}", table.name)))?;
            for (j, column) in table.columns.iter().enumerate() {
                Template::parse(&column.associated_data, &table.primary_key).map_err(|e| {
                    EngineError::refused(e.code(), format!("table[{i}].columns[{j}].associated_data: {e}"))
                })?;
                declared.push(Declared {
                    source: table.source.clone(),
                    schema_name: shape.schema.clone(),
                    table_name: shape.table.clone(),
                    column_name: column.name.clone(),
                    keyset: column.keyset.clone(),
                    associated_data: column.associated_data.clone(),
                    primary_key: table.primary_key.clone(),
                    format: column.format.as_str().to_owned(),
                    encoding: column.encoding.as_str().to_owned(),
                    fence: table.fence.as_str().to_owned(),
                });
            }
        }
        Ok(declared)
    }

    /// A table of registered columns, checked against the live schema.
    pub(crate) async fn target(&self, columns: Vec<catalog::Model>) -> Result<Target, EngineError> {
        let Some(first) = columns.first() else {
            return Err(EngineError::refused("no_columns", "a planned table has no columns"));
        };
        let source = self.source(&first.source)?;
        owner::verify_in_use(self, &first.source).await?;
        let key = first.primary_key();
        let wanted = columns.iter().map(|c| Ok(CellColumn::wanted(&c.column_name, layout_of(c)?)));
        let wanted = wanted.collect::<Result<Vec<_>, EngineError>>()?;
        let shape = source.shape(Some(&first.schema_name), &first.table_name, &key, &wanted).await;
        let shape = shape.map_err(|e| or_forget(e, first))?;
        let templates = columns.iter().map(|c| Template::parse(&c.associated_data, &key)).collect::<Result<_, _>>()?;
        Ok(Target { source, shape, columns, templates })
    }

    pub(crate) async fn planned_target(&self, table: &planned_tables::Model) -> Result<Target, EngineError> {
        let registered = catalog_rows::registered(self.ledger.db()).await?;
        let mut columns = table.columns();
        // Pinned is what it was planned with; that it was adopted since only makes it stricter.
        for column in &mut columns {
            column.adopted_at = registered.iter().find(|c| c.id == column.id).and_then(|c| c.adopted_at);
        }
        self.target(columns).await
    }

    /// Rows that the database said this process changed.
    pub fn reencrypted(&self) -> i64 {
        self.reencrypted.load(Ordering::Relaxed)
    }

    pub(crate) fn add_reencrypted(&self, rows: i64) {
        self.reencrypted.fetch_add(rows, Ordering::Relaxed);
    }
}

/// Says what helps where a registered table or column is gone: a rotation waits for that in each of its states.
fn or_forget(error: SourceError, first: &catalog::Model) -> SourceError {
    if !matches!(error.code, "table_missing" | "column_missing") {
        return error;
    }
    let message = format!(
        "{}: put it back, or, where it is gone for good, take it out of the configuration and run `reseal catalog forget \
         {}:{}.{}.COLUMN` for each of its columns that is gone; a rotation then does without them",
        error.message, first.source, first.schema_name, first.table_name
    );
    SourceError { message, ..error }
}

/// How cells stand in a registered column. An adopted one is native: what else turns up there is
/// damaged, and encrypting it again would bury it.
fn layout_of(column: &catalog::Model) -> Result<Layout, EngineError> {
    layout(if column.is_to_be_adopted() { &column.format } else { catalog::NATIVE }, &column.encoding)
}

fn layout(format: &str, encoding: &str) -> Result<Layout, EngineError> {
    let unknown = |e: reseal_keyring::UnknownWord| EngineError::refused("unknown_layout", e.to_string());
    let (format, encoding): (Format, Encoding) = (format.parse().map_err(unknown)?, encoding.parse().map_err(unknown)?);
    Ok(Layout { format, encoding })
}

/// Columns grouped by table, in the order in which they were registered.
pub(crate) fn by_table(columns: Vec<catalog::Model>) -> Vec<Vec<catalog::Model>> {
    let mut tables: Vec<Vec<catalog::Model>> = Vec::new();
    for column in columns {
        let same = |t: &&mut Vec<catalog::Model>| {
            t.first().is_some_and(|c| {
                (&c.source, &c.schema_name, &c.table_name) == (&column.source, &column.schema_name, &column.table_name)
            })
        };
        match tables.iter_mut().find(same) {
            Some(table) => table.push(column),
            None => tables.push(vec![column]),
        }
    }
    tables
}
