//! An MQTT broker inside the process, for `demo` and tests.
//!
//! What it does not promise:
//!
//! - **Nothing survives the process.** Sessions, queues and retained messages are in memory. A publisher has its PUBACK
//!   and the message may still be gone; only a broker of its own with persistence keeps that promise.
//! - **Nobody is kept out.** It takes anonymous clients and has no access rules, which is why it listens on loopback only
//!   and cannot be told otherwise.
//! - **Queues end.** Beyond [`QUEUED_MESSAGES`] messages or [`QUEUED_BYTES`] bytes per client that is away or slow, it
//!   drops. Memory can thus grow by that much per subscriber.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use mqtt5::broker::{
    BrokerConfig, MqttBroker, StorageBackendType, StorageConfig,
    config::{AuthConfig, RateLimitConfig},
};
use tokio::task::JoinHandle;

/// Messages kept for one client that is away or slow: about ten seconds of everything one core can publish.
pub const QUEUED_MESSAGES: usize = 500_000;

/// Bytes kept for one client that is away or slow.
pub const QUEUED_BYTES: usize = 256 * 1024 * 1024;

/// Un-acknowledged messages to one client; the client's own receive maximum is what should count.
pub const OUTBOUND_IN_FLIGHT: u16 = u16::MAX;

/// Largest packet in either direction, bytes; above the service's own limits, so that oversized messages reach those.
pub const MAX_PACKET_BYTES: usize = 8 * 1024 * 1024;

/// Clients at a time; the simulated fleet has one connection per device.
const MAX_CLIENTS: usize = 20_000;

/// Why the broker is not there.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    #[error("start the in-process MQTT broker on port {port}")]
    Start { port: u16, source: mqtt5::MqttError },
    #[error("the in-process MQTT broker ended before it was ready")]
    NotReady,
}

/// A running broker. Dropping it stops it without waiting.
pub struct Broker {
    address: SocketAddr,
    stop: mqtt5::broker::server::BrokerShutdownHandle,
    task: JoinHandle<Result<(), mqtt5::MqttError>>,
}

impl Broker {
    /// Starts on `127.0.0.1`; port 0 takes a free one. Returns when clients can connect.
    ///
    /// # Errors
    /// The port is in use.
    pub async fn start(port: u16) -> Result<Self, BrokerError> {
        let failed = |source| BrokerError::Start { port, source };
        let mut broker = MqttBroker::with_config(config(port)).await.map_err(failed)?;
        let address = broker.local_addr().ok_or(BrokerError::NotReady)?;
        let stop = broker.shutdown_handle();
        let mut ready = broker.ready_receiver();
        let task = tokio::spawn(async move { broker.run().await });
        if ready.wait_for(|ready| *ready).await.is_err() {
            return Err(match task.await {
                Ok(Err(source)) => failed(source),
                _ => BrokerError::NotReady,
            });
        }
        Ok(Self { address, stop, task })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// For `mqtt.url`.
    pub fn url(&self) -> String {
        format!("mqtt://{}", self.address)
    }

    /// Disconnects everybody and waits until the port is free. Everything queued is gone.
    pub async fn shutdown(mut self) {
        self.stop.shutdown();
        match (&mut self.task).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "in-process mqtt broker ended with an error"),
            Err(error) => tracing::error!(%error, "in-process mqtt broker failed"),
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.stop.shutdown();
    }
}

fn config(port: u16) -> BrokerConfig {
    let storage = StorageConfig::new()
        .with_backend(StorageBackendType::Memory)
        .with_max_queued_messages_per_client(QUEUED_MESSAGES)
        .with_max_queued_bytes_per_client(QUEUED_BYTES);
    // All clients come from one address, so a limit per address would lock out the fleet with its worst member.
    let auth = AuthConfig {
        rate_limit: RateLimitConfig { enabled: false, ..RateLimitConfig::default() },
        ..AuthConfig::new().with_allow_anonymous(true)
    };
    let mut config = BrokerConfig::new()
        .with_bind_address(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port))
        .with_max_clients(MAX_CLIENTS)
        .with_max_packet_size(MAX_PACKET_BYTES)
        .with_max_outbound_inflight(OUTBOUND_IN_FLIGHT)
        .with_storage(storage)
        .with_auth(auth);
    config.sys_topics_enabled = false;
    config
}
