//! The least a subscriber can do, as the ceiling of every subscriber.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use rumqttc::v5::{
    AsyncClient, Event, MqttOptions,
    mqttbytes::{
        QoS,
        v5::{ConnectProperties, Packet},
    },
};

use crate::{
    CONNECTIONS, RECEIVE_MAXIMUM, WARM_UP, per_message,
    processes::Mosquitto,
    publisher::{Publisher, UNPACED, pace},
    support::{self, processor_time},
};

pub struct Null {
    pub rate: f64,
    pub publisher_us: f64,
    pub broker_us: f64,
    pub own_us: f64,
}

/// The least a subscriber can do: receive and acknowledge, with the client library and connections of the service.
pub async fn null_subscriber(broker: &Mosquitto, window: Duration) -> anyhow::Result<Null> {
    let received = Arc::new(AtomicU64::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    for connection in 0..CONNECTIONS {
        let mut options = MqttOptions::new(format!("null-{connection}"), "127.0.0.1", broker.port);
        options.set_connect_properties(ConnectProperties {
            receive_maximum: Some(RECEIVE_MAXIMUM),
            max_packet_size: Some(1 << 20),
            ..ConnectProperties::new()
        });
        let (client, mut events) = AsyncClient::new(options, 100);
        client.subscribe("$share/null/dw/v1/rs/+/passage", QoS::AtLeastOnce).await?;
        // Subscribed before anything is sent.
        while !matches!(events.poll().await?, Event::Incoming(Packet::SubAck(_))) {}
        let received = Arc::clone(&received);
        tasks.spawn(async move {
            let _client = client;
            while let Ok(event) = events.poll().await {
                if matches!(event, Event::Incoming(Packet::Publish(_))) {
                    received.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
    }
    let mut publisher = Publisher::start(broker, "null", UNPACED)?;
    let got = || received.load(Ordering::Relaxed);
    pace(&mut publisher, WARM_UP, async || Ok(got())).await?;
    let (began, before) = (Instant::now(), got());
    let pids = [publisher.pid(), broker.pid(), std::process::id()];
    let used = || pids.map(|pid| processor_time(pid, false));
    let used_before = used();
    pace(&mut publisher, window, async || Ok(got())).await?;
    let (count, took, used) = (got() - before, began.elapsed(), used());
    let sent = publisher.end().await?;
    support::until("the null subscriber to have everything", async || (got() >= sent).then_some(())).await;
    let [publisher_us, broker_us, own_us] = per_message(used_before, used, count);
    Ok(Null { rate: count as f64 / took.as_secs_f64(), publisher_us, broker_us, own_us })
}
