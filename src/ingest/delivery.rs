//! What the MQTT session hands to the pipeline.

use bytes::Bytes;
use tokio::sync::mpsc;

use super::receipt::Receipt;
use crate::reading::Timestamp;

/// The `source` of a message whose topic belongs to no configured source. A session that outlived a change of the
/// configuration still has the old subscriptions; such messages are quarantined like any other (`topic_unknown`).
pub const UNKNOWN_SOURCE: usize = usize::MAX;

/// One message as it came.
#[derive(Debug)]
pub struct Delivery {
    /// Index into the configured sources, or [`UNKNOWN_SOURCE`]. Look it up with `get`.
    pub source: usize,
    /// What stands in the place of `+` in the source's filter: the identity of the device. Empty if unknown.
    pub device: Box<str>,
    pub topic: Box<str>,
    /// Shared with the read buffer, not copied: neighbours in the same 8 KiB chunk live about as long, because they
    /// are committed together. Whoever keeps a payload beyond its batch should copy it.
    ///
    /// A payload above `mqtt.max_payload_bytes` is delivered whole, for the pipeline to quarantine as `too_large`. One
    /// above `mqtt.max_packet_bytes` never comes: the broker knows that limit and drops the message for us.
    pub payload: Bytes,
    pub received_at: Timestamp,
    pub receipt: Receipt,
}

/// The receiving end of all connections.
#[derive(Debug)]
pub struct Inbox {
    receiver: mpsc::Receiver<Delivery>,
}

impl Inbox {
    pub(super) fn new(receiver: mpsc::Receiver<Delivery>) -> Self {
        Self { receiver }
    }

    /// Waits for messages and appends up to `limit` of them to `buffer`; 0 means closed and drained (or `limit` 0).
    ///
    /// Messages whose connection ended while they waited here are left out: they come again.
    ///
    /// # Cancel safety
    /// Dropping the future takes nothing.
    pub async fn recv_many(&mut self, buffer: &mut Vec<Delivery>, limit: usize) -> usize {
        let start = buffer.len();
        loop {
            if self.receiver.recv_many(buffer, limit).await == 0 {
                return 0;
            }
            let mut place = 0;
            buffer.retain(|delivery| {
                place += 1;
                place <= start || delivery.receipt.is_live()
            });
            if buffer.len() > start {
                return buffer.len() - start;
            }
        }
    }

    /// Messages waiting.
    pub fn len(&self) -> usize {
        self.receiver.len()
    }

    pub fn is_empty(&self) -> bool {
        self.receiver.is_empty()
    }
}
