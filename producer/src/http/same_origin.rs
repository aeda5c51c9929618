//! Whether a post comes from one of our own pages: another site's form must not act with a person's cookie.
//!
//! A browser says where a request comes from, in `Sec-Fetch-Site` or, where it does not know that header or the page has no TLS,
//! in `Origin`; a page's script can set neither. What says nothing is refused. The price: a proxy in front must pass `Host` on as the
//! browser sent it, and a script that is no browser must send one of the two.

use axum::http::{HeaderMap, HeaderName, header};
use reseal_http::Problem;

const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Refuses what does not come from a page of this server. `tls`: the server speaks it itself.
pub(super) fn check(headers: &HeaderMap, tls: bool) -> Result<(), Problem> {
    let is_ours = match headers.contains_key(SITE) {
        true => only(headers, &SITE) == Some("same-origin"),
        false => is_own_origin(headers, tls).unwrap_or(false),
    };
    if is_ours {
        return Ok(());
    }
    let detail = "this was not sent by a page of this server: open the page here, and do it there";
    Err(Problem::new(403, "cross_origin", detail))
}

/// None: one of the two is not there, or not as a browser writes it.
fn is_own_origin(headers: &HeaderMap, tls: bool) -> Option<bool> {
    let (scheme, from) = only(headers, &header::ORIGIN)?.split_once("://")?;
    let port = match scheme {
        "https" => ":443",
        // A proxy may speak TLS where the server does not, and never the other way round.
        "http" if !tls => ":80",
        _ => return None,
    };
    let host = only(headers, &header::HOST)?;
    let plain = |host: &str| host.strip_suffix(port).unwrap_or(host).to_ascii_lowercase();
    Some(!from.is_empty() && plain(from) == plain(host))
}

/// The header's value when it is there once: of two nobody knows which one counts.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    values.next().is_none().then(|| value.to_str().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn lets_in(said: &[(&'static str, &'static str)], tls: bool) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in said {
            headers.append(*name, HeaderValue::from_static(value));
        }
        check(&headers, tls).is_ok()
    }

    const HERE: (&str, &str) = ("host", "reseal.example:7373");
    const SAME: (&str, &str) = ("sec-fetch-site", "same-origin");

    #[test]
    fn what_the_browser_says_of_the_site_decides_alone() {
        assert!(lets_in(&[HERE, SAME], false));
        for site in ["cross-site", "same-site", "none", "Same-Origin", ""] {
            let said = [HERE, ("sec-fetch-site", site), ("origin", "http://reseal.example:7373")];
            assert!(!lets_in(&said, false), "{site}");
        }
        assert!(!lets_in(&[HERE, SAME, ("sec-fetch-site", "cross-site")], false), "said twice");
    }

    #[test]
    fn without_it_the_origin_must_be_the_host_that_was_asked() {
        let origin = |origin: &'static str, tls| lets_in(&[HERE, ("origin", origin)], tls);
        assert!(origin("http://reseal.example:7373", false) && origin("http://RESEAL.example:7373", false));
        assert!(origin("https://reseal.example:7373", true) && origin("https://reseal.example:7373", false));
        assert!(!origin("http://reseal.example:7373", true), "a page without TLS is another one");
        for foreign in [
            "http://reseal.example",
            "http://reseal.example:80",
            "http://evil.example:7373",
            "http://reseal.example:7373.evil.example",
            "http://reseal.example:73730",
            "http://",
            "ftp://reseal.example:7373",
            "reseal.example:7373",
            "null",
            "",
        ] {
            assert!(!origin(foreign, false), "{foreign}");
        }
        assert!(!lets_in(&[HERE], false), "neither is there");
        assert!(!lets_in(&[("origin", "http://reseal.example")], false), "no host");
        let twice = [HERE, ("origin", "http://reseal.example:7373"), ("origin", "http://evil.example")];
        assert!(!lets_in(&twice, false));
    }

    #[test]
    fn a_port_that_goes_without_saying_may_be_said() {
        assert!(lets_in(&[("host", "a.example:443"), ("origin", "https://a.example")], true));
        assert!(lets_in(&[("host", "a.example"), ("origin", "http://a.example")], false));
        assert!(!lets_in(&[("host", "a.example:80"), ("origin", "https://a.example")], false));
        assert!(lets_in(&[("host", "[::1]:7373"), ("origin", "http://[::1]:7373")], false));
    }
}
