//! Checks that need more than the payload: when it arrived, and as whom its sender is known.

use super::Timestamp;
use crate::fault::{Reason, Refusal};

const MICROS_PER_MINUTE: i64 = 60 * 1_000_000;
const MICROS_PER_DAY: i64 = 24 * 60 * MICROS_PER_MINUTE;

/// Whether a reading's own time can be true for a message that came at `arrival`: not more than `past_days` before it
/// and not more than `future_minutes` after it, both ends included. A wrong clock must not create chunks in 2000 or 2099.
pub fn time_plausible(at: Timestamp, arrival: Timestamp, past_days: u32, future_minutes: u32) -> Result<(), Refusal> {
    let age = arrival.micros_since(at);
    if age > i64::from(past_days).saturating_mul(MICROS_PER_DAY) {
        return Err(Refusal::new(
            Reason::TimeImplausible,
            format!("{} days old at arrival, {past_days} are allowed", age / MICROS_PER_DAY),
        ));
    }
    if age < -i64::from(future_minutes).saturating_mul(MICROS_PER_MINUTE) {
        return Err(Refusal::new(
            Reason::TimeImplausible,
            format!("{} minutes after its arrival, {future_minutes} are allowed", age / -MICROS_PER_MINUTE),
        ));
    }
    Ok(())
}

/// Whether the payload names whom the topic names. The topic is what the broker's access list vouches for.
pub fn identity(topic_id: &str, payload_id: &str) -> Result<(), Refusal> {
    if topic_id == payload_id {
        return Ok(());
    }
    // Which two they are stands in the topic and the raw bytes; a VIN must not stand in a log.
    Err(Refusal::new(Reason::IdentityMismatch, "the payload names another device than its topic"))
}

/// Like [`identity`] for the 17-character field of a terminal frame, which firmware fills up with `0` on the left when
/// the identifier is shorter.
pub fn frame_identity(topic_id: &str, frame_id: &str) -> Result<(), Refusal> {
    const FIELD_BYTES: usize = 17;
    let padded = frame_id.len() == FIELD_BYTES
        && !topic_id.is_empty()
        && frame_id.strip_suffix(topic_id).is_some_and(|padding| padding.bytes().all(|b| b == b'0'));
    if padded { Ok(()) } else { identity(topic_id, frame_id) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).expect("valid")
    }

    #[test]
    fn both_ends_of_the_window_are_inside() {
        let arrival = at("2026-11-01T00:00:00Z");
        let plausible = |text| time_plausible(at(text), arrival, 400, 10).is_ok();
        assert!(plausible("2025-09-27T00:00:00Z"));
        assert!(!plausible("2025-09-26T23:59:59Z"));
        assert!(plausible("2026-11-01T00:10:00Z"));
        assert!(!plausible("2026-11-01T00:10:01Z"));
        assert!(!plausible("2000-01-01T00:00:00Z"));
        assert!(!plausible("2099-01-01T00:00:00Z"));
    }

    #[test]
    fn extremes_do_not_overflow() {
        for micros in [i64::MIN, i64::MAX] {
            assert!(time_plausible(Timestamp::from_micros(micros), Timestamp::EPOCH, 400, 10).is_err());
            let _ = time_plausible(Timestamp::from_micros(micros), Timestamp::now(), u32::MAX, u32::MAX);
        }
    }

    #[test]
    fn another_identity_is_refused_without_naming_it() {
        assert!(identity("S-1", "S-1").is_ok());
        let refusal = identity("S-1", "S-2").expect_err("differs");
        assert_eq!(refusal.reason, Reason::IdentityMismatch);
        assert!(!refusal.detail.contains("S-2"));
    }

    #[test]
    fn frames_fill_short_identifiers_with_zeros() {
        assert!(frame_identity("LGDCHA1G8MA900002", "LGDCHA1G8MA900002").is_ok());
        assert!(frame_identity("MACHINE-0001", "00000MACHINE-0001").is_ok());
        assert!(frame_identity("MACHINE-0001", "0000XMACHINE-0001").is_err());
        assert!(frame_identity("MACHINE-0001", "0MACHINE-0001").is_err(), "only the field's own width is padding");
        assert!(frame_identity("", "00000000000000000").is_err());
        assert!(frame_identity("MACHINE-0001", "").is_err());
    }
}
