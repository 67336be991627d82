//! Query and path parameters whose errors are problems, and what lists have in common.

use axum::{
    Json,
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Path, Query, Request},
    http::{HeaderMap, header, request::Parts},
};
use serde::{Deserialize, Deserializer, Serialize, de, de::DeserializeOwned};

use super::Problem;
use crate::{reading::Timestamp, strict_json};

/// Items of a page when the caller does not say.
const DEFAULT_LIMIT: u16 = 50;
/// Most items of a page: one page stays under a megabyte.
pub const MAX_LIMIT: u16 = 500;

/// A query string read into `T`; unknown parameters are refused where `T` says so.
pub struct Params<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Query::try_from_uri(&parts.uri)
            .map(|Query(value)| Self(value))
            .map_err(|refused| Problem::bad_request(refused.body_text()))
    }
}

/// A JSON body read into `T`; it has to say that it is JSON.
pub struct Body<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !says_json(request.headers()) {
            return Err(Problem::bad_request("Expected request with `Content-Type: application/json`"));
        }
        let bytes = Bytes::from_request(request, state).await;
        let bytes = bytes.map_err(|refused| Problem::bad_request(refused.body_text()))?;
        let not_json = |fault: strict_json::Fault| Problem::bad_request(fault.to_string());
        let (mark, text) = strict_json::text(&bytes).map_err(not_json)?;
        strict_json::check(text).map_err(|fault| not_json(fault.behind(mark)))?;
        let read = Json::from_bytes(text.as_bytes());
        read.map(|Json(value)| Self(value)).map_err(|refused| Problem::bad_request(refused.body_text()))
    }
}

/// `application/json` or `application/...+json`, whatever follows.
fn says_json(headers: &HeaderMap) -> bool {
    let named = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = named.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence.strip_prefix("application/").is_some_and(|subtype| subtype == "json" || subtype.ends_with("+json"))
}

/// The variable part of a path.
pub struct Id<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Id<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        // What cannot be an id names nothing.
        let found = Path::from_request_parts(parts, state).await.map_err(|_| Problem::no_such("record"))?;
        Ok(Self(found.0))
    }
}

/// How many items: 1..=500.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit(u16);

impl Limit {
    pub fn rows(self) -> i64 {
        i64::from(self.0)
    }
}

impl Default for Limit {
    fn default() -> Self {
        Self(DEFAULT_LIMIT)
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let limit = u16::deserialize(deserializer)?;
        if (1..=MAX_LIMIT).contains(&limit) {
            return Ok(Self(limit));
        }
        Err(de::Error::custom(format_args!("limit must be 1 to {MAX_LIMIT}")))
    }
}

/// A time in a query string. An unescaped `+` of the offset arrives as a blank, which no time holds, so it is put back.
pub fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let text = String::deserialize(deserializer)?;
    match Timestamp::parse_rfc3339(&text.replace(' ', "+")) {
        Some(at) => Ok(Some(at)),
        None => Err(de::Error::custom("not an RFC 3339 time with offset, such as 2026-01-31T08:00:00+08:00")),
    }
}

/// One page of a list.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// Give it back as `cursor` for the page behind this one; null at the end.
    pub next: Option<String>,
}

impl<T> Page<T> {
    /// Takes the rows of a query that asked for one more than `limit`, which tells whether there is more.
    pub fn cut(mut items: Vec<T>, limit: Limit, cursor: impl FnOnce(&T) -> String) -> Self {
        let more = items.len() > usize::from(limit.0);
        items.truncate(limit.0.into());
        let next = if more { items.last().map(cursor) } else { None };
        Self { items, next }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    async fn read(content_type: &str, body: &'static str) -> Result<BTreeMap<String, u8>, Problem> {
        let request =
            Request::builder().header(header::CONTENT_TYPE, content_type).body(body.into()).expect("a request");
        Body::from_request(request, &()).await.map(|Body(value)| value)
    }

    #[tokio::test]
    async fn a_body_is_read_by_the_rules_of_all_json() {
        for named in ["application/json", "application/json; charset=utf-8", "Application/merge-patch+json"] {
            assert_eq!(read(named, "\u{feff}{\"a\":1}").await.ok(), Some(BTreeMap::from([("a".to_owned(), 1)])));
        }
        for named in ["text/json", "application/jsonp", ""] {
            assert!(read(named, "{}").await.is_err(), "{named}");
        }
        for body in
            [r#"{"a":1,"a":2}"#, r#"{"a":1,"\u0061":1}"#, r#"{"a":1,}"#, r#"{"a":NaN}"#, "", "{} {}", r#"{"a":"x"}"#]
        {
            assert!(read("application/json", body).await.is_err(), "{body}");
        }
    }
}
