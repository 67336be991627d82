//! Good messages made bad, each in exactly one way.

use bytes::Bytes;
use serde_json::{Value, json};

use super::scenario::{BadKind, Scenario};

/// Where a frame has its identity (DOMAIN A.1).
const ID_AT: usize = 3;
const ID_BYTES: usize = 17;

const OTHER_STATION: &str = "370306-other";

/// Spoils a passage. Kinds that concern frames leave it alone.
pub(super) fn passage(good: Vec<u8>, kind: BadKind, scenario: &Scenario) -> Vec<u8> {
    if kind == BadKind::NotJson {
        let mut cut = good;
        cut.truncate(cut.len() / 2);
        return cut;
    }
    let Ok(mut fields) = serde_json::from_slice::<Value>(&good) else { return good };
    let padding = |bytes: usize| Value::String("x".repeat(bytes));
    match kind {
        BadKind::WrongType => fields["speed_kmh"] = json!("fast"),
        BadKind::MissingField => {
            if let Some(fields) = fields.as_object_mut() {
                fields.remove("passed_at");
            }
        }
        BadKind::NotANumber => {
            fields["temperature_c"] = json!("NaN");
            return fields.to_string().replace("\"NaN\"", "NaN").into_bytes();
        }
        BadKind::NulCharacter => fields["vehicle_kind_hint"] = json!("H1\u{0}"),
        BadKind::TooLarge => fields["note"] = padding(scenario.too_large_bytes),
        BadKind::LargerThanClient => fields["note"] = padding(scenario.larger_than_client_bytes),
        BadKind::IdentityMismatch => fields["station_id"] = json!(OTHER_STATION),
        BadKind::Year2000 => fields["passed_at"] = json!("2000-01-01T00:00:00+08:00"),
        BadKind::Year2099 => fields["passed_at"] = json!("2099-12-31T23:59:59+08:00"),
        BadKind::PlateImpossible => {
            fields["plate"] = json!("鲁C12");
            fields["plate_color"] = json!("yellow");
        }
        BadKind::NotJson
        | BadKind::WrongChecksum
        | BadKind::UnknownCommand
        | BadKind::EncryptedUnit
        | BadKind::Truncated => return good,
    }
    fields.to_string().into_bytes()
}

/// A station that no register knows.
pub(super) const UNKNOWN_STATION: &str = "370306-99";

/// The same passage, seen by [`UNKNOWN_STATION`].
pub(super) fn of_unknown_station(good: Vec<u8>) -> Vec<u8> {
    let Ok(mut fields) = serde_json::from_slice::<Value>(&good) else { return good };
    // A spoilt identity stays spoilt.
    if fields["station_id"] != OTHER_STATION {
        fields["station_id"] = json!(UNKNOWN_STATION);
    }
    fields.to_string().into_bytes()
}

/// The same frame of a terminal that no register knows: its identity begins with a Z instead. New message id and payload.
pub(super) fn of_unknown_device(id: &str, device: &str, good: Bytes) -> (Box<str>, Bytes) {
    let stranger = match device.get(1..) {
        Some(rest) if device.len() == ID_BYTES => format!("Z{rest}"),
        _ => return (id.into(), good),
    };
    let mut frame = good.to_vec();
    for (place, byte) in (ID_AT..ID_AT + ID_BYTES).zip(stranger.bytes()) {
        set_byte(&mut frame, place, byte);
    }
    (id.replacen(device, &stranger, 1).into(), frame.into())
}

/// Spoils a binary frame (DOMAIN A.1: command at 2, encryption at 21, checksum last). Kinds that concern passages leave
/// it alone.
pub(super) fn frame(mut good: Vec<u8>, kind: BadKind) -> Vec<u8> {
    match kind {
        BadKind::WrongChecksum => {
            if let Some(checksum) = good.last_mut() {
                *checksum ^= 0x5a;
            }
        }
        // Reserved in every protocol's table.
        BadKind::UnknownCommand => set_byte(&mut good, 2, 0x55),
        // 05 is a cipher in HJ 1239 and nothing anywhere else, so it reads as encrypted whatever the protocol.
        BadKind::EncryptedUnit => set_byte(&mut good, 21, 0x05),
        BadKind::Truncated => good.truncate(good.len().saturating_sub(20)),
        _ => {}
    }
    good
}

/// Changes a byte and makes the checksum hold again.
fn set_byte(frame: &mut [u8], place: usize, value: u8) {
    let Some(old) = frame.get_mut(place).map(|byte| std::mem::replace(byte, value)) else { return };
    if let Some(checksum) = frame.last_mut() {
        *checksum ^= old ^ value;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        reading::Timestamp,
        simulate::{
            fleet::Fleet,
            passage::{PassageDetail, PassageMaker},
        },
    };

    #[test]
    fn every_way_is_different_and_none_leaves_a_good_passage() {
        let mut maker = PassageMaker::new(Arc::new(Fleet::demo()), "s1", 4000, PassageDetail::Full);
        let mut good = Vec::new();
        maker.write(1, Timestamp::from_micros(1_790_000_000_000_000), &mut good);
        let scenario = Scenario::calm();
        let kinds = BadKind::DELIVERED.into_iter().chain([BadKind::LargerThanClient]);
        let spoilt: Vec<_> =
            kinds.filter(|kind| !kind.is_frame()).map(|kind| (kind, passage(good.clone(), kind, &scenario))).collect();
        for (place, (kind, payload)) in spoilt.iter().enumerate() {
            assert_ne!(*payload, good, "{kind:?}");
            assert!(spoilt[..place].iter().all(|(_, other)| other != payload), "{kind:?}");
            let syntax_holds = !matches!(kind, BadKind::NotJson | BadKind::NotANumber);
            assert_eq!(serde_json::from_slice::<Value>(payload).is_ok(), syntax_holds, "{kind:?}");
        }
    }

    #[test]
    fn a_changed_command_keeps_its_checksum() {
        let mut bytes = vec![0x23, 0x23, 2];
        bytes.extend([1; 22]);
        let checksum = |bytes: &[u8]| bytes[2..].iter().fold(0, |sum, byte| sum ^ byte);
        bytes.push(checksum(&bytes));
        for kind in [BadKind::UnknownCommand, BadKind::EncryptedUnit] {
            let spoilt = frame(bytes.clone(), kind);
            assert_ne!(spoilt, bytes);
            assert_eq!(checksum(&spoilt), 0, "XOR over everything and its own sum");
        }
        assert_ne!(checksum(&frame(bytes.clone(), BadKind::WrongChecksum)), 0);
    }
}
