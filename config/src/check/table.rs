//! One table and its columns.

use super::{Result, named, unique};
use crate::{Column, Encoding, Fence, Format, Table, load::Layers, raw};

pub(crate) fn table(raw: raw::Table, path: &str, at: &Layers) -> Result<Table> {
    named(&raw.name, &format!("{path}.name"), at)?;
    if raw.schema.as_deref() == Some("") {
        return Err(at.refuse(&format!("{path}.schema"), "empty; leave it out, or name the schema"));
    }
    let fence = match raw.fence.as_str() {
        "strict" => Fence::Strict,
        "trigger" => Fence::Trigger,
        "none" => {
            return Err(at.refuse(
                &format!("{path}.fence"),
                "clearing without a fence is not built yet; give ddl_url a role that may create triggers",
            ));
        }
        _ => return Err(at.refuse(&format!("{path}.fence"), "unknown word; known are strict and trigger")),
    };
    let key_option = format!("{path}.primary_key");
    if raw.primary_key.is_empty() {
        return Err(at.refuse(&key_option, "missing; name the columns of the table's primary key, in order"));
    }
    unique(&raw.primary_key, |_| key_option.clone(), at)?;
    if raw.columns.is_empty() {
        return Err(at.refuse(&format!("{path}.columns"), "missing; name at least one encrypted column"));
    }
    let names: Vec<_> = raw.columns.iter().map(|column| column.name.clone()).collect();
    unique(&names, |i| format!("{path}.columns[{i}].name"), at)?;
    let mut columns = Vec::new();
    for (i, column) in raw.columns.into_iter().enumerate() {
        columns.push(self::column(column, &raw.primary_key, &format!("{path}.columns[{i}]"), at)?);
    }
    Ok(Table { source: raw.source, schema: raw.schema, name: raw.name, primary_key: raw.primary_key, fence, columns })
}

fn column(raw: raw::Column, primary_key: &[String], path: &str, at: &Layers) -> Result<Column> {
    named(&raw.keyset, &format!("{path}.keyset"), at)?;
    let format = match raw.format.as_str() {
        "tink" => Format::Tink,
        "raw-aes-gcm" => Format::RawAesGcm,
        "plaintext" => Format::Plaintext,
        _ => {
            let reason = "unknown word; known are tink, raw-aes-gcm and plaintext";
            return Err(at.refuse(&format!("{path}.format"), reason));
        }
    };
    let encoding = match raw.encoding.as_str() {
        "bytes" => Encoding::Bytes,
        "base64" => Encoding::Base64,
        "base64url" => Encoding::Base64Url,
        "base64-unpadded" => Encoding::Base64Unpadded,
        "base64url-unpadded" => Encoding::Base64UrlUnpadded,
        _ => {
            let reason = "unknown word; known are bytes, base64, base64url, base64-unpadded and base64url-unpadded";
            return Err(at.refuse(&format!("{path}.encoding"), reason));
        }
    };
    template(&raw.associated_data, primary_key)
        .map_err(|reason| at.refuse(&format!("{path}.associated_data"), &reason))?;
    let raw::Column { name, keyset, associated_data, .. } = raw;
    Ok(Column { name, keyset, format, encoding, associated_data })
}

fn template(text: &str, primary_key: &[String]) -> std::result::Result<(), String> {
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        let (brace, doubled) = rest[at..].split_at(1);
        if let Some(after) = doubled.strip_prefix(brace) {
            rest = after; // a literal brace
            continue;
        }
        let inside = rest[at..].strip_prefix('{').and_then(|inside| inside.split_once('}'));
        let Some((name, after)) = inside else {
            return Err("a brace without its other one; write {{ or }} for a literal brace".to_owned());
        };
        if !primary_key.iter().any(|column| column == name) {
            return Err(format!("`{{{name}}}` is no column of the primary key"));
        }
        rest = after;
    }
    Ok(())
}
