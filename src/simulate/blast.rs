//! A publisher for benches: passages at tens of thousands a second for as little processor time as possible.
//!
//! The general client spends most of its time on one flush and several queue hops per message, and bench, broker,
//! database and service share two cores. So this one writes MQTT 5 packets itself, many to a write, and only counts the
//! acknowledgements. No ledger, no reconnecting, no TLS: a lost connection ends the run with an error.
//!
//! Processor time per 427-byte passage, user and system, release build, two busy cores, mosquitto without subscribers:
//! 4.1 us here at 20 000 a second and 3.7 us at 87 000 a second, making the passage included; 25 us through the general
//! client at 5 000 a second, 8.1 us at the 44 000 a second that were its most.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::Notify,
    time::{self, Instant},
};
use tokio_util::sync::CancellationToken;

use super::{Broker, Fleet, passage::PassageDetail, passage::PassageMaker, schedule::Schedule};
use crate::reading::Timestamp;

mod packet;

/// Bytes collected before a write.
const WRITE_BYTES: usize = 32 * 1024;
const TICK: Duration = Duration::from_millis(2);

/// A run of the fast publisher.
#[derive(Clone, Debug)]
pub struct Blast {
    pub broker: Broker,
    pub fleet: Arc<Fleet>,
    /// Names the run in record ids; two runs into one store need two names.
    pub run: String,
    /// Of every `cycle` passages each registered vehicle has at most one, see [`PassageMaker::new`].
    pub cycle: u64,
    pub detail: PassageDetail,
    /// Messages a second over all connections; infinity: as fast as the acknowledgements allow.
    pub rate: f64,
    pub seconds: Option<u64>,
    /// Ends after this many messages, rounded up to a multiple of `connections`.
    pub messages: Option<u64>,
    /// Messages that may be out in all, moved on by somebody else: how a bench keeps the broker's queue bounded, which
    /// acknowledges what no subscriber has taken yet.
    pub allowed: Option<Arc<AtomicU64>>,
    pub connections: u16,
    /// Unacknowledged messages per connection; the broker's own limit counts where it is lower.
    pub window: u16,
    pub cancel: CancellationToken,
    /// Acknowledged so far, over all connections.
    pub acked: Arc<AtomicU64>,
}

/// What a run came to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct BlastSummary {
    pub sent: u64,
    pub acked: u64,
    pub payload_bytes: u64,
    pub took: Duration,
}

#[derive(Debug, thiserror::Error)]
pub enum BlastError {
    #[error("the fast publisher knows no TLS")]
    Tls,
    #[error("talk to the broker at {address}")]
    Io { address: String, source: std::io::Error },
    #[error("the broker refused the connection with code {0:#04x}")]
    Refused(u8),
    #[error("the broker refused a message with code {0:#04x}")]
    NotTaken(u8),
    #[error("the broker ended the connection with code {0:#04x}")]
    Ended(u8),
    #[error("the broker sent what is no packet we expect")]
    Protocol,
    #[error("acknowledgements are outstanding after {0:?}")]
    Unacknowledged(Duration),
}

impl Blast {
    /// As fast as can be, compact passages, until cancelled.
    pub fn new(broker: Broker, fleet: Arc<Fleet>, run: impl Into<String>) -> Self {
        Self {
            broker,
            run: run.into(),
            cycle: fleet.vehicles.len() as u64,
            fleet,
            detail: PassageDetail::Compact,
            rate: f64::INFINITY,
            seconds: None,
            messages: None,
            allowed: None,
            connections: 2,
            window: 4000,
            cancel: CancellationToken::new(),
            acked: Arc::default(),
        }
    }

    /// Publishes until the end of the run and until everything is acknowledged, at most 30 s longer.
    ///
    /// # Cancel safety
    ///
    /// Use [`Blast::cancel`]. Dropping the future drops the connections.
    pub async fn run(self) -> Result<BlastSummary, BlastError> {
        if self.broker.is_tls() {
            return Err(BlastError::Tls);
        }
        let began = Instant::now();
        let lines = (0..self.connections.max(1)).map(|line| self.line(line, began));
        let mut summary = BlastSummary::default();
        for line in futures_util::future::try_join_all(lines).await? {
            summary.sent += line.sent;
            summary.acked += line.acked;
            summary.payload_bytes += line.payload_bytes;
        }
        summary.took = began.elapsed();
        Ok(summary)
    }

    async fn line(&self, line: u16, began: Instant) -> Result<BlastSummary, BlastError> {
        let (reader, writer, receive_maximum) = self.open(line).await?;
        let acks = Arc::new(Acks::default());
        let counting = AbortOnDrop(tokio::spawn(count(reader, Arc::clone(&acks), Arc::clone(&self.acked))));
        let publishing = self.publish(line, began, writer, &acks, receive_maximum.min(self.window));
        tokio::select! {
            published = publishing => published,
            error = counting => Err(error),
        }
    }

