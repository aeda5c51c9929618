//! Who asks, as the audit names them.

/// `user@host`.
pub(crate) fn actor() -> String {
    let user =
        ["USER", "LOGNAME"].into_iter().find_map(|name| std::env::var(name).ok().filter(|user| !user.is_empty()));
    let user = user.unwrap_or_else(|| format!("uid{}", rustix::process::getuid()));
    format!("{user}@{}", rustix::system::uname().nodename().to_string_lossy())
}
