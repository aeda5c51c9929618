//! A place to rotate: a ledger, a source with the reference tables, an engine, and a hand that does
//! what the bell rings for, one job at a time.

use reseal_config::{ChunkRows, Column, Config, Encoding, Fence, Format, SecretUrl, Source, Table};
use reseal_engine::{Engine, clear, dispatch::Dispatcher, operation, plan, prove, reencrypt};
use reseal_entities::{
    app::{messages, sync_queue, user_profiles},
    job::{Doorbell, Job, JobKind, RingError},
    ledger::{
        Ledger,
        open::{Opened, Request},
        read::{self, RotationStatus},
    },
    rotations,
    state::RotationState,
};
use reseal_tests::{Leash, shared_postgres};
use sea_orm::{
    ActiveValue::Set, ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbBackend, EntityTrait, Statement,
    TransactionTrait, sea_query::Expr,
};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use uuid::Uuid;

pub(crate) use sea_orm::DatabaseBackend::{Postgres, Sqlite};

static NAMES: AtomicU32 = AtomicU32::new(0);

/// Plaintexts by `table.column:key`, as an application would know them.
pub(crate) type Truth = BTreeMap<String, Vec<u8>>;

pub(crate) struct Site {
    pub(crate) engine: Arc<Engine>,
    pub(crate) app: DatabaseConnection,
    pub(crate) dir: Leash,
    dispatcher: Dispatcher,
    bell: Bell,
}

#[derive(Default)]
struct Bell(Mutex<VecDeque<Job>>);

#[async_trait::async_trait]
impl Doorbell for Bell {
    async fn ring(&self, job: &Job, _: &str) -> Result<(), RingError> {
        self.0.lock().unwrap().push_back(job.clone());
        Ok(())
    }

    async fn incarnation(&self) -> Result<String, RingError> {
        Ok("one".into())
    }
}

fn database(backend: DbBackend, dir: &Leash, name: &str) -> String {
    match backend {
        Postgres => {
            let name = format!("r{}_{}_{name}", std::process::id(), NAMES.fetch_add(1, Ordering::Relaxed));
            shared_postgres().create_database(&name)
        }
        _ => format!("sqlite://{}/{name}.sqlite?mode=rwc", dir.dir().display()),
    }
}

async fn count(db: &DatabaseConnection, sql: &str) -> i64 {
    let row = db.query_one_raw(Statement::from_string(db.get_database_backend(), sql)).await.unwrap().unwrap();
    row.try_get_by_index(0).unwrap()
}

pub(crate) fn column(name: &str, associated_data: &str) -> Column {
    Column {
        name: name.into(),
        keyset: "default".into(),
        format: Format::Tink,
        encoding: Encoding::Bytes,
        associated_data: associated_data.into(),
    }
}

pub(crate) fn table(name: &str, columns: Vec<Column>) -> Table {
    Table {
        source: "app".into(),
        schema: None,
        name: name.into(),
        primary_key: vec!["id".into()],
        fence: Fence::Trigger,
        columns,
    }
}

impl Site {
    /// Ledger and source apart, batches of 50 rows, chunks of 17, no waiting times.
    pub(crate) async fn new(backend: DbBackend) -> Self {
        Self::with(backend, false, |_| ()).await
    }

    pub(crate) async fn with(backend: DbBackend, beside: bool, adjust: impl FnOnce(&mut Config)) -> Self {
        let dir = Leash::new();
        let app_url = database(backend, &dir, "app");
        Self::at(backend, dir, app_url, beside, adjust).await
    }

    /// The same over a source that is there, without the reference tables.
    pub(crate) async fn over(backend: DbBackend, app_url: &str, adjust: impl FnOnce(&mut Config)) -> Self {
        Self::at(backend, Leash::new(), app_url.to_owned(), false, adjust).await
    }

