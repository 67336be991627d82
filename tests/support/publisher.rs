//! Publishes messages of the test's making, QoS 1, and waits until the broker has taken each over.

use std::time::Duration;

use rumqttc::v5::{
    AsyncClient, Event, MqttOptions,
    mqttbytes::{QoS, v5::Packet},
};

/// Publishes the messages in order.
pub async fn publish<T: Into<String>, P: Into<Vec<u8>>>(url: &str, messages: impl IntoIterator<Item = (T, P)>) {
    let (host, port) = url.trim_start_matches("mqtt://").split_once(':').unwrap();
    let name = format!("publisher-{}", uuid::Uuid::new_v4().simple());
    let mut options = MqttOptions::new(name, host, port.parse().unwrap());
    options.set_keep_alive(Duration::from_secs(30)).set_clean_start(true);
    let (client, mut events) = AsyncClient::new(options, 64);
    let messages: Vec<(String, Vec<u8>)> = messages.into_iter().map(|(t, p)| (t.into(), p.into())).collect();
    let count = messages.len();
    let sending = tokio::spawn(async move {
        for (topic, payload) in messages {
            client.publish(topic, QoS::AtLeastOnce, false, payload).await.unwrap();
        }
        client
    });
    let acknowledged = async {
        let mut acknowledged = 0;
        while acknowledged < count {
            acknowledged += usize::from(matches!(events.poll().await.unwrap(), Event::Incoming(Packet::PubAck(_))));
        }
    };
    tokio::time::timeout(super::LIMIT, acknowledged).await.expect("the broker takes every message over");
    let client = sending.await.unwrap();
    client.disconnect().await.unwrap();
    // The disconnect has to leave; whatever comes of it, the messages are the broker's.
    let _ = tokio::time::timeout(Duration::from_secs(5), events.poll()).await;
}
