//! The parameters of a PostgreSQL URL.

use super::{Unreached, Why};
use std::fs;

/// Those that the driver knows, and `options[…]`.
const KNOWN: [&str; 18] = [
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
];

/// Those that name a file.
const FILES: [&str; 7] = ["sslrootcert", "ssl-root-cert", "ssl-ca", "sslcert", "ssl-cert", "sslkey", "ssl-key"];

pub(super) fn refuse_unknown(url: &str) -> Result<(), Unreached> {
    let refuse = |words: String| Err(Unreached::new(Why::Address, words));
    let Some((_, query)) = url.split_once('?') else { return Ok(()) };
    // An unescaped question mark in a password: what follows may be the rest of it.
    if query.contains('@') {
        return refuse(
            "the URL's parameters hold an @: write special characters of the password as percent codes, e.g. %3F for a \
             question mark and %40 for an @"
                .to_owned(),
        );
    }
    for parameter in query.split('#').next().unwrap_or_default().split('&').filter(|p| !p.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or(("", parameter));
        if KNOWN.contains(&name) || (name.starts_with("options[") && name.ends_with(']')) {
            if FILES.contains(&name)
                && let Err(e) = fs::metadata(decoded(value))
            {
                return refuse(format!(
                    "the file that the URL's {name} names cannot be read: {}: {}",
                    decoded(value),
                    e.kind()
                ));
            }
            continue;
        }
        return refuse(if name.is_empty() {
            "the URL has a parameter without a value: take it out".to_owned()
        } else {
            format!(
                "the URL has a parameter that is not known here, `{name}`: take it out; known are {}",
                KNOWN.join(", ")
            )
        });
    }
    Ok(())
}

/// Percent codes taken out, for a path.
fn decoded(value: &str) -> String {
    let bytes = value.as_bytes();
    let (mut out, mut i) = (Vec::new(), 0);
    while i < bytes.len() {
        let code = (bytes[i] == b'%').then(|| value.get(i + 1..i + 3).and_then(|d| u8::from_str_radix(d, 16).ok()));
        match code.flatten() {
            Some(byte) => {
                out.push(byte);
                i += 3;
            }
            None => {
                out.push(bytes[i]);
                i += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::refuse_unknown;

    #[test]
    fn a_parameter_that_is_not_known_is_refused_by_its_name_alone() {
        for (url, named) in [
            ("postgres://db/app?sslpassword=hunter2", "`sslpassword`"),
            ("postgres://db/app?sslmode=require&passwd=hunter2", "`passwd`"),
            ("postgres:///?service=hunter2", "`service`"),
            ("postgres://u:1?hunter2@db/app", "percent codes"),
            ("postgres://db/app?hunter2", "without a value"),
            ("postgres://db/app?sslmode=verify-full&sslrootcert=/nowhere/root.crt", "/nowhere/root.crt"),
        ] {
            let words = refuse_unknown(url).unwrap_err().words;
            assert!(words.contains(named) && !words.contains("hunter2"), "{url}: {words}");
        }
        for url in
            ["postgres://db/app", "postgres://db/app?", "postgres://db/app?options[search_path]=a,b&sslmode=require"]
        {
            refuse_unknown(url).unwrap();
        }
    }
}
