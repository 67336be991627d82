//! A connection of its own to PostgreSQL: for listening, loading and importing.

use std::{path::PathBuf, time::Duration};

use secrecy::{ExposeSecret as _, SecretString};
use tokio_postgres::{Client, Config, Connection, Socket, config::SslMode, tls::MakeTlsConnect};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::config;

/// Where the database is and how it is spoken to.
#[derive(Clone)]
pub struct Link {
    config: Config,
    tls: MakeRustlsConnect,
}

/// A connection that [`Link::connect`] opened.
pub type LinkConnection = Connection<Socket, <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream>;

/// Why there is no [`Link`].
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error("the database address is not of the form postgres://user@host:5432/name")]
    Url(#[source] tokio_postgres::Error),
    #[error("read the authority's certificate {path}")]
    Authority { path: PathBuf, source: rustls_pki_types::pem::Error },
    #[error("the authority's file {0} holds no certificate")]
    NoCertificate(PathBuf),
    #[error(
        "the database address asks for TLS (sslmode=require), and no authority is given to check the server by: set database.ca_file"
    )]
    NoAuthority,
    #[error("set up TLS")]
    Tls(#[from] rustls::Error),
}

/// A half-dead connection is noticed after about this long.
const SILENCE_LIMIT: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

impl Link {
    pub fn of(settings: &config::Database) -> Result<Self, LinkError> {
        Self::new(&settings.url, settings.password.as_ref(), settings.ca_file.clone())
    }

    /// `ca_file` set: the server must show a certificate of that authority. Not set: no TLS.
    pub fn new(url: &str, password: Option<&SecretString>, ca_file: Option<PathBuf>) -> Result<Self, LinkError> {
        let mut config: Config = url.parse().map_err(LinkError::Url)?;
        if let Some(password) = password {
            config.password(password.expose_secret());
        }
        if ca_file.is_none() && config.get_ssl_mode() == SslMode::Require {
            return Err(LinkError::NoAuthority);
        }
        config.ssl_mode(if ca_file.is_some() { SslMode::Require } else { SslMode::Disable });
        config.application_name("dieselwatch");
        config.connect_timeout(CONNECT_TIMEOUT).keepalives_idle(SILENCE_LIMIT).tcp_user_timeout(SILENCE_LIMIT);
        Ok(Self { config, tls: MakeRustlsConnect::new(tls(ca_file)?) })
    }

    /// The connection must be driven by the caller; nothing answers otherwise.
    pub async fn connect(&self) -> Result<(Client, LinkConnection), tokio_postgres::Error> {
        self.config.connect(self.tls.clone()).await
    }
}

fn tls(ca_file: Option<PathBuf>) -> Result<rustls::ClientConfig, LinkError> {
    use rustls_pki_types::{CertificateDer, pem::PemObject as _};
    let mut roots = rustls::RootCertStore::empty();
    if let Some(path) = ca_file {
        let unreadable = |source| LinkError::Authority { path: path.clone(), source };
        for certificate in CertificateDer::pem_file_iter(&path).map_err(unreadable)? {
            roots.add(certificate.map_err(unreadable)?)?;
        }
        if roots.is_empty() {
            return Err(LinkError::NoCertificate(path));
        }
    }
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_checked() {
        assert!(Link::new("postgres://dw@localhost:5432/dw", None, None).is_ok());
        assert!(Link::new("host=/tmp/somewhere user=dw dbname=dw", None, None).is_ok());
        assert!(matches!(Link::new("mysql://localhost", None, None), Err(LinkError::Url(_))));
        let nowhere = Link::new("postgres://dw@localhost/dw", None, Some("/nonexistent.pem".into()));
        assert!(matches!(nowhere, Err(LinkError::Authority { .. })));
        let asks = Link::new("postgres://dw@localhost/dw?sslmode=require", None, None);
        assert!(matches!(asks, Err(LinkError::NoAuthority)), "never in the clear without a word");
        let empty = tempfile::NamedTempFile::new().expect("a file");
        let nobody = Link::new("postgres://dw@localhost/dw", None, Some(empty.path().to_owned()));
        assert!(matches!(nobody, Err(LinkError::NoCertificate(_))));
    }
}
