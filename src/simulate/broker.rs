//! Which broker the fleet talks to, and as whom.

use std::{path::PathBuf, sync::Arc, time::Duration};

use rumqttc::{
    TlsConfiguration, Transport,
    v5::{MqttOptions, mqttbytes::v5::LastWill},
};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

/// Why no connection can even be tried.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    #[error("broker address is not a URL like mqtt://host:1883")]
    NotAUrl,
    #[error("broker address begins with `{0}:`; mqtt: and mqtts: are known")]
    Scheme(String),
    #[error("broker address names no host")]
    NoHost,
    #[error("mqtts: needs the file of the authorities to trust")]
    NoAuthorities,
    #[error("read the authorities from {path}")]
    Authorities { path: PathBuf, source: rustls_pki_types::pem::Error },
    #[error("set up TLS")]
    Tls(#[from] rustls::Error),
}

/// A broker and the credentials for it.
#[derive(Clone)]
pub struct Broker {
    host: String,
    port: u16,
    username: Option<String>,
    password: Option<SecretString>,
    tls: Option<Arc<rustls::ClientConfig>>,
}

impl Broker {
    /// `mqtt://host:1883` or `mqtts://host:8883`; the port may be left out. Credentials in the URL count where none are
    /// given beside it.
    pub fn parse(
        url: &str,
        username: Option<String>,
        password: Option<SecretString>,
        ca_file: Option<&PathBuf>,
    ) -> Result<Self, BrokerError> {
        let url = Url::parse(url).map_err(|_| BrokerError::NotAUrl)?;
        let (port, tls) = match (url.scheme(), ca_file) {
            ("mqtt", _) => (1883, None),
            ("mqtts", Some(path)) => (8883, Some(Arc::new(trusting(path)?))),
            ("mqtts", None) => return Err(BrokerError::NoAuthorities),
            (scheme, _) => return Err(BrokerError::Scheme(scheme.to_owned())),
        };
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or(BrokerError::NoHost)?;
        let in_url = Some(url.username()).filter(|name| !name.is_empty()).map(str::to_owned);
        Ok(Self {
            host: host.to_owned(),
            port: url.port().unwrap_or(port),
            username: username.or(in_url),
            password: password.or_else(|| url.password().map(SecretString::from)),
            tls,
        })
    }

    /// `host:port`, for people and for a plain socket.
    pub fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    pub(super) fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    pub(super) fn credentials(&self) -> Option<(&str, &str)> {
        let password = self.password.as_ref().map_or("", |password| password.expose_secret());
        self.username.as_deref().map(|username| (username, password))
    }

    /// Options of one connection. The session ends with the connection: everything unacknowledged is kept here and sent
    /// again, so the broker need remember nothing.
    pub(super) fn options(&self, client_id: &str, in_flight: u16, will: Option<LastWill>) -> MqttOptions {
        let mut options = MqttOptions::new(client_id, self.host.clone(), self.port);
        options
            .set_clean_start(true)
            .set_keep_alive(Duration::from_secs(30))
            .set_connection_timeout(5)
            .set_outgoing_inflight_upper_limit(in_flight);
        if let Some(will) = will {
            options.set_last_will(will);
        }
        if let Some((username, password)) = self.credentials() {
            options.set_credentials(username, password);
        }
        if let Some(config) = &self.tls {
            options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(Arc::clone(config))));
        }
        options
    }
}

/// Secrets stay out of `Debug`.
impl std::fmt::Debug for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Broker").field("address", &self.address()).field("tls", &self.is_tls()).finish_non_exhaustive()
    }
}

fn trusting(path: &PathBuf) -> Result<rustls::ClientConfig, BrokerError> {
    let wrong = |source| BrokerError::Authorities { path: path.clone(), source };
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(wrong)? {
        roots.add(certificate.map_err(wrong)?)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let parse = |url: &str| Broker::parse(url, None, None, None);
        assert_eq!(parse("mqtt://broker").expect("valid").address(), "broker:1883");
        assert_eq!(parse("mqtt://127.0.0.1:1999").expect("valid").address(), "127.0.0.1:1999");
        let broker = parse("mqtt://rig:secret@broker").expect("valid");
        assert_eq!(broker.credentials(), Some(("rig", "secret")));
        assert!(!format!("{broker:?}").contains("secret"));
        assert!(matches!(parse("broker"), Err(BrokerError::NotAUrl)));
        assert!(matches!(parse("http://broker"), Err(BrokerError::Scheme(_))));
        assert!(matches!(parse("mqtts://broker"), Err(BrokerError::NoAuthorities)));
    }
}
