//! Charts as SVG that the server draws: a text in, a text out. Every text of a caller is escaped, colours are classes
//! (`assets/charts.css`), and whatever the numbers are, the SVG is valid.

mod axes;
mod bar;
mod bin;
mod curve;
mod meter;
mod sentence;
mod series;
mod sparkline;
mod speed;
mod strip;
#[cfg(test)]
mod valid;

pub(crate) use {
    bar::{Bar, bars},
    bin::Bin,
    meter::{Meter, meter},
    series::{Sample, Series},
    sparkline::sparkline,
    speed::speed,
    strip::{Strip, strip},
};

use askama::filters::{Html, escape};

/// A caller's text, as the content of an element or the value of an attribute.
fn escaped(text: &str) -> String {
    match escape(text, Html) {
        Ok(safe) => safe.to_string(),
        Err(never) => match never {},
    }
}

/// A coordinate to the tenth, without a tenth that is none.
fn at(coordinate: f64) -> String {
    let text = format!("{coordinate:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}
