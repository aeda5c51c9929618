//! A rotation, asked for and followed until nothing is left under the old key

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example speaks to whoever runs it")]

use reseal_producer::{
    Client, ClientError, Until,
    api::{Event, NewRotation, Retry},
};

#[tokio::main]
async fn main() -> Result<(), ClientError> {
    let [url, token] = ["URL", "TOKEN"].map(|name| std::env::var(name).expect(name));
    let client = Client::new(&url, token)?;
    let new = NewRotation {
        keyset: "default".to_owned(),
        reason: Some("cryptoperiod over".to_owned()),
        ..NewRotation::default()
    };
    // The key belongs to the reason: whoever asks again for it, from wherever, gets the same rotation.
    let rotation = client.enqueue(&new, "default-2026-11").await?;
    let proved = match client.wait(rotation.id, Until::Proved).await {
        Err(ClientError::NeedsAttention(stuck)) => {
            for failure in client.failures(stuck.rotation.id).await? {
                eprintln!("{} batches of {}: {}", failure.batches, failure.table, failure.advice);
            }
            client.retry(rotation.id, &Retry::default(), "default-2026-11-retry-1").await?;
            client.wait(rotation.id, Until::Proved).await?
        }
        waited => waited?,
    };
    println!("rotation {}: {}", rotation.id, proved.rotation.summary);
    // From the beginning of the audit: what was done since, each change once.
    let mut events = client.events(Some(rotation.id), Some(0));
    loop {
        if let Event::Change(change) = events.next().await? {
            println!("{} {} by {}", change.at, change.action, change.actor);
            break;
        }
    }
    Ok(())
}
