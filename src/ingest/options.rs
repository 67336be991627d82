//! From the configuration to the client library's options, TLS included.

use std::{path::Path, sync::Arc, time::Duration};

use rumqttc::{
    TlsConfiguration, Transport,
    v5::{
        MqttOptions,
        mqttbytes::v5::{ConnectProperties, Filter},
    },
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use secrecy::ExposeSecret;

use super::topic::{FilterError, STATUS_FILTER};
use crate::config::{Mqtt, Source, Tls};

/// Why the MQTT session cannot be set up; every one is a mistake in the configuration.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("mqtt.url must be mqtt://host:port or mqtts://host:port")]
    Url,
    #[error("mqtt.url is mqtts://, so [mqtt.tls] with ca_file is needed")]
    TlsMissing,
    #[error("[mqtt.tls] is set, so mqtt.url must begin with mqtts://")]
    TlsUnused,
    #[error("mqtt.tls.cert_file and mqtt.tls.key_file must be given together")]
    HalfIdentity,
    #[error("read {key} {path}")]
    Pem { key: &'static str, path: String, source: rustls_pki_types::pem::Error },
    #[error("no certificate in {key} {path}")]
    NoCertificate { key: &'static str, path: String },
    #[error("set up TLS")]
    Tls(#[from] rustls::Error),
    #[error("without mqtt.group every connection gets every message, so mqtt.connections must be 1")]
    GroupMissing,
    #[error("mqtt.group must not contain /, + or #")]
    Group,
    #[error(transparent)]
    Filter(#[from] FilterError),
}

/// Waiting for the TCP, TLS and MQTT handshakes together, seconds.
const CONNECT_TIMEOUT_SECONDS: u64 = 10;

/// The client library refuses to ping more often than this.
const MIN_KEEP_ALIVE_SECONDS: u16 = 5;

/// Requests queued towards the broker besides acknowledgements: subscribe, unsubscribe, disconnect.
pub(super) const REQUEST_HEADROOM: usize = 64;

/// Options for every connection of this process; the client id is set per slot.
///
/// # Errors
/// See [`StartError`].
pub(super) fn options(config: &Mqtt) -> Result<MqttOptions, StartError> {
    if config.group.contains(['/', '+', '#']) {
        return Err(StartError::Group);
    }
    if config.group.is_empty() && config.connections != 1 {
        return Err(StartError::GroupMissing);
    }
    let url = url::Url::parse(&config.url).map_err(|_| StartError::Url)?;
    let (default_port, secure) = match url.scheme() {
        "mqtt" => (1883, false),
        "mqtts" => (8883, true),
        _ => return Err(StartError::Url),
    };
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or(StartError::Url)?;
    let transport = match (&config.tls, secure) {
        (None, false) => Transport::Tcp,
        (Some(tls), true) => Transport::tls_with_config(TlsConfiguration::Rustls(Arc::new(tls_config(tls)?))),
        (None, true) => return Err(StartError::TlsMissing),
        (Some(_), false) => return Err(StartError::TlsUnused),
    };

    let mut options = MqttOptions::new("unset", host, url.port().unwrap_or(default_port));
    options.set_transport(transport);
    options.set_clean_start(false);
    options.set_manual_acks(true);
    let keep_alive = config.keep_alive_seconds.max(MIN_KEEP_ALIVE_SECONDS);
    options.set_keep_alive(Duration::from_secs(keep_alive.into()));
    options.set_connection_timeout(CONNECT_TIMEOUT_SECONDS);
    // This client publishes nothing; the library's default reserves room for 65 535 publishes under way.
    options.set_outgoing_inflight_upper_limit(16);
    options.set_connect_properties(ConnectProperties {
        session_expiry_interval: Some(config.session_expiry_seconds),
        receive_maximum: Some(config.receive_maximum.max(1)),
        max_packet_size: Some(config.max_packet_bytes),
        topic_alias_max: None,
        request_response_info: None,
        request_problem_info: None,
        user_properties: Vec::new(),
        authentication_method: None,
        authentication_data: None,
    });
    if let Some(username) = &config.username {
        let password = config.password.as_ref().map_or("", |password| password.expose_secret());
        options.set_credentials(username, password);
    }
    Ok(options)
}

/// What to subscribe to: every source through the group, and device states directly on one connection.
///
/// States are taken at QoS 0: they neither fill the window nor pile up in the queue of a session that is away, and the
/// retained ones come afresh with every subscription.
pub(super) fn filters(group: &str, sources: &[Source], with_states: bool) -> Vec<Filter> {
    use rumqttc::v5::mqttbytes::QoS;
    let mut filters: Vec<Filter> =
        source_filters(group, sources).map(|path| Filter::new(path, QoS::AtLeastOnce)).collect();
    if with_states {
        filters.push(Filter::new(STATUS_FILTER, QoS::AtMostOnce));
    }
    filters
}

/// The sources' filters, within the group if there is one.
pub(super) fn source_filters<'a>(group: &'a str, sources: &'a [Source]) -> impl Iterator<Item = String> + 'a {
    let path = move |source: &Source| match group {
        "" => source.filter.clone(),
        group => format!("$share/{group}/{}", source.filter),
    };
    sources.iter().map(path)
}

/// Certificates are checked against `ca_file` alone, never against the system's authorities.
fn tls_config(tls: &Tls) -> Result<rustls::ClientConfig, StartError> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in certificates("mqtt.tls.ca_file", &tls.ca_file)? {
        roots.add(certificate)?;
    }
    // The provider is named, not taken from the process, which might have none or another installed.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    Ok(match (&tls.cert_file, &tls.key_file) {
        (None, None) => builder.with_no_client_auth(),
        (Some(cert), Some(key)) => {
            let chain = certificates("mqtt.tls.cert_file", cert)?;
            let key = PrivateKeyDer::from_pem_file(key).map_err(|source| pem("mqtt.tls.key_file", key, source))?;
            builder.with_client_auth_cert(chain, key)?
        }
        _ => return Err(StartError::HalfIdentity),
    })
}

fn certificates(key: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, StartError> {
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|source| pem(key, path, source))?;
    if certificates.is_empty() {
        return Err(StartError::NoCertificate { key, path: path.display().to_string() });
    }
    Ok(certificates)
}

fn pem(key: &'static str, path: &Path, source: rustls_pki_types::pem::Error) -> StartError {
    StartError::Pem { key, path: path.display().to_string(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::tests::support::{mqtt, source};

    fn refused(change: impl FnOnce(&mut Mqtt)) -> StartError {
        let mut config = mqtt("mqtt://127.0.0.1:1");
        change(&mut config);
        match options(&config) {
            Ok(_) => panic!("taken"),
            Err(error) => error,
        }
    }

    #[test]
    fn the_address_comes_from_the_url() {
        let address = |url: &str| options(&mqtt(url)).expect("valid").broker_address();
        assert_eq!(address("mqtt://broker.example"), ("broker.example".into(), 1883));
        assert_eq!(address("mqtt://127.0.0.1:2883"), ("127.0.0.1".into(), 2883));
    }

    #[test]
    fn mistakes_are_named() {
        assert!(matches!(refused(|config| config.url = "http://x".into()), StartError::Url));
        assert!(matches!(refused(|config| config.url = "mqtt:".into()), StartError::Url));
        assert!(matches!(refused(|config| config.url = "mqtts://x".into()), StartError::TlsMissing));
        assert!(matches!(refused(|config| config.group = "a/b".into()), StartError::Group));
        let alone = |config: &mut Mqtt| (config.group, config.connections) = (String::new(), 2);
        assert!(matches!(refused(alone), StartError::GroupMissing));
        let tls = Tls { ca_file: "/nonexistent".into(), cert_file: None, key_file: None };
        assert!(matches!(refused(|config| config.tls = Some(tls.clone())), StartError::TlsUnused));
        let with_tls = |config: &mut Mqtt| {
            config.url = "mqtts://x".into();
            config.tls = Some(tls);
        };
        assert!(matches!(refused(with_tls), StartError::Pem { key: "mqtt.tls.ca_file", .. }));
    }

    #[test]
    fn sources_go_through_the_group_and_states_do_not() {
        let sources = [source("rs", "dw/v1/rs/+/passage")];
        let paths: Vec<_> = filters("g", &sources, true).into_iter().map(|filter| filter.path).collect();
        assert_eq!(paths, ["$share/g/dw/v1/rs/+/passage", STATUS_FILTER]);
        assert_eq!(filters("g", &sources, false).len(), 1);
    }
}
