//! RFC 9457 problem details: the one shape of every error, the router's own included.

use axum::{
    Json,
    http::{HeaderValue, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use super::database::LostSession;

/// What can go wrong, in one closed list; `/docs` explains each under the anchor that `type` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    BadRequest,
    Unauthorized,
    ReadOnly,
    NotFound,
    MethodNotAllowed,
    Conflict,
    TooManyStreams,
    DatabaseUnavailable,
    Internal,
}

impl Kind {
    pub const ALL: [Kind; 9] = [
        Kind::BadRequest,
        Kind::Unauthorized,
        Kind::ReadOnly,
        Kind::NotFound,
        Kind::MethodNotAllowed,
        Kind::Conflict,
        Kind::TooManyStreams,
        Kind::DatabaseUnavailable,
        Kind::Internal,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Kind::BadRequest => "bad_request",
            Kind::Unauthorized => "unauthorized",
            Kind::ReadOnly => "read_only",
            Kind::Conflict => "conflict",
            Kind::NotFound => "not_found",
            Kind::MethodNotAllowed => "method_not_allowed",
            Kind::TooManyStreams => "too_many_streams",
            Kind::DatabaseUnavailable => "database_unavailable",
            Kind::Internal => "internal",
        }
    }

    pub const fn status(self) -> StatusCode {
        match self {
            Kind::BadRequest => StatusCode::BAD_REQUEST,
            Kind::Unauthorized => StatusCode::UNAUTHORIZED,
            Kind::ReadOnly => StatusCode::FORBIDDEN,
            Kind::Conflict => StatusCode::CONFLICT,
            Kind::NotFound => StatusCode::NOT_FOUND,
            Kind::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Kind::TooManyStreams | Kind::DatabaseUnavailable => StatusCode::SERVICE_UNAVAILABLE,
            Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    pub const fn title(self) -> &'static str {
        match self {
            Kind::BadRequest => "The request cannot be understood",
            Kind::Unauthorized => "This act needs the service's token",
            Kind::ReadOnly => "Nothing can be changed over HTTP here",
            Kind::Conflict => "What stands already is in the way",
            Kind::NotFound => "There is nothing here",
            Kind::MethodNotAllowed => "This address does not take this method",
            Kind::TooManyStreams => "Too many event streams are open",
            Kind::DatabaseUnavailable => "The database cannot answer now",
            Kind::Internal => "The service failed to answer",
        }
    }

    /// What the caller can do about it; shown at `/docs`.
    pub const fn advice(self) -> &'static str {
        match self {
            Kind::BadRequest => "A parameter is unknown or has a value that is not allowed; `detail` names it.",
            Kind::Unauthorized => "Send `Authorization: Bearer TOKEN` with the value of `http.write_token`.",
            Kind::ReadOnly => "Set `http.write_token`, or use the command of the same name.",
            Kind::Conflict => "Look at what stands and decide; `detail` names it.",
            Kind::NotFound => "No such address or no such record.",
            Kind::MethodNotAllowed => "The `Allow` header lists the methods of this address.",
            Kind::TooManyStreams => "Close a page that is not needed, or try again after `Retry-After` seconds.",
            Kind::DatabaseUnavailable => "Try again after `Retry-After` seconds. Readings keep being taken meanwhile.",
            Kind::Internal => "The log of the service holds the cause.",
        }
    }
}

/// A problem on its way to the caller. Nothing internal goes out: causes are logged where they are met.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Problem {
    /// Reference to the explanation of this kind of problem.
    #[serde(rename = "type")]
    reference: String,
    title: &'static str,
    /// HTTP status.
    status: u16,
    /// What exactly is wrong with this request.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    #[serde(skip)]
    #[schema(ignore)]
    kind: Kind,
    #[serde(skip)]
    #[schema(ignore)]
    lost_session: bool,
}

impl Problem {
    pub fn new(kind: Kind) -> Self {
        let reference = format!("/docs#{}", kind.name());
        Self { reference, title: kind.title(), status: kind.status().as_u16(), detail: None, kind, lost_session: false }
    }

    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self { detail: Some(detail.into()), ..Self::new(Kind::BadRequest) }
    }

    pub fn conflict(detail: impl Into<String>) -> Self {
        Self { detail: Some(detail.into()), ..Self::new(Kind::Conflict) }
    }

    /// The cause is in the log, written where it was met.
    pub fn internal() -> Self {
        Self::new(Kind::Internal)
    }

    /// The database session behind it must not be used again.
    pub fn with_lost_session(self) -> Self {
        Self { lost_session: true, ..self }
    }

    pub fn lost_session(&self) -> bool {
        self.lost_session
    }

    pub fn no_such(what: &str) -> Self {
        Self { detail: Some(format!("there is no such {what}")), ..Self::new(Kind::NotFound) }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let unauthorized = self.kind == Kind::Unauthorized;
        let lost_session = self.lost_session;
        let retry = matches!(self.kind, Kind::TooManyStreams | Kind::DatabaseUnavailable);
        let mut response = (self.kind.status(), Json(self)).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if unauthorized {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if lost_session {
            response.extensions_mut().insert(LostSession);
        }
        if retry {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
        }
        response
    }
}

pub(super) async fn not_found(uri: Uri) -> Problem {
    Problem {
        detail: Some(format!("{} is not an address of this service", uri.path())),
        ..Problem::new(Kind::NotFound)
    }
}

pub(super) async fn method_not_allowed(method: Method, uri: Uri) -> Problem {
    let detail = format!("{} does not take {method}", uri.path());
    Problem { detail: Some(detail), ..Problem::new(Kind::MethodNotAllowed) }
}
