//! What pages load: compiled in, under names that carry their hash, so that a browser may keep them for good.

use axum::{
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use reseal_http::Path;
use sha2::{Digest, Sha256};
use std::sync::LazyLock;

struct Asset {
    name: &'static str,
    media_type: &'static str,
    bytes: &'static [u8],
    url: String,
}

macro_rules! asset {
    ($name:literal, $media_type:literal) => {
        Asset::new($name, $media_type, include_bytes!(concat!("../../assets/", $name)))
    };
}

static ASSETS: LazyLock<[Asset; 6]> = LazyLock::new(|| {
    [
        asset!("style.css", "text/css; charset=utf-8"),
        asset!("charts.css", "text/css; charset=utf-8"),
        asset!("mark.svg", "image/svg+xml"),
        asset!("htmx.min.js", "text/javascript; charset=utf-8"),
        asset!("idiomorph-ext.min.js", "text/javascript; charset=utf-8"),
        asset!("live.js", "text/javascript; charset=utf-8"),
    ]
});

impl Asset {
    fn new(name: &'static str, media_type: &'static str, bytes: &'static [u8]) -> Self {
        let hash = hex::encode(&Sha256::digest(bytes)[..8]);
        Self { name, media_type, bytes, url: format!("/assets/{hash}-{name}") }
    }
}

/// Where a page finds an asset; of one that is not there the start page, which no test would overlook.
pub(super) fn url(name: &str) -> &'static str {
    ASSETS.iter().find(|asset| asset.name == name).map_or("/", |asset| &asset.url)
}

pub(super) async fn serve(Path(name): Path<String>) -> Response {
    let found = ASSETS.iter().find(|asset| asset.url.strip_prefix("/assets/") == Some(&name));
    let Some(asset) = found else { return StatusCode::NOT_FOUND.into_response() };
    let headers = [
        (header::CONTENT_TYPE, asset.media_type),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, asset.bytes).into_response()
}
