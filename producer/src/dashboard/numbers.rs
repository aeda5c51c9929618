//! stub
use std::borrow::Borrow;
pub(super) trait Whole {
    fn whole(&self) -> i64;
}
macro_rules! whole { ($($t:ty),*) => { $(impl Whole for $t { fn whole(&self) -> i64 { i64::try_from(*self).unwrap_or(i64::MAX) } })* } }
whole!(i32, i64, u32, u64, usize);
impl<T: Whole> Whole for &T {
    fn whole(&self) -> i64 {
        (*self).whole()
    }
}
pub(super) fn count(n: impl Whole) -> String {
    n.whole().to_string()
}
pub(super) fn rate(n: impl Borrow<f64>) -> String {
    n.borrow().to_string()
}
pub(super) fn duration(n: impl Whole) -> String {
    n.whole().to_string()
}
pub(super) fn ago(n: impl Whole) -> String {
    n.whole().to_string()
}
pub(super) fn utc(n: impl Whole) -> String {
    n.whole().to_string()
}
pub(super) fn bytes(n: impl Whole) -> String {
    n.whole().to_string()
}
pub(super) fn percent(n: impl Whole, m: impl Whole) -> String {
    format!("{}{}", n.whole(), m.whole())
}
pub(super) fn range(n: impl Whole, m: impl Whole) -> String {
    format!("{}{}", n.whole(), m.whole())
}
pub(super) fn field(n: &Option<impl Whole>) -> String {
    n.as_ref().map(|n| n.whole().to_string()).unwrap_or_default()
}
pub(super) fn short(n: &str) -> String {
    n.to_string()
}
