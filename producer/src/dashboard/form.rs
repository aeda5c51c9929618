//! A form as a browser sends it, or a page that says what is wrong with it.

use super::refused;
use axum::{
    extract::{FromRequest, Request},
    response::Response,
};
use reseal_http::Problem;
use serde::de::DeserializeOwned;

/// The fields of a form.
pub(crate) struct Form<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Form<T> {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        let (head, body) = request.into_parts();
        let whole = Request::from_parts(head.clone(), body);
        let form = axum::Form::<T>::from_request(whole, state).await;
        form.map(|form| Self(form.0)).map_err(|e| {
            // Never what the parser says: it quotes what was sent, and that may be a secret.
            let problem = match e.status().as_u16() {
                413 => Problem::new(413, "body_too_large", "the form is larger than this page takes"),
                415 => Problem::new(415, "unsupported_media_type", "what was sent is no form"),
                _ => Problem::new(422, "invalid_request", "the form is not as this page has it: load it anew"),
            };
            refused(&head, problem)
        })
    }
}
