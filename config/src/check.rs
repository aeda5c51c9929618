//! Every option against every other one. What is refused here never reaches a ledger.

use std::{collections::HashSet, fs, ops::RangeInclusive, path::PathBuf, time::Duration};

use crate::{
    ChunkRows, ColumnPattern, Config, ConfigError, Kek, Ledger, OpenedCells, Queue, ReplicaLagMax, Rotation, SecretUrl,
    Server, Source, Table, Tls, Worker, load::Layers, raw,
};

mod table;

type Result<T> = std::result::Result<T, ConfigError>;

pub(crate) fn config(raw: raw::Raw, at: &Layers) -> Result<Config> {
    let ledger_url = required(url(raw.ledger.url, raw.ledger.url_file, "ledger.url", at)?, "ledger.url", at)?;
    database(&ledger_url, "ledger.url", at)?;
    let queue_url = required(url(raw.queue.url, raw.queue.url_file, "queue.url", at)?, "queue.url", at)?;
    queue(&queue_url, at)?;
    let key_backup = required(raw.ledger.key_backup, "ledger.key_backup", at)?;
    let uri = required(raw.kek.uri, "kek.uri", at)?;
    if !uri.contains(':') {
        return Err(at.refuse("kek.uri", "not a URI: write its scheme, e.g. file:/etc/reseal/kek"));
    }
    within(raw.worker.lanes.into(), 1..=64, "worker.lanes", at)?;
    let mut sources: Vec<Source> = Vec::new();
    for (i, raw) in raw.source.into_iter().enumerate() {
        let path = format!("source[{i}]");
        let source = source(raw, &path, at)?;
        if sources.iter().any(|other| other.name == source.name) {
            let reason = format!("the source `{}` is there twice", source.name);
            return Err(at.refuse(&format!("{path}.name"), &reason));
        }
        sources.push(source);
    }
    let mut tables: Vec<Table> = Vec::new();
    for (i, raw) in raw.table.into_iter().enumerate() {
        let path = format!("table[{i}]");
        let table = table::table(raw, &path, at)?;
        if !sources.iter().any(|source| source.name == table.source) {
            let reason = format!("there is no [[source]] with the name `{}`", table.source);
            return Err(at.refuse(&format!("{path}.source"), &reason));
        }
        let same =
            |other: &Table| (&other.source, &other.schema, &other.name) == (&table.source, &table.schema, &table.name);
        if tables.iter().any(same) {
            let reason = format!("the table `{}` is there twice; put its columns together", table.name);
            return Err(at.refuse(&format!("{path}.name"), &reason));
        }
        tables.push(table);
    }
    Ok(Config {
        ledger: Ledger { url: ledger_url, key_backup },
        queue: Queue { url: queue_url },
        kek: Kek { uri: SecretUrl::new(uri) },
        server: server(raw.server, at)?,
        worker: Worker { lanes: raw.worker.lanes },
        sources,
        tables,
        rotation: rotation(raw.rotation, at)?,
    })
}

/// What the encryption service encrypts without an answer of the ledger for (`Options::confirmed_within`).
const KEYSET_REFRESH_MAX: Duration = Duration::from_secs(20);

fn server(raw: raw::Server, at: &Layers) -> Result<Server> {
    within(raw.requests_per_second, 1..=100_000, "server.requests_per_second", at)?;
    let tls = match (raw.tls_certificate, raw.tls_key) {
        (Some(certificate), Some(key)) => Some(Tls { certificate, key }),
        (None, None) => None,
        (Some(_), None) => return Err(at.refuse("server.tls_key", "missing, and `server.tls_certificate` is set")),
        (None, Some(_)) => return Err(at.refuse("server.tls_certificate", "missing, and `server.tls_key` is set")),
    };
    let keyset_refresh = duration(&raw.keyset_refresh, "server.keyset_refresh", at)?;
    if keyset_refresh.is_zero() || keyset_refresh > KEYSET_REFRESH_MAX {
        let reason = "must be longer than nothing and 20s at most: a service that was silent for 30s is taken for gone";
        return Err(at.refuse("server.keyset_refresh", reason));
    }
    Ok(Server { bind: raw.bind, tls, requests_per_second: raw.requests_per_second, keyset_refresh })
}

