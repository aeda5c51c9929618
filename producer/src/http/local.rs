//! Where somebody is sent who has signed in: never to another host.

/// Longer than any page's address.
const LENGTH_MAX: usize = 2_048;

/// `path` when it is one of this server: it begins with one `/`, and holds nothing that a browser could take for a host.
pub(crate) fn local(path: &str) -> Option<&str> {
    let plain = path.len() <= LENGTH_MAX && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    (plain && path.starts_with('/') && !path.contains("//")).then_some(path)
}

/// The page to sign in at, and where to go on from there.
pub(super) fn sign_in_for(next: &str) -> String {
    match local(next) {
        None | Some("/") => "/sign-in".to_owned(),
        Some(next) => format!("/sign-in?next={}", escaped(next)),
    }
}

fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        match byte {
            b'/' | b'-' | b'_' | b'.' | b'~' => escaped.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => escaped.push(char::from(byte)),
            _ => escaped += &format!("%{byte:02X}"),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_to_another_host() {
        let long = format!("/{}", "a".repeat(LENGTH_MAX));
        for foreign in [
            "",
            "rotations",
            "https://evil.example/",
            "//evil.example",
            "///evil.example",
            "/.//evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "/\t/evil.example",
            "/\n/evil.example",
            "/rotations\r\nset-cookie: a=b",
            " /rotations",
            "/rotations ",
            "/ä",
            "javascript:alert(1)",
            "?next=/",
            &long,
        ] {
            assert_eq!(local(foreign), None, "{foreign:?}");
            assert_eq!(sign_in_for(foreign), "/sign-in", "{foreign:?}");
        }
        for own in ["/", "/rotations", "/rotations/7?state=failed&code=a%20b", "/keys/7#cells"] {
            assert_eq!(local(own), Some(own));
        }
    }

    #[test]
    fn a_page_is_kept_whole_with_what_was_asked_of_it() {
        assert_eq!(sign_in_for("/"), "/sign-in");
        assert_eq!(sign_in_for("/rotations/7?a=b&c=%20"), "/sign-in?next=/rotations/7%3Fa%3Db%26c%3D%2520");
    }
}
