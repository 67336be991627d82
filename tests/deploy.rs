//! What `docker-compose.yml` ships: the broker's access list, tried on a real broker.

use std::time::Duration;

use rumqttc::v5::{
    AsyncClient, Event, MqttOptions,
    mqttbytes::{
        QoS,
        v5::{Packet, PubAckReason},
    },
};

use crate::support::{self, mosquitto::Mosquitto};

const ACL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/.deploy/acl");

/// Whether the broker takes a publication of this user.
async fn may(broker: &Mosquitto, user: &str, topic: &str) -> bool {
    let mut options = MqttOptions::new(format!("{user}-client"), "127.0.0.1", broker.port());
    options.set_credentials(user, "unchecked here").set_keep_alive(Duration::from_secs(30));
    let (client, mut events) = AsyncClient::new(options, 10);
    client.publish(topic, QoS::AtLeastOnce, false, "x").await.unwrap();
    let answered = async {
        loop {
            match events.poll().await {
                Ok(Event::Incoming(Packet::PubAck(ack))) => {
                    return matches!(ack.reason, PubAckReason::Success | PubAckReason::NoMatchingSubscribers);
                }
                Ok(_) => {}
                // mosquitto 2.0.11 answers 135, not authorised, and hangs up before that has been read.
                Err(_) => return false,
            }
        }
    };
    let taken = tokio::time::timeout(support::LIMIT, answered).await.expect("the broker answers");
    let denied = format!("Denied PUBLISH from {user}-client (d0, q1, r0, m1, '{topic}'");
    assert_eq!(taken, !broker.log().contains(&denied), "{user} to {topic}");
    taken
}

#[tokio::test]
async fn a_device_speaks_for_itself_only() {
    // The user's name is what the certificate says there, and what the client says here.
    let further = format!("allow_anonymous true\nacl_file {ACL}\n");
    let Some(broker) = Mosquitto::start_with(&further).await else { return };
    // Somebody has to listen, or the answer is that nobody does.
    let mut options = MqttOptions::new("dieselwatch-0", "127.0.0.1", broker.port());
    options.set_credentials("dieselwatch", "unchecked here");
    let (service, mut events) = AsyncClient::new(options, 10);
    service.subscribe("$share/dieselwatch/dw/v1/+/+/passage", QoS::AtLeastOnce).await.unwrap();
    while !matches!(events.poll().await.unwrap(), Event::Incoming(Packet::SubAck(_))) {}
    let reading = tokio::spawn(async move {
        loop {
            if let Event::Incoming(Packet::Publish(message)) = events.poll().await.unwrap() {
                return String::from_utf8_lossy(&message.topic).into_owned();
            }
        }
    });

    assert!(!may(&broker, "370306-01", "dw/v1/rs/370306-02/passage").await);
    assert!(!may(&broker, "370306-01", "dw/v1/rs/370306-01/frame").await);
    assert!(!may(&broker, "dieselwatch", "dw/v1/rs/370306-01/passage").await);
    assert!(may(&broker, "370306-01", "dw/v1/rs/370306-01/passage").await);
    let topic = tokio::time::timeout(support::LIMIT, reading).await.expect("the service reads").unwrap();
    assert_eq!(topic, "dw/v1/rs/370306-01/passage", "the refused ones never got through");
    for (kind, last) in [("obd", "frame"), ("retrofit", "frame"), ("nonroad", "frame"), ("rs", "status")] {
        assert!(!may(&broker, "a", &format!("dw/v1/{kind}/b/{last}")).await);
        assert!(may(&broker, "a", &format!("dw/v1/{kind}/a/{last}")).await);
    }
}

/// A panel or an alert on a metric that nobody writes is silent for ever.
#[test]
fn dashboards_and_alerts_name_metrics_that_exist() {
    let names = include_str!("../src/telemetry/metrics.rs");
    let known: Vec<&str> = names.split("&str = \"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    let shown = [include_str!("../.deploy/grafana/dashboards/dieselwatch.json"), include_str!("../.deploy/alerts.yml")];
    let mut count = 0;
    for text in shown {
        // Words of the form dieselwatch_a_b; histograms are read through their parts.
        for word in text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')) {
            if !word.starts_with("dieselwatch_") {
                continue;
            }
            let plain = word.strip_suffix("_bucket").unwrap_or(word);
            assert!(known.contains(&plain), "{word} is no metric of the service");
            count += 1;
        }
    }
    assert!(count > 40, "{count} metrics found");
}
