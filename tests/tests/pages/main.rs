//! The dashboard's pages, in a browser.

mod ground;
mod site;
mod stock;
mod stocked;
mod words;
