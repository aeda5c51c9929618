//! Whole numbers as JSON has them: `7` and `7.0` are the same one (JSON Schema 2020-12, 6.1.1).

use serde::{
    Deserialize, Deserializer,
    de::{Error, Unexpected},
};

/// For `deserialize_with`: a whole number or null.
///
/// # Errors
///
/// For a number that is not whole, or does not fit.
pub fn whole<'de, D: Deserializer<'de>, T: TryFrom<i64>>(from: D) -> Result<Option<T>, D::Error> {
    Option::<Whole>::deserialize(from)?.map(fit).transpose()
}

/// For `deserialize_with`: a list of whole numbers, or null.
///
/// # Errors
///
/// As [`whole`].
pub fn whole_list<'de, D: Deserializer<'de>, T: TryFrom<i64>>(from: D) -> Result<Option<Vec<T>>, D::Error> {
    Option::<Vec<Whole>>::deserialize(from)?.map(|list| list.into_iter().map(fit).collect()).transpose()
}

fn fit<T: TryFrom<i64>, E: Error>(Whole(n): Whole) -> Result<T, E> {
    T::try_from(n).map_err(|_| E::invalid_value(Unexpected::Signed(n), &"a whole number that fits"))
}

struct Whole(i64);

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Numbers;
        impl serde::de::Visitor<'_> for Numbers {
            type Value = Whole;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a whole number")
            }
            fn visit_i64<E: Error>(self, n: i64) -> Result<Whole, E> {
                Ok(Whole(n))
            }
            fn visit_u64<E: Error>(self, n: u64) -> Result<Whole, E> {
                i64::try_from(n).map(Whole).map_err(|_| E::invalid_value(Unexpected::Unsigned(n), &self))
            }
            fn visit_f64<E: Error>(self, n: f64) -> Result<Whole, E> {
                // Beyond 2^53 a float no longer says which whole number is meant.
                let is_whole = n.fract() == 0.0 && n.abs() <= 9_007_199_254_740_992.0;
                if is_whole { Ok(Whole(n as i64)) } else { Err(E::invalid_value(Unexpected::Float(n), &self)) }
            }
        }
        from.deserialize_any(Numbers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    struct Of {
        #[serde(default, deserialize_with = "whole")]
        one: Option<u32>,
        #[serde(default, deserialize_with = "whole_list")]
        list: Option<Vec<i64>>,
    }

    #[test]
    fn seven_is_seven_however_it_is_written() {
        let of = |text: &str| serde_json::from_str::<Of>(text).ok().map(|of| (of.one, of.list));
        assert_eq!(of(r#"{"one": 7, "list": [7.0, -1]}"#), Some((Some(7), Some(vec![7, -1]))));
        assert_eq!(of(r#"{"one": 7.0}"#), Some((Some(7), None)));
        assert_eq!(of(r#"{"one": null}"#), Some((None, None)));
        for wrong in ["7.5", "-1", "4294967296", "1e300", "\"7\"", "18446744073709551615"] {
            assert_eq!(of(&format!(r#"{{"one": {wrong}}}"#)), None, "{wrong}");
        }
    }
}