fn source(raw: raw::Source, path: &str, at: &Layers) -> Result<Source> {
    let (url_option, ddl_option) = (format!("{path}.url"), format!("{path}.ddl_url"));
    named(&raw.name, &format!("{path}.name"), at)?;
    let url_text = required(url(raw.url, raw.url_file, &url_option, at)?, &url_option, at)?;
    database(&url_text, &url_option, at)?;
    let ddl_url = url(raw.ddl_url, raw.ddl_url_file, &ddl_option, at)?;
    if let Some(ddl_url) = &ddl_url {
        database(ddl_url, &ddl_option, at)?;
        if (ddl_url.scheme() == "sqlite") != (url_text.scheme() == "sqlite") {
            return Err(at.refuse(&ddl_option, "another kind of database than the source's url"));
        }
    }
    for (i, column) in raw.ignore_columns.iter().enumerate() {
        if ColumnPattern::parse(column).is_none() {
            let reason = "write schema.table.column or table.column; a star stands for any characters of one part, and a \
                          name with a dot or a star stands in double quotes";
            return Err(at.refuse(&format!("{path}.ignore_columns[{i}]"), reason));
        }
    }
    let lag = raw.replica_lag_max.as_deref().map(|text| replica_lag_max(text, path, at)).transpose()?;
    let replica_lag_max = lag.unwrap_or_default();
    let silence_max = silence_max(&raw.silence_max, path, at)?;
    Ok(Source {
        name: raw.name,
        url: url_text,
        ddl_url,
        ignore_columns: raw.ignore_columns,
        replica_lag_max,
        silence_max,
    })
}

fn silence_max(text: &str, path: &str, at: &Layers) -> Result<Duration> {
    let refuse =
        |e: &dyn std::fmt::Display| at.refuse(&format!("{path}.silence_max"), &format!("{e}; write e.g. \"60s\""));
    match humantime::parse_duration(text) {
        Ok(silence) if silence < Duration::from_secs(1) => Err(refuse(&"a server may be silent for a second")),
        Ok(silence) => Ok(silence),
        Err(e) => Err(refuse(&e)),
    }
}

fn replica_lag_max(text: &str, path: &str, at: &Layers) -> Result<ReplicaLagMax> {
    if text == "off" {
        return Ok(ReplicaLagMax::Off);
    }
    let refuse = |e: &dyn std::fmt::Display| {
        at.refuse(&format!("{path}.replica_lag_max"), &format!("{e}; write e.g. \"1.5s\" or \"2m\", or \"off\""))
    };
    // humantime knows no fractions
    let seconds = text.strip_suffix('s').and_then(|n| n.parse().ok()).map(Duration::try_from_secs_f64);
    let parsed = match seconds {
        Some(Ok(max)) => Ok(max),
        _ => humantime::parse_duration(text),
    };
    match parsed {
        Ok(max) if max.is_zero() => Err(refuse(&"every replica lags by more than nothing")),
        Ok(max) => Ok(ReplicaLagMax::At(max)),
        Err(e) => Err(refuse(&e)),
    }
}

fn duration(text: &str, option: &str, at: &Layers) -> Result<Duration> {
    humantime::parse_duration(text).map_err(|e| at.refuse(option, &format!("{e}; write e.g. \"60s\" or \"7d\"")))
}

/// As the ledger takes them: a year for applications to reload, a century of waiting.
const WRITER_TTL_MAX_DAYS: u64 = 365;
const CLEAR_AFTER_MAX_DAYS: u64 = 36_500;

