//! Who may change something over HTTP: whoever holds the token of the configuration.
//!
//! The service knows no accounts yet. Reads are open to whoever reaches `http.listen`, a loopback address by default; an act
//! that changes what vehicles are judged by needs more than reach, so every route that writes asks for
//! `Authorization: Bearer TOKEN`, and without `http.write_token` there is no token that fits. A page of another origin
//! cannot send that header unasked, which keeps a browser on the same machine from being made to.

use axum::{extract::FromRequestParts, http::header::AUTHORIZATION, http::request::Parts};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};

use super::{
    App,
    problem::{Kind, Problem},
};

/// The SHA-256 of the token: comparing digests takes the same time wherever a wrong token begins to differ, in the only
/// sense that could teach anybody anything.
#[derive(Clone)]
pub struct WriteToken([u8; 32]);

impl WriteToken {
    pub fn new(token: &SecretString) -> Self {
        Self(Sha256::digest(token.expose_secret()).into())
    }

    fn is(&self, offered: &str) -> bool {
        self.0 == *Sha256::digest(offered)
    }
}

/// Proof that the request carries the token; a route that takes it needs no other check.
pub struct Writer;

impl FromRequestParts<App> for Writer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let Some(token) = &app.state.write_token else { return Err(Problem::new(Kind::ReadOnly)) };
        let offered = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        match offered.and_then(|text| text.strip_prefix("Bearer ")) {
            Some(offered) if token.is(offered) => Ok(Self),
            _ => Err(Problem::new(Kind::Unauthorized)),
        }
    }
}
