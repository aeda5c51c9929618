//! An encrypted message, there and back

use reseal_storage::{Storage, StorageError, Text};

#[tokio::main]
async fn main() -> Result<(), StorageError> {
    let [app, ledger, kek] = ["APP_URL", "LEDGER_URL", "KEK_URI"].map(|name| std::env::var(name).expect(name));
    let db = sea_orm::Database::connect(app).await?;
    let storage = Storage::open(&ledger, &kek).await?;
    let id = storage.messages::<Text>().send(&db, "hello").await?;
    let message = storage.messages::<Text>().read(&db, id).await?;
    assert_eq!(message.as_deref().map(String::as_str), Some("hello"));
    storage.close().await;
    Ok(())
}
