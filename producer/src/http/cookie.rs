//! The cookie of a session: one name, one value, never readable by a script.

use super::Settings;
use axum::http::{HeaderMap, HeaderValue, header};

impl Settings {
    /// Where the server listens on loopback without TLS, the browser is on this machine, too, and might not take a cookie that is
    /// `Secure`. Elsewhere it speaks TLS, or a proxy in front does.
    fn cookie(&self) -> (&'static str, &'static str) {
        match self.on_loopback && !self.tls {
            true => ("reseal", ""),
            // A browser takes such a name only with `Secure`, for `/`, and from this very host.
            false => ("__Host-reseal", "; Secure"),
        }
    }

    /// Gives the browser what it presents from now on, for so long.
    pub(crate) fn set_cookie(&self, presented: &str, seconds: i64) -> Option<HeaderValue> {
        let (name, secure) = self.cookie();
        let cookie = format!("{name}={presented}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}");
        let mut value = HeaderValue::from_str(&cookie).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// Takes it from the browser.
    pub(crate) fn clear_cookie(&self) -> Option<HeaderValue> {
        self.set_cookie("", 0)
    }

    /// What the browser presents. None also where it presents two: another server of this host may have set one of them.
    pub(super) fn presented<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        let (name, _) = self.cookie();
        let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
        let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let mut ours = pairs.filter(|(of, _)| *of == name).map(|(_, value)| value);
        let value = ours.next()?;
        (ours.next().is_none() && !value.is_empty()).then_some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Rules;
    use std::time::Duration;

    fn settings(on_loopback: bool, tls: bool) -> Settings {
        let rules = Rules { clear_after: None, writer_ttl: Duration::ZERO, batch_rows: 1, two_person: false };
        Settings { rules, on_loopback, tls, requests_per_second: 1, cryptoperiod: None }
    }

    fn presented(on_loopback: bool, lines: &[&'static str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::COOKIE, HeaderValue::from_static(line));
        }
        settings(on_loopback, false).presented(&headers).map(str::to_owned)
    }

    #[test]
    fn only_on_loopback_without_tls_the_cookie_goes_over_a_line_that_is_not_encrypted() {
        let set = |on_loopback, tls| settings(on_loopback, tls).set_cookie("7_ab", 60).expect("a header");
        assert_eq!(set(true, false), "reseal=7_ab; Path=/; Max-Age=60; HttpOnly; SameSite=Lax");
        for (on_loopback, tls) in [(true, true), (false, true), (false, false)] {
            let expected = "__Host-reseal=7_ab; Path=/; Max-Age=60; HttpOnly; SameSite=Lax; Secure";
            assert_eq!(set(on_loopback, tls), expected);
        }
        assert!(set(true, false).is_sensitive(), "it must not be logged");
    }

    #[test]
    fn a_cookie_is_taken_by_its_whole_name_and_only_when_there_is_one() {
        assert_eq!(presented(true, &["a=b; reseal=7_ab;c=d"]).as_deref(), Some("7_ab"));
        assert_eq!(presented(true, &["a=b", "reseal=7_ab"]).as_deref(), Some("7_ab"));
        assert_eq!(presented(false, &["__Host-reseal=7_ab"]).as_deref(), Some("7_ab"));
        for none in ["", "reseal", "reseal=", "Reseal=7_ab", "xreseal=7_ab", "__Host-reseal=7_ab", "a=reseal=7_ab"] {
            assert_eq!(presented(true, &[none]), None, "{none}");
        }
        assert_eq!(presented(false, &["reseal=7_ab"]), None, "one that anybody on the line could have set");
        assert_eq!(presented(true, &["reseal=7_ab; reseal=8_cd"]), None);
        assert_eq!(presented(true, &["reseal=7_ab", "reseal=8_cd"]), None);
    }
}
