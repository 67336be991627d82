//! Encrypted connections, with and without a certificate of our own.

use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use super::support::*;
use crate::{config::Tls, ingest::Slots};

/// An authority, a server certificate for 127.0.0.1 and a client certificate, as PEM files in `dir`.
fn certificates(dir: &Path) {
    let mut authority = CertificateParams::new([]).expect("valid parameters");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.distinguished_name.push(rcgen::DnType::CommonName, "test authority");
    let key = KeyPair::generate().expect("a key");
    let authority = CertifiedIssuer::self_signed(authority, key).expect("self-signed");
    std::fs::write(dir.join("ca.pem"), authority.pem()).expect("write");
    for (name, subject) in [("server", "127.0.0.1"), ("client", "dieselwatch")] {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new([subject.to_owned()]).expect("valid parameters");
        params.distinguished_name.push(rcgen::DnType::CommonName, subject);
        let certificate = params.signed_by(&key, &authority).expect("signed");
        std::fs::write(dir.join(format!("{name}.pem")), certificate.pem()).expect("write");
        std::fs::write(dir.join(format!("{name}.key")), key.serialize_pem()).expect("write");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_and_mutual_tls() {
    let dir = tempfile::tempdir().expect("a scratch folder");
    let path = |name: &str| dir.path().join(name);
    certificates(dir.path());
    // Messages come in by a second, plain listener.
    let plain = free_port();
    let broker = Mosquitto::with(&format!(
        "allow_anonymous true\nrequire_certificate true\ncafile {ca}\ncertfile {cert}\nkeyfile {key}\nlistener {plain} 127.0.0.1\n",
        ca = path("ca.pem").display(),
        cert = path("server.pem").display(),
        key = path("server.key").display(),
    ))
    .await;
    let mut config = mqtt(&format!("mqtts://127.0.0.1:{}", broker.port));
    let anonymous = Tls { ca_file: path("ca.pem"), cert_file: None, key_file: None };

    config.tls = Some(anonymous.clone());
    let service = Service::begin(&config, Slots::Fixed(vec![0]));
    let refused = || service.ingest.status().first().is_some_and(|status| status.last_error.is_some());
    eventually("we are refused without a certificate", refused).await;
    assert!(!service.ingest.is_ready());
    service.finish().await;

    config.tls =
        Some(Tls { cert_file: Some(path("client.pem")), key_file: Some(path("client.key")), ..anonymous.clone() });
    let mut service = Service::start(&config, &[0]).await;
    publish(&format!("mqtt://127.0.0.1:{plain}"), numbered(0..100)).await;
    settle(service.take(100).await);
    service.until_settled(100).await;
    service.finish().await;

    // A server that our authority did not vouch for.
    let other = tempfile::tempdir().expect("a scratch folder");
    certificates(other.path());
    config.tls = Some(Tls { ca_file: other.path().join("ca.pem"), ..anonymous });
    let service = Service::begin(&config, Slots::Fixed(vec![0]));
    eventually("we refuse the server", || {
        let status = service.ingest.status();
        status.first().and_then(|status| status.last_error.clone()).is_some_and(|error| error.contains("certificate"))
    })
    .await;
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_and_a_password_are_sent_and_never_shown() {
    let dir = tempfile::tempdir().expect("a scratch folder");
    let file = dir.path().join("passwords");
    let mut command = std::process::Command::new("mosquitto_passwd");
    let made = command.args(["-c", "-b"]).arg(&file).args(["service", "s3cret"]).status();
    assert!(made.expect("it is installed with mosquitto").success());
    let broker = Mosquitto::with(&format!("allow_anonymous false\npassword_file {}\n", file.display())).await;
    let mut config = mqtt(&broker.url());
    config.username = Some("service".into());
    config.password = Some("wrong".into());
    let service = Service::begin(&config, Slots::Fixed(vec![0]));
    let error = || service.ingest.status().first().and_then(|status| status.last_error.clone());
    eventually("the wrong password is refused", || error().is_some()).await;
    assert!(!error().is_some_and(|error| error.contains("wrong")));
    service.finish().await;
    config.password = Some("s3cret".into());
    Service::start(&config, &[0]).await.finish().await;
}
