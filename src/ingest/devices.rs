//! Which devices say they are online, from their retained `status` messages.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};

use super::topic::status_of;
use crate::{reading::DeviceId, strict_json};

/// Devices remembered at most. A cell serves up to about 100 000 (a province is several cells); at roughly 100 bytes
/// each, and never more than 350, this bounds the table at 70 MB whatever is published. Further devices are counted, not
/// kept.
pub const MAX_DEVICES: usize = 200_000;

/// What a device last said about itself; `offline` is normally said by its last will.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Connectivity {
    Online,
    Offline,
}

/// Latest states, by kind and identity.
#[derive(Debug, Default)]
pub(super) struct Devices {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    states: HashMap<Box<str>, Connectivity>,
    online: usize,
    refused: u64,
}

/// How many devices are in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceCounts {
    pub online: usize,
    pub offline: usize,
    /// Messages that were no state at all, or of devices beyond [`MAX_DEVICES`].
    pub refused: u64,
}

/// One device's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceState {
    /// `rs`, `obd`, `retrofit` or `nonroad`.
    pub kind: Box<str>,
    pub device: Box<str>,
    pub state: Connectivity,
}

#[derive(Deserialize)]
struct Payload {
    state: Connectivity,
}

impl Devices {
    /// Takes in a status message. An empty payload is how MQTT deletes a retained one: the device is forgotten.
    pub fn update(&self, topic: &str, payload: &[u8]) {
        let Some((kind, device)) = status_of(topic) else { return };
        // A topic could carry 64 KiB.
        if DeviceId::parse(device).is_err() {
            self.inner.lock().unwrap_or_else(PoisonError::into_inner).refused += 1;
            return;
        }
        let key = format!("{kind}/{device}");
        let mut guard = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let inner = &mut *guard;
        if payload.is_empty() {
            if inner.states.remove(&*key) == Some(Connectivity::Online) {
                inner.online -= 1;
            }
            return;
        }
        let known = inner.states.contains_key(&*key);
        match strict_json::read::<Payload>(payload) {
            Ok(payload) if known || inner.states.len() < MAX_DEVICES => {
                let before = inner.states.insert(key.into(), payload.state);
                inner.online += usize::from(payload.state == Connectivity::Online);
                inner.online -= usize::from(before == Some(Connectivity::Online));
            }
            _ => inner.refused += 1,
        }
    }

    pub fn counts(&self) -> DeviceCounts {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        DeviceCounts { online: inner.online, offline: inner.states.len() - inner.online, refused: inner.refused }
    }

    pub fn states(&self) -> Vec<DeviceState> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let named = |key: &str, state| {
            let (kind, device) = key.split_once('/')?;
            Some(DeviceState { kind: kind.into(), device: device.into(), state })
        };
        inner.states.iter().filter_map(|(key, state)| named(key, *state)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_latest_state_of_each_device() {
        let devices = Devices::default();
        let say = |device: &str, payload: &str| {
            devices.update(&format!("dw/v1/obd/{device}/status"), payload.as_bytes());
            let DeviceCounts { online, offline, refused } = devices.counts();
            (online, offline, refused)
        };
        assert_eq!(say("a", r#"{"state":"online","at":"2026-01-01T00:00:00+08:00"}"#), (1, 0, 0));
        assert_eq!(say("a", r#"{"state":"online"}"#), (1, 0, 0));
        assert_eq!(say("b", r#"{"state":"offline"}"#), (1, 1, 0));
        assert_eq!(say("a", r#"{"state":"offline"}"#), (0, 2, 0));
        assert_eq!(say("a", r#"{"state":"asleep"}"#), (0, 2, 1));
        assert_eq!(say("a", r#"{"state":"offline","state":"online"}"#), (0, 2, 2));
        assert_eq!(say("a", r#"{"state":"online","at":1,"\u0061t":2}"#), (0, 2, 3));
        assert_eq!(say("a", "\u{feff}{\"state\":\"online\"}"), (1, 1, 3));
        assert_eq!(say("a", r#"{"state":"offline","battery":NaN}"#), (1, 1, 4));
        assert_eq!(say("a", ""), (0, 1, 4));
        let left = DeviceState { kind: "obd".into(), device: "b".into(), state: Connectivity::Offline };
        assert_eq!(devices.states(), [left]);
    }
}
