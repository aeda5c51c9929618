//! Pages of lists: `limit` and an opaque `cursor`.

use crate::api::Page;
use reseal_http::Problem;
use serde::Deserialize;
use utoipa::IntoParams;

const LIMIT: u64 = 50;
const LIMIT_MAX: u64 = 500;

/// Which page.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Paging {
    /// At most so many.
    #[param(minimum = 1, maximum = 500, default = 50)]
    limit: Option<u64>,
    /// `next_cursor` of the page before.
    #[param(pattern = "^[0-9a-f]{16}$")]
    cursor: Option<String>,
}

impl Paging {
    /// How many, and beside which id.
    pub(crate) fn read(&self) -> Result<(u64, Option<i64>), Problem> {
        let limit = self.limit.unwrap_or(LIMIT);
        if !(1..=LIMIT_MAX).contains(&limit) {
            return Err(Problem::invalid("limit", format!("not a number from 1 to {LIMIT_MAX}")));
        }
        let beside = self.cursor.as_deref().map(decode).transpose()?;
        Ok((limit, beside))
    }
}

/// A page of what was found with `limit + 1`: one more than asked for says that there is another page.
pub(crate) fn page<R, T>(mut rows: Vec<R>, limit: u64, id: impl Fn(&R) -> i64, tell: impl Fn(R) -> T) -> Page<T> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next_cursor = rows.last().filter(|_| more).map(|last| encode(id(last)));
    Page { items: rows.into_iter().map(tell).collect(), next_cursor }
}

fn encode(id: i64) -> String {
    format!("{id:016x}")
}

fn decode(cursor: &str) -> Result<i64, Problem> {
    let digits = cursor.len() == 16 && cursor.bytes().all(|c| c.is_ascii_hexdigit());
    let id = u64::from_str_radix(cursor, 16).ok().filter(|_| digits).map(u64::cast_signed);
    id.ok_or_else(|| Problem::invalid("cursor", "not a cursor of this API: begin without one"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_as_it_went() {
        for id in [0, 1, -1, i64::MAX] {
            assert_eq!(decode(&encode(id)), Ok(id));
        }
        for wrong in ["", "a", "7", "+000000000000007", "ä", "00000000000000000"] {
            assert_eq!(decode(wrong).expect_err("refused").code, "invalid_request");
        }
    }

    #[test]
    fn only_a_page_that_is_not_the_last_has_a_cursor() {
        assert_eq!(page(vec![9, 8, 7], 2, |n| *n, |n| n), Page { items: vec![9, 8], next_cursor: Some(encode(8)) });
        assert_eq!(page(vec![9, 8], 2, |n| *n, |n| n), Page { items: vec![9, 8], next_cursor: None });
    }
}
