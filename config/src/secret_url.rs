use std::fmt;

/// A URL that may hold a password. Printing it shows scheme, host and path, never user, password
/// or query; one that cannot be taken apart safely is shown by its scheme alone.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretUrl(String);

impl SecretUrl {
    /// Takes any text; what it may be is checked where it is used.
    pub fn new(url: impl Into<String>) -> Self {
        Self(url.into())
    }

    /// The whole URL, with its password: for a driver, never for a log.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What stands before the first colon; empty without one.
    pub fn scheme(&self) -> &str {
        self.0.split_once(':').map_or("", |(scheme, _)| scheme)
    }

    fn shown(&self) -> String {
        let scheme = self.scheme();
        let rest = self.0.get(scheme.len() + 1..).unwrap_or_default();
        let (rest, query) = match rest.split_once('?') {
            Some((rest, _)) => (rest, "?…"),
            None => (rest, ""),
        };
        match scheme {
            "" => "…".to_owned(),
            "sqlite" | "memory" | "file" | "env" => format!("{scheme}:{rest}{query}"),
            _ => match self.place() {
                Some(place) => format!("{scheme}://{place}{query}"),
                None => format!("{scheme}:…"),
            },
        }
    }

    /// `host:port/path`, unless an unescaped `/`, `?` or `#` in a password makes it a guess where
    /// the host begins.
    fn place(&self) -> Option<&str> {
        let rest = self.0.split_once("://")?.1;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        if rest[end..].contains('@') {
            return None;
        }
        let from = rest[..end].rfind('@').map_or(0, |at| at + 1);
        let port = rest[from..end].rsplit_once(':').map_or("", |(_, port)| port);
        let bracketed = rest[from..end].ends_with(']');
        if !bracketed && !port.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let to = rest[end..].find(['?', '#']).map_or(rest.len(), |at| end + at);
        Some(&rest[from..to])
    }
}

impl fmt::Display for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown())
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretUrl({})", self.shown())
    }
}

#[cfg(test)]
mod tests {
    use super::SecretUrl;

    #[test]
    fn printing_shows_where_and_never_the_password() {
        for (url, shown) in [
            ("postgres://u:hunter2@db:5432/app", "postgres://db:5432/app"),
            ("postgres://u:hunter2@db/app?password=hunter2", "postgres://db/app?…"),
            ("postgres://u:hun@ter2@db/app", "postgres://db/app"),
            ("postgres://u:hunter2@[::1]:5432/app", "postgres://[::1]:5432/app"),
            ("redis://:hunter2@cache", "redis://cache"),
            // not escaped: where the password ends is a guess, so nothing is shown
            ("postgres://u:hunter2/x@db/app", "postgres:…"),
            ("postgres://u:hunter2?x@db/app", "postgres:…"),
            ("redis://:hunter2/0", "redis:…"),
            ("postgres://db/app?password=x@hunter2", "postgres:…"),
            ("hunter2", "…"),
            ("passphrase:hunter2", "passphrase:…"),
            ("sqlite:///var/a@b.sqlite?key=hunter2", "sqlite:///var/a@b.sqlite?…"),
            ("memory:", "memory:"),
            ("file:/etc/reseal/kek", "file:/etc/reseal/kek"),
        ] {
            assert_eq!(SecretUrl::new(url).to_string(), shown, "{url}");
        }
    }
}
