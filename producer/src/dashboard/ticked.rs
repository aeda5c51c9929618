//! Texts that name commands and options between backticks, as the ledger and the command line write them.

use askama::filters::{Html, escape};

/// Escaped, with what stands between two backticks as code. One backtick alone stays what it is.
pub(super) fn ticked(text: impl AsRef<str>) -> String {
    let safe = match escape(text.as_ref(), Html) {
        Ok(safe) => safe.to_string(),
        Err(never) => match never {},
    };
    let mut html = String::with_capacity(safe.len());
    let mut rest = safe.as_str();
    while let Some((before, code, after)) =
        rest.split_once('`').and_then(|(before, rest)| rest.split_once('`').map(|(code, after)| (before, code, after)))
    {
        html += before;
        html += "<code>";
        html += code;
        html += "</code>";
        rest = after;
    }
    html + rest
}

#[cfg(test)]
mod tests {
    use super::ticked;

    #[test]
    fn what_stands_between_backticks_is_code_and_markup_is_text() {
        for (text, html) in [
            ("see `reseal status 2`: `x`", "see <code>reseal status 2</code>: <code>x</code>"),
            ("one ` alone", "one ` alone"),
            ("`a` and ` more", "<code>a</code> and ` more"),
            ("", ""),
        ] {
            assert_eq!(ticked(text), html);
        }
        let hostile = ticked("`<b>` <script>`");
        assert!(
            !hostile.contains("<b>") && !hostile.contains("<script>") && hostile.starts_with("<code>&"),
            "{hostile}"
        );
    }
}