fn rotation(raw: raw::Rotation, at: &Layers) -> Result<Rotation> {
    within(raw.batch_rows, 10..=1_000_000, "rotation.batch_rows", at)?;
    if let ChunkRows::Fixed(rows) = raw.chunk_rows {
        within(rows, 10..=5_000, "rotation.chunk_rows", at)?;
    }
    if let OpenedCells::Sample(rows) = raw.opened_cells {
        within(rows, 1..=10_000_000, "rotation.opened_cells", at)?;
    }
    within(raw.outstanding_batches_max, 1..=2_000, "rotation.outstanding_batches_max", at)?;
    let duration = |text: &str, option: &str| duration(text, option, at);
    let at_most = |length: Duration, most_days: u64, option: &str| -> Result<Duration> {
        if length.as_secs() <= most_days * 86_400 {
            return Ok(length);
        }
        Err(at.refuse(option, &format!("longer than {most_days} days")))
    };
    let writer_ttl =
        at_most(duration(&raw.writer_ttl, "rotation.writer_ttl")?, WRITER_TTL_MAX_DAYS, "rotation.writer_ttl")?;
    let clear_after = raw.clear_after.map(|text| duration(&text, "rotation.clear_after")).transpose()?;
    let clear_after =
        clear_after.map(|length| at_most(length, CLEAR_AFTER_MAX_DAYS, "rotation.clear_after")).transpose()?;
    let cryptoperiod = raw.cryptoperiod.map(|text| duration(&text, "rotation.cryptoperiod")).transpose()?;
    if cryptoperiod.is_some_and(|period| period.is_zero()) {
        return Err(at.refuse("rotation.cryptoperiod", "every key would be due at once; write e.g. \"90d\""));
    }
    Ok(Rotation {
        batch_rows: raw.batch_rows,
        chunk_rows: raw.chunk_rows,
        outstanding_batches_max: raw.outstanding_batches_max,
        writer_ttl,
        two_person: raw.two_person,
        opened_cells: raw.opened_cells,
        cryptoperiod,
        clear_after,
    })
}

fn url(text: Option<String>, file: Option<PathBuf>, option: &str, at: &Layers) -> Result<Option<SecretUrl>> {
    let file_option = format!("{option}_file");
    match (text, file) {
        (Some(_), Some(_)) => Err(at.refuse(&file_option, &format!("`{option}` is set too; keep one of them"))),
        (Some(text), None) => Ok(Some(SecretUrl::new(text))),
        (None, Some(file)) => match fs::read_to_string(&file) {
            Ok(text) => Ok(Some(SecretUrl::new(text.trim()))),
            Err(e) => Err(at.refuse(&file_option, &format!("cannot read {}: {e}", file.display()))),
        },
        (None, None) => Ok(None),
    }
}

fn database(url: &SecretUrl, option: &str, at: &Layers) -> Result<()> {
    match url.scheme() {
        "sqlite" | "postgres" | "postgresql" => Ok(()),
        "mysql" | "mariadb" => {
            Err(at.refuse(option, "mysql and mariadb are not yet built into this binary; use postgres or sqlite"))
        }
        _ => Err(at.refuse(option, "unknown scheme; known are postgres, postgresql and sqlite")),
    }
}

fn queue(url: &SecretUrl, at: &Layers) -> Result<()> {
    match url.scheme() {
        "redis" | "memory" => Ok(()),
        "rediss" => Err(at.refuse("queue.url", "rediss is not built into this binary yet; use redis")),
        _ => Err(at.refuse("queue.url", "unknown scheme; known are redis and memory")),
    }
}

fn required<T>(value: Option<T>, option: &str, at: &Layers) -> Result<T> {
    value.ok_or_else(|| at.refuse(option, "missing, and it has no default here"))
}

fn named(name: &str, option: &str, at: &Layers) -> Result<()> {
    if name.is_empty() { Err(at.refuse(option, "empty")) } else { Ok(()) }
}

fn unique(names: &[String], option: impl Fn(usize) -> String, at: &Layers) -> Result<()> {
    let mut seen = HashSet::new();
    for (i, name) in names.iter().enumerate() {
        named(name, &option(i), at)?;
        if !seen.insert(name) {
            return Err(at.refuse(&option(i), &format!("`{name}` is there twice")));
        }
    }
    Ok(())
}

fn within(value: u32, limits: RangeInclusive<u32>, option: &str, at: &Layers) -> Result<()> {
    if limits.contains(&value) {
        return Ok(());
    }
    let reason = format!("{value} is not between {} and {}", limits.start(), limits.end());
    Err(at.refuse(option, &reason))
}