    async fn open(&self, line: u16) -> Result<(OwnedReadHalf, OwnedWriteHalf, u16), BlastError> {
        let address = self.broker.address();
        let io = |source| BlastError::Io { address: address.clone(), source };
        let stream = TcpStream::connect(&address).await.map_err(io)?;
        stream.set_nodelay(true).map_err(io)?;
        let (mut reader, mut writer) = stream.into_split();
        let client_id = format!("dieselwatch-blast-{}-{line}", self.run);
        writer.write_all(&packet::connect(&client_id, self.broker.credentials())).await.map_err(io)?;
        let mut buffer = Vec::new();
        loop {
            if let Some((header, body, _)) = packet::split(&buffer)? {
                return packet::connack(header, body).map(|maximum| (reader, writer, maximum));
            }
            if reader.read_buf(&mut buffer).await.map_err(io)? == 0 {
                return Err(BlastError::Protocol);
            }
        }
    }

    async fn publish(
        &self,
        line: u16,
        began: Instant,
        mut writer: OwnedWriteHalf,
        acks: &Acks,
        window: u16,
    ) -> Result<BlastSummary, BlastError> {
        let lines = u64::from(self.connections.max(1));
        let schedule = Schedule::new(self.rate / lines as f64);
        let most = self.messages.map_or(u64::MAX, |messages| messages.div_ceil(lines));
        let end = self.seconds.map(|seconds| began + Duration::from_secs(seconds));
        let topics: Vec<String> =
            self.fleet.stations.iter().map(|station| format!("dw/v1/rs/{}/passage", station.id)).collect();
        let mut maker = PassageMaker::new(Arc::clone(&self.fleet), &self.run, self.cycle, self.detail);
        let (mut summary, mut payload, mut out) = (BlastSummary::default(), Vec::new(), Vec::new());
        while summary.sent < most && !self.cancel.is_cancelled() && end.is_none_or(|end| Instant::now() < end) {
            let due = if self.rate.is_finite() { schedule.due(began.elapsed()) } else { u64::MAX };
            let due = self.allowed.as_ref().map_or(due, |allowed| due.min(allowed.load(Ordering::Relaxed) / lines));
            let free = u64::from(window).saturating_sub(summary.sent - acks.count());
            let count = due.min(most).saturating_sub(summary.sent).min(free);
            let at = Timestamp::now();
            for _ in 0..count {
                payload.clear();
                let station = maker.write(summary.sent * lines + u64::from(line), at, &mut payload);
                let topic = topics.get(station).map_or("", String::as_str);
                packet::publish(&mut out, topic, (summary.sent % 65_535 + 1) as u16, &payload);
                summary.sent += 1;
                summary.payload_bytes += payload.len() as u64;
                if out.len() >= WRITE_BYTES {
                    break;
                }
            }
            if !out.is_empty() {
                let address = || self.broker.address();
                writer.write_all(&out).await.map_err(|source| BlastError::Io { address: address(), source })?;
                out.clear();
            } else if free == 0 {
                acks.more.notified().await;
            } else {
                time::sleep(TICK).await;
            }
        }
        acks.wait_for(summary.sent).await?;
        summary.acked = acks.count();
        Ok(summary)
    }
}

/// Acknowledgements of one connection. They come in the order of sending, so counting them is enough.
#[derive(Default)]
struct Acks {
    counted: AtomicU64,
    more: Notify,
}

impl Acks {
    /// Longest wait for the last acknowledgements.
    const PATIENCE: Duration = Duration::from_secs(30);

    fn count(&self) -> u64 {
        self.counted.load(Ordering::Acquire)
    }

    async fn wait_for(&self, number: u64) -> Result<(), BlastError> {
        let all = async {
            while self.count() < number {
                self.more.notified().await;
            }
        };
        time::timeout(Self::PATIENCE, all).await.map_err(|_| BlastError::Unacknowledged(Self::PATIENCE))
    }
}

/// Counts acknowledgements until the connection ends, and says why it did.
async fn count(mut reader: OwnedReadHalf, acks: Arc<Acks>, total: Arc<AtomicU64>) -> BlastError {
    let mut buffer = Vec::with_capacity(16 * 1024);
    loop {
        match reader.read_buf(&mut buffer).await {
            Ok(0) => return BlastError::Protocol,
            Ok(_) => {}
            Err(source) => return BlastError::Io { address: "the broker".to_owned(), source },
        }
        let (mut used, mut counted) = (0, 0);
        loop {
            match packet::split(buffer.get(used..).unwrap_or_default()) {
                Ok(Some((header, body, length))) => {
                    if let Err(error) = packet::acknowledges(header, body) {
                        return error;
                    }
                    counted += 1;
                    used += length;
                }
                Ok(None) => break,
                Err(error) => return error,
            }
        }
        buffer.drain(..used);
        total.fetch_add(counted, Ordering::Relaxed);
        acks.counted.fetch_add(counted, Ordering::Release);
        acks.more.notify_one();
    }
}

/// A task that ends with its handle.
struct AbortOnDrop<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Future for AbortOnDrop<BlastError> {
    type Output = BlastError;

    fn poll(mut self: std::pin::Pin<&mut Self>, context: &mut std::task::Context<'_>) -> std::task::Poll<BlastError> {
        // The task never returns but with an error, and is not aborted while it is waited for.
        std::pin::Pin::new(&mut self.0).poll(context).map(|ended| ended.unwrap_or(BlastError::Protocol))
    }
}
