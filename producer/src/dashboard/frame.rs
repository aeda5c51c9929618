//! What stands around every page: who looks, what they may, where they are, and what happened to what they asked for.

use super::ticked::ticked;
use crate::http::Caller;
use askama::Template;
use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{Html, IntoResponse, Redirect, Response},
};
use reseal_entities::tokens::Right;
use reseal_http::Problem;
use serde::Deserialize;

/// Nothing is loaded from elsewhere, nothing runs inline, and nobody frames it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The frame of one page.
#[derive(Debug, Default)]
pub(super) struct Frame {
    pub(super) who: Option<String>,
    pub(super) role: String,
    pub(super) may_operate: bool,
    pub(super) may_keys: bool,
    pub(super) may_audit: bool,
    /// Which page of the navigation it belongs to.
    pub(super) here: &'static str,
    /// Where it asks for itself again.
    pub(super) path: String,
    /// It does so when something has happened.
    pub(super) live: bool,
    pub(super) alert: Option<Alert>,
}

/// What happened to what was asked for.
#[derive(Debug)]
pub(super) struct Alert {
    pub(super) class: &'static str,
    pub(super) title: String,
    pub(super) detail: String,
}

/// After a change a page is asked for with `?done=`, which names what was done.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Done {
    done: Option<String>,
}

impl Frame {
    /// For `caller`, on the page `here` of the navigation; it is found at `path`.
    pub(super) fn new(caller: &Caller, here: &'static str, path: String) -> Self {
        Self {
            who: Some(caller.actor.clone()),
            role: caller.role.to_string(),
            may_operate: caller.role.may(Right::Operate),
            may_keys: caller.role.may(Right::Keys),
            may_audit: caller.role.may(Right::Audit),
            here,
            path,
            live: true,
            alert: None,
        }
    }

    /// Does not follow what happens: somebody fills a form in.
    pub(super) fn still(mut self) -> Self {
        self.live = false;
        self
    }

    /// Says that something was done. Only what is known here: a link from elsewhere must not put words into its mouth.
    pub(super) fn done(mut self, done: &Done) -> Self {
        let said = match done.done.as_deref() {
            Some("pause") => "It is paused: workers stop at their next chunk.",
            Some("resume") => "It goes on.",
            Some("cancel") => "It is cancelled. Everything stays readable under both keys.",
            Some("rollback") => "It is turned round: this rotation goes the other way.",
            Some("limits") => "The limits hold within seconds.",
            Some("approve") => "The clearing is approved.",
            Some("dismiss") => "The hold is dismissed, and the clearing goes on.",
            Some("start") => "It is requested; a worker begins within seconds.",
            Some("retry") => "It is done again.",
            Some("split") => "It will be split when a worker takes it next.",
            Some("drain") => "The worker finishes what it has in hand, and leaves.",
            _ => return self,
        };
        self.alert = Some(Alert { class: "ok", title: "Done.".to_owned(), detail: said.to_owned() });
        self
    }

    /// Says why something was not done, above what is so now.
    pub(super) fn refusing(mut self, problem: Option<&Problem>) -> Self {
        let Some(problem) = problem else { return self };
        let title = match problem.status {
            409 => "Not done: something else is so by now, or in the way.",
            422 => "Not done: something that was typed does not fit.",
            _ => "Not done.",
        };
        self.alert = Some(Alert { class: "bad", title: title.to_owned(), detail: problem.detail.clone() });
        self
    }

    pub(super) fn pages(&self) -> &'static [(&'static str, &'static str)] {
        const PAGES: [(&str, &str); 5] = [
            ("/", "Overview"),
            ("/rotations", "Rotations"),
            ("/keys", "Keys"),
            ("/workers", "Workers"),
            ("/audit", "Audit"),
        ];
        &PAGES
    }

    /// What is said above the page.
    pub(super) fn alert_html(&self) -> String {
        self.alert.as_ref().map(|alert| ticked(&alert.detail)).unwrap_or_default()
    }

    pub(super) fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }
}

/// A page, under the policy; with a problem's status where it says one.
pub(super) fn page(template: &impl Template, problem: Option<&Problem>) -> Response {
    let status = problem.and_then(|p| StatusCode::from_u16(p.status).ok()).unwrap_or(StatusCode::OK);
    let html = match template.render() {
        Ok(html) => html,
        Err(e) => {
            tracing::error!("a page was not rendered: {e}");
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
    };
    let mut response = (status, Html(html)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// To `path`, which then says that `done` was done.
pub(super) fn to(path: &str, done: &str) -> Response {
    Redirect::to(&format!("{path}?done={done}")).into_response()
}
