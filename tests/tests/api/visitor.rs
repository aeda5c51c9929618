//! Somebody at the pages: what a browser sends, and the cookie that it keeps.

use crate::site::Site;
use reqwest::{Method, RequestBuilder, Response, StatusCode, redirect::Policy};
use reseal_entities::{
    ledger::{Ledger, sessions, tokens},
    tokens::Role,
};
use sea_orm::ConnectionTrait;

/// A browser, which follows no redirect by itself.
pub(crate) struct Visitor {
    http: reqwest::Client,
    url: String,
    /// `name=value`.
    pub(crate) cookie: Option<String>,
}

impl Visitor {
    pub(crate) fn new(site: &Site) -> Self {
        let http = reqwest::Client::builder().redirect(Policy::none()).build().expect("a client");
        Self { http, url: site.url.clone(), cookie: None }
    }

    /// One whose session was opened in the ledger, whatever its token may.
    pub(crate) async fn signed_in(site: &Site, role: Role) -> Self {
        let cookie = format!("reseal={}", session(&site.ledger, site.token(role)).await);
        Self { cookie: Some(cookie), ..Self::new(site) }
    }

    /// As a script would ask, without what a browser says of the page that asks.
    pub(crate) fn ask(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.url));
        self.cookie.iter().fold(request, |request, cookie| request.header("cookie", cookie))
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.ask(Method::GET, path).send().await.expect("an answer")
    }

    /// Sends a form from one of the server's own pages.
    pub(crate) async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Response {
        let request = self.ask(Method::POST, path).header("sec-fetch-site", "same-origin");
        request.form(fields).send().await.expect("an answer")
    }

    /// Signs in, and keeps what cookie it is given.
    pub(crate) async fn sign_in(&mut self, token: &str, next: &str) -> Response {
        let answer = self.post("/sign-in", &[("token", token), ("next", next)]).await;
        if let Some(set) = header(&answer, "set-cookie") {
            self.cookie = set.split(';').next().map(str::to_owned);
        }
        answer
    }

    /// Whether the first page opens.
    pub(crate) async fn is_let_in(&self) -> bool {
        let status = self.get("/").await.status();
        assert!([200, 303].contains(&status.as_u16()), "{status}");
        status == StatusCode::OK
    }
}

/// What a browser would present that has signed in with this token.
async fn session(ledger: &Ledger, token: &str) -> String {
    let token = tokens::authenticate(ledger.db(), token).await.expect("asked").expect("a token");
    let txn = ledger.begin().await.expect("a transaction");
    let (_, presented) = sessions::open(&txn, &token).await.expect("a session");
    txn.commit().await.expect("committed");
    presented
}

/// Sets columns of every session.
pub(crate) async fn set_sessions(ledger: &Ledger, what: String) {
    ledger.db().execute_unprepared(&format!("UPDATE reseal_sessions SET {what}")).await.expect("set");
}

/// A header that is there once.
pub(crate) fn header(answer: &Response, name: &str) -> Option<String> {
    let mut values = answer.headers().get_all(name).iter();
    let value = values.next()?.to_str().expect("text").to_owned();
    assert!(values.next().is_none(), "{name} twice");
    Some(value)
}
