//! The dashboard's pages, in a browser.

mod ground;
mod looks;
mod site;
mod stock;
mod stocked;
mod words;
