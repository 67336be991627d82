//! Headers of every answer, and the count of answers by class.

use axum::{
    extract::Request,
    http::{HeaderName, HeaderValue, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use metrics::counter;

use super::Problem;
use crate::telemetry::metrics::HTTP_RESPONSES;

/// Nothing from elsewhere, nothing inline, no frames around us: the pages need only their own files.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

const ALWAYS: [(HeaderName, HeaderValue); 4] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
];

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// No text of ours holds a NUL, and the database refuses one wherever it meets it.
pub async fn refuse_nul(request: Request, next: Next) -> Response {
    let asked = request.uri().path_and_query().map_or("", |asked| asked.as_str());
    if asked.contains("%00") {
        return Problem::bad_request("the address holds a NUL character").into_response();
    }
    next.run(request).await
}

pub async fn set(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    for (name, value) in ALWAYS {
        response.headers_mut().insert(name, value);
    }
    // Answers hold plates; only files that say otherwise may be kept.
    response.headers_mut().entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    if let Some(class) = CLASSES.get(usize::from(response.status().as_u16() / 100).saturating_sub(1)) {
        counter!(HTTP_RESPONSES, "class" => *class).increment(1);
    }
    response
}