    async fn at(
        backend: DbBackend,
        dir: Leash,
        app_url: String,
        beside: bool,
        adjust: impl FnOnce(&mut Config),
    ) -> Self {
        let ledger_url = if beside { app_url.clone() } else { database(backend, &dir, "ledger") };
        let mut config = Config::demo(dir.dir());
        config.ledger.url = SecretUrl::new(&ledger_url);
        config.sources = vec![Source {
            name: "app".into(),
            url: SecretUrl::new(&app_url),
            ddl_url: None,
            ignore_columns: Vec::new(),
            replica_lag_max: Default::default(),
            silence_max: Duration::from_secs(60),
        }];
        config.rotation.batch_rows = 50;
        config.rotation.chunk_rows = ChunkRows::Fixed(17);
        config.rotation.writer_ttl = Duration::ZERO;
        adjust(&mut config);
        let kek = dir.dir().join("kek");
        config.kek.uri = SecretUrl::new(format!("file:{}", kek.display()));
        reseal_keyring::kek::create(config.kek.uri.expose()).unwrap();
        let mut options = ConnectOptions::new(&app_url);
        options.max_connections(4).sqlx_logging(false);
        let app = Database::connect(options).await.unwrap();
        reseal_migration::migrate_reference_tables(&app).await.unwrap();
        let ledger = Ledger::connect(&ledger_url).await.unwrap();
        reseal_migration::migrate_ledger(ledger.db()).await.unwrap();
        ledger.identity().await.unwrap();
        let engine = Engine::open(config, ledger, "worker-1".into()).await.unwrap();
        engine.keyring.create("tester", "default").await.unwrap();
        Self { engine: Arc::new(engine), app, dir, dispatcher: Dispatcher::default(), bell: Bell::default() }
    }

    /// An empty database beside the others.
    pub(crate) async fn another_database(&self, name: &str) -> String {
        database(self.app.get_database_backend(), &self.dir, name)
    }

    /// Another engine over the same ledger and sources, as after a restart.
    pub(crate) async fn restart(&mut self, worker: &str) {
        let (config, ledger) = (self.engine.config.clone(), self.engine.ledger.clone());
        self.engine = Arc::new(Engine::open(config, ledger, worker.into()).await.unwrap());
    }

