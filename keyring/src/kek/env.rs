//! `env:NAME`: the value stays readable in the process's environment

use zeroize::Zeroizing;

use super::{KekError, local::LocalKek};

pub(super) fn open(name: &str) -> Result<LocalKek, KekError> {
    // Somebody will put the key itself here; base64 of 32 bytes always has a '='.
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if !name.chars().all(is_name) || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(KekError::NotAVariable);
    }
    let value = std::env::var_os(name).ok_or_else(|| KekError::VariableMissing(name.to_owned()))?;
    let value = Zeroizing::new(value.into_encoded_bytes());
    LocalKek::from_base64(&value, name)
}
