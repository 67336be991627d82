//! The control-room page at `/`: files in this binary, nothing from elsewhere, no build step.
//!
//! The page is plain HTML, CSS and ES modules under a policy that allows neither inline code nor inline style
//! (`api::headers`). Files are addressed under a digest of all of them, so a browser keeps them for ever and never
//! mixes two versions; only the page itself is asked for again.

use std::sync::LazyLock;

use axum::{
    Router,
    extract::Path,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{Html, IntoResponse, Response},
    routing::get,
};
use sha2::{Digest, Sha256};

use crate::api::Problem;

struct Asset {
    name: &'static str,
    kind: &'static str,
    bytes: &'static [u8],
}

macro_rules! asset {
    ($name:literal, $kind:literal) => {
        Asset { name: $name, kind: $kind, bytes: include_bytes!(concat!("console/assets/", $name)) }
    };
}

const ASSETS: &[Asset] = &[
    asset!("app.js", "text/javascript; charset=utf-8"),
    asset!("chart.js", "text/javascript; charset=utf-8"),
    asset!("dom.js", "text/javascript; charset=utf-8"),
    asset!("feed.js", "text/javascript; charset=utf-8"),
    asset!("lists.js", "text/javascript; charset=utf-8"),
    asset!("map.js", "text/javascript; charset=utf-8"),
    asset!("words.js", "text/javascript; charset=utf-8"),
    asset!("app.css", "text/css; charset=utf-8"),
    asset!("docs.css", "text/css; charset=utf-8"),
    asset!("favicon.svg", "image/svg+xml"),
];

const PAGE: &str = include_str!("console/assets/index.html");

/// The first 16 hex digits of the digest over every file.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let mut digest = Sha256::new();
    for asset in ASSETS {
        digest.update(asset.name);
        digest.update((asset.bytes.len() as u64).to_be_bytes());
        digest.update(asset.bytes);
    }
    hex::encode(digest.finalize()).chars().take(16).collect()
});

static INDEX: LazyLock<String> = LazyLock::new(|| PAGE.replace("{assets}", &format!("/assets/{}", *VERSION)));

/// Where a file of the page is found, such as `/assets/0123456789abcdef/app.js`.
pub fn address(name: &str) -> String {
    format!("/assets/{}/{name}", *VERSION)
}

/// The page and its files.
pub fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new().route("/", get(index)).route("/assets/{version}/{name}", get(file))
}

async fn index(asked: HeaderMap) -> Response {
    kept(&asked, [(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"))], Html(INDEX.as_str()))
}

/// A file of this version. An address of another version is answered with 404, so that a page left open over an update
/// shows that it is stale instead of running on a mixture.
async fn file(Path((version, name)): Path<(String, String)>, asked: HeaderMap) -> Response {
    let Some(asset) = ASSETS.iter().find(|asset| asset.name == name).filter(|_| version == *VERSION) else {
        return Problem::no_such("file").into_response();
    };
    let forever = HeaderValue::from_static("public, max-age=31536000, immutable");
    let headers = [(header::CACHE_CONTROL, forever), (header::CONTENT_TYPE, HeaderValue::from_static(asset.kind))];
    kept(&asked, headers, asset.bytes)
}

/// The body, or 304 when the browser has it.
fn kept<const N: usize>(
    asked: &HeaderMap,
    headers: [(header::HeaderName, HeaderValue); N],
    body: impl IntoResponse,
) -> Response {
    let tag = format!("\"{}\"", *VERSION);
    let same = asked.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes().ends_with(tag.as_bytes()));
    let body = if same { StatusCode::NOT_MODIFIED.into_response() } else { body.into_response() };
    (headers, [(header::ETAG, tag)], body).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the policy would block, and what would leave this machine, found before a browser does.
    #[test]
    fn files_hold_nothing_inline_and_nothing_from_elsewhere() {
        assert!(!PAGE.contains("<style") && !PAGE.contains("style=") && !PAGE.contains(" on"), "inline in the page");
        for script in PAGE.split("<script").skip(1) {
            assert!(script.starts_with(" type=\"module\" src=\"{assets}/"), "a script that is not a file");
        }
        for asset in ASSETS {
            let text = std::str::from_utf8(asset.bytes).expect("text");
            for forbidden in ["innerHTML", "eval(", "setAttribute(\"style\"", "new Function", "https://", "//cdn"] {
                assert!(!text.contains(forbidden), "{forbidden} in {}", asset.name);
            }
            let elsewhere = text.replace("http://www.w3.org/", "").contains("http://");
            assert!(!elsewhere, "an address elsewhere in {}", asset.name);
        }
    }

    #[test]
    fn every_file_that_is_named_exists() {
        let known = |name: &str| ASSETS.iter().any(|asset| asset.name == name);
        for name in PAGE.split("{assets}/").skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(known(name), "{name} in the page");
        }
        for asset in ASSETS.iter().filter(|asset| asset.name.ends_with(".js")) {
            let text = std::str::from_utf8(asset.bytes).expect("text");
            for name in text.split("from \"./").skip(1).filter_map(|rest| rest.split('"').next()) {
                assert!(known(name), "{name} in {}", asset.name);
            }
        }
    }
}