    pub(crate) async fn sql(&self, sql: &str) {
        self.app.execute_unprepared(sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
    }

    pub(crate) async fn ledger_sql(&self, sql: &str) {
        self.engine.ledger.db().execute_unprepared(sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
    }

    /// As if the time had passed for which batches and tables wait after a failure.
    pub(crate) async fn end_pauses(&self) {
        self.ledger_sql("UPDATE reseal_batches SET due_at = 0, next_ring_at = 0 WHERE state = 'pending'").await;
        self.ledger_sql("UPDATE reseal_planned_tables SET fault_until = 0 WHERE faults > 0").await;
    }

    /// The first column of the first row.
    pub(crate) async fn count(&self, sql: &str) -> i64 {
        count(&self.app, sql).await
    }

    pub(crate) async fn ledger_count(&self, sql: &str) -> i64 {
        count(self.engine.ledger.db(), sql).await
    }

    /// The same of the ledger.
    pub(crate) async fn count_in_ledger(&self, sql: &str) -> i64 {
        let db = self.engine.ledger.db();
        let row = db.query_one_raw(Statement::from_string(db.get_database_backend(), sql)).await.unwrap().unwrap();
        row.try_get_by_index(0).unwrap()
    }

    /// `rows` rows in each reference table, every tenth NULL, under the active key.
    pub(crate) async fn seed(&self, rows: u64) -> Truth {
        let keyset = self.engine.keyring.keyset("default").await.unwrap();
        let mut truth = Truth::new();
        let mut cell = |place: String, i: u64| {
            if i % 10 == 9 {
                return None;
            }
            let plaintext = format!("{place} says {}", "x".repeat((i * 37 % 200) as usize)).into_bytes();
            let cell = keyset.encrypt(&plaintext, place.as_bytes());
            truth.insert(place, plaintext);
            Some(cell)
        };
        let txn = self.app.begin().await.unwrap();
        for i in 0..rows {
            let (id, uuid) = (1 + (i * i + 7 * i) as i64, Uuid::new_v4());
            messages::Entity::insert(messages::ActiveModel {
                id: Set(id),
                encrypted_content: Set(cell(format!("messages.encrypted_content:{id}"), i)),
                created_at: Set(0),
            })
            .exec_without_returning(&txn)
            .await
            .unwrap();
            sync_queue::Entity::insert(sync_queue::ActiveModel {
                id: Set(-id),
                encrypted_data: Set(cell(format!("sync_queue.encrypted_data:{}", -id), i)),
                created_at: Set(0),
            })
            .exec_without_returning(&txn)
            .await
            .unwrap();
            user_profiles::Entity::insert(user_profiles::ActiveModel {
                id: Set(uuid),
                encrypted_data: Set(cell(format!("user_profiles.encrypted_data:{uuid}"), i)),
                created_at: Set(0),
            })
            .exec_without_returning(&txn)
            .await
            .unwrap();
        }
        txn.commit().await.unwrap();
        truth
    }

    pub(crate) async fn set_message(&self, id: i64, cell: Option<Vec<u8>>) -> Result<(), sea_orm::DbErr> {
        use sea_orm::{ColumnTrait, QueryFilter};
        let update = messages::Entity::update_many().col_expr(messages::Column::EncryptedContent, Expr::value(cell));
        update.filter(messages::Column::Id.eq(id)).exec(&self.app).await.map(|_| ())
    }

    pub(crate) async fn message(&self, id: i64) -> Vec<u8> {
        messages::Entity::find_by_id(id).one(&self.app).await.unwrap().unwrap().encrypted_content.unwrap()
    }

    /// Reads everything back, under the active key and no other.
    pub(crate) async fn read_all(&self) -> Truth {
        self.engine.keyring.forget();
        let keyset = self.engine.keyring.keyset("default").await.unwrap();
        let header = reseal_keyring::cell::header(keyset.active());
        let mut cells = Vec::new();
        for row in messages::Entity::find().all(&self.app).await.unwrap() {
            cells.push((format!("messages.encrypted_content:{}", row.id), row.encrypted_content));
        }
        for row in sync_queue::Entity::find().all(&self.app).await.unwrap() {
            cells.push((format!("sync_queue.encrypted_data:{}", row.id), row.encrypted_data));
        }
        for row in user_profiles::Entity::find().all(&self.app).await.unwrap() {
            cells.push((format!("user_profiles.encrypted_data:{}", row.id), row.encrypted_data));
        }
        let mut truth = Truth::new();
        for (place, cell) in cells {
            let Some(cell) = cell else { continue };
            assert!(cell.starts_with(&header), "{place} is not under the active key");
            truth.insert(place.clone(), keyset.decrypt(&cell, place.as_bytes()).unwrap().to_vec());
        }
        truth
    }

    pub(crate) async fn request(&self) -> i64 {
        let config = &self.engine.config.rotation;
        let request = Request {
            keyset: "default".into(),
            to_key_id: None,
            actor: "tester".into(),
            reason: None,
            idempotency_key: None,
            clear_after_ms: config.clear_after.unwrap_or_default().as_millis() as i64,
            writer_ttl_ms: config.writer_ttl.as_millis() as i64,
            batch_rows: config.batch_rows as i32,
            needs_approval: false,
            limits: Default::default(),
        };
        match reseal_producer::enqueue(&self.engine.ledger, None, &request).await.unwrap() {
            Opened::Created(id) => id,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn status(&self, id: i64) -> RotationStatus {
        read::status(self.engine.ledger.db(), id).await.unwrap()
    }

    /// One round of dispatch; true when something was rung.
    pub(crate) async fn dispatch(&self) -> bool {
        self.dispatcher.round(&self.engine, &self.bell).await.unwrap().rings > 0
    }

    pub(crate) fn next_job(&self) -> Option<Job> {
        self.bell.0.lock().unwrap().pop_front()
    }

    pub(crate) async fn perform(&self, job: &Job) -> Result<(), reseal_engine::EngineError> {
        let (engine, stop) = (&*self.engine, &|| false);
        match job.kind {
            JobKind::Plan => plan::plan(engine, job.id, stop).await.map(|_| ()),
            JobKind::Batch => reencrypt::batch(engine, job.id, stop).await.map(|_| ()),
            JobKind::Prove => prove::prove(engine, job.id, stop).await.map(|_| ()),
            JobKind::Clear => clear::clear(engine, job.id, stop).await.map(|_| ()),
            JobKind::Operation => operation::perform(engine, job.id, stop).await.map(|_| ()),
            JobKind::Unknown => Ok(()),
        }
    }

    /// Works until `enough` says so; what fails is due again by itself.
    pub(crate) async fn drive(&self, id: i64, enough: impl Fn(&RotationStatus) -> bool) -> RotationStatus {
        let deadline = Instant::now() + Duration::from_secs(180);
        loop {
            let status = self.status(id).await;
            if enough(&status) {
                return status;
            }
            assert!(Instant::now() < deadline, "the rotation got stuck: {status:#?}");
            if !self.dispatch().await {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            if let Some(job) = self.next_job() {
                let _ = self.perform(&job).await;
            }
        }
    }

    pub(crate) async fn drive_to(&self, id: i64, state: RotationState) -> RotationStatus {
        self.drive(id, |s| s.state == state).await
    }

    /// Works to the end although step after step is dropped at some await and begun by a new worker.
    pub(crate) async fn complete_cut_off_anywhere(&mut self, id: i64) {
        let (mut cut_off, mut n, began) = (0, 0, Instant::now());
        loop {
            let status = self.status(id).await;
            if status.state == RotationState::Completed {
                break;
            }
            assert!(began.elapsed() < Duration::from_secs(300), "stuck after {n} steps: {status:#?}");
            self.dispatch().await;
            let Some(job) = self.next_job() else {
                tokio::time::sleep(Duration::from_millis(5)).await;
                continue;
            };
            n += 1;
            let patience = Duration::from_secs_f64(0.000_05 * f64::from(1 + n % 7) * 1.05_f64.powi(n.min(190)));
            if tokio::time::timeout(patience, self.perform(&job)).await.is_err() {
                cut_off += 1;
                self.restart(&format!("worker-{n}")).await;
                self.ledger_sql("UPDATE reseal_batches SET lease_until = 0 WHERE state = 'leased'").await;
                self.ledger_sql("UPDATE reseal_ledger SET leader_until = 0").await;
            }
            self.ledger_sql("UPDATE reseal_rotations SET step_lease_until = NULL, step_due_at = 0, next_ring_at = 0")
                .await;
            self.ledger_sql("UPDATE reseal_batches SET next_ring_at = 0, due_at = 0 WHERE state <> 'done'").await;
            self.ledger_sql("UPDATE reseal_planned_tables SET fault_until = 0 WHERE faults > 0").await;
            self.ledger_sql(&format!(
                "UPDATE reseal_batches SET state = 'pending' WHERE state = 'failed' AND rotation_id = {id}"
            ))
            .await;
        }
        assert!(cut_off > 20, "only {cut_off} steps were cut off");
    }

    pub(crate) async fn rotate(&self) -> RotationStatus {
        let id = self.request().await;
        self.drive_to(id, RotationState::Completed).await
    }

    pub(crate) async fn rotation(&self, id: i64) -> rotations::Model {
        read::rotation(self.engine.ledger.db(), id).await.unwrap()
    }
}
