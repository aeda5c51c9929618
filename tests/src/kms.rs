use std::{sync::OnceLock, time::Duration};

use serde_json::Value;

use crate::{
    eventually::poll,
    leash::{Job, Leash},
    python::spawn_python,
};

const READY_WITHIN: Duration = Duration::from_secs(60);

/// A KMS on loopback that speaks AWS's protocol, gone with the test process.
#[derive(Debug)]
pub struct Kms {
    _server: Job,
    _leash: Leash,
    /// Its address.
    pub endpoint: String,
    /// The ARN of a key.
    pub key: String,
    /// The ARN of a key that is disabled.
    pub disabled: String,
}

/// One server per test binary.
pub fn shared_kms() -> &'static Kms {
    static SHARED: OnceLock<Kms> = OnceLock::new();
    SHARED.get_or_init(Kms::start)
}

impl Kms {
    /// Starts it with two keys.
    pub fn start() -> Self {
        let leash = Leash::new();
        let server = spawn_python(&leash, "kms.py", &[]);
        let ready = poll(READY_WITHIN, || serde_json::from_str::<Value>(server.stdout().trim()).ok());
        let ready = ready.unwrap_or_else(|| panic!("kms.py did not start: {}", server.stderr()));
        let text = |name: &str| ready[name].as_str().expect("a text").to_owned();
        let (endpoint, key, disabled) = (text("endpoint"), text("key"), text("disabled"));
        Self { _server: server, _leash: leash, endpoint, key, disabled }
    }

    /// What AWS's clients read from the environment.
    pub fn env(&self) -> [(&'static str, &str); 4] {
        [
            ("AWS_ENDPOINT_URL_KMS", &self.endpoint),
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
            ("AWS_EC2_METADATA_DISABLED", "true"),
        ]
    }
}
