//! The few MQTT 5 packets of the fast publisher (OASIS MQTT 5.0, chapter 3).

use super::BlastError;

const CONNECT: u8 = 0x10;
const CONNACK: u8 = 0x20;
const PUBLISH_QOS1: u8 = 0x32;
const PUBACK: u8 = 0x40;
const DISCONNECT: u8 = 0xe0;

const LEVEL_5: u8 = 5;
const CLEAN_START: u8 = 0x02;
const WITH_PASSWORD: u8 = 0x40;
const WITH_USERNAME: u8 = 0x80;

const RECEIVE_MAXIMUM: u8 = 0x21;

/// CONNECT with a clean start and no keep-alive.
pub fn connect(client_id: &str, credentials: Option<(&str, &str)>) -> Vec<u8> {
    let mut body = Vec::new();
    string(&mut body, "MQTT");
    let flags = CLEAN_START | credentials.map_or(0, |_| WITH_USERNAME | WITH_PASSWORD);
    body.extend_from_slice(&[LEVEL_5, flags, 0, 0, 0]);
    string(&mut body, client_id);
    if let Some((username, password)) = credentials {
        string(&mut body, username);
        string(&mut body, password);
    }
    let mut out = vec![CONNECT];
    length(&mut out, body.len());
    out.append(&mut body);
    out
}

/// Appends a PUBLISH with QoS 1.
pub fn publish(out: &mut Vec<u8>, topic: &str, packet: u16, payload: &[u8]) {
    out.push(PUBLISH_QOS1);
    length(out, 2 + topic.len() + 2 + 1 + payload.len());
    string(out, topic);
    out.extend_from_slice(&packet.to_be_bytes());
    // No properties.
    out.push(0);
    out.extend_from_slice(payload);
}

/// Header byte, body and whole length of a packet.
pub type Split<'a> = (u8, &'a [u8], usize);

/// The first packet of the bytes; `None` while it is not all there.
pub fn split(bytes: &[u8]) -> Result<Option<Split<'_>>, BlastError> {
    let Some((&header, rest)) = bytes.split_first() else { return Ok(None) };
    let Some((body_length, length_bytes)) = variable(rest)? else { return Ok(None) };
    let body = rest.get(length_bytes..length_bytes + body_length);
    Ok(body.map(|body| (header, body, 1 + length_bytes + body_length)))
}

/// The broker's receive maximum, or why it does not let us in.
pub fn connack(header: u8, body: &[u8]) -> Result<u16, BlastError> {
    match (header, body) {
        (CONNACK, &[_, 0, ref rest @ ..]) => receive_maximum(rest),
        (CONNACK, &[_, code, ..]) => Err(BlastError::Refused(code)),
        _ => Err(BlastError::Protocol),
    }
}

/// Whether this acknowledges one message.
pub fn acknowledges(header: u8, body: &[u8]) -> Result<(), BlastError> {
    match (header, body) {
        // Without a reason code the reason is success; from 0x80 on it is a failure.
        (PUBACK, [_, _] | [_, _, 0..0x80, ..]) => Ok(()),
        (PUBACK, &[_, _, code, ..]) => Err(BlastError::NotTaken(code)),
        (DISCONNECT, body) => Err(BlastError::Ended(body.first().copied().unwrap_or_default())),
        _ => Err(BlastError::Protocol),
    }
}

/// Looks for the receive maximum among the properties; 65 535 where the broker names none.
fn receive_maximum(bytes: &[u8]) -> Result<u16, BlastError> {
    let Some((properties_length, used)) = variable(bytes)? else { return Ok(u16::MAX) };
    let mut rest = bytes.get(used..used + properties_length).ok_or(BlastError::Protocol)?;
    while let Some((&property, value)) = rest.split_first() {
        let size = match property {
            0x24 | 0x25 | 0x28 | 0x29 | 0x2a => 1,
            0x13 | 0x22 | RECEIVE_MAXIMUM => 2,
            0x11 | 0x27 => 4,
            0x12 | 0x15 | 0x16 | 0x1a | 0x1c | 0x1f => prefixed(value)?,
            0x26 => {
                let name = prefixed(value)?;
                name + prefixed(value.get(name..).unwrap_or_default())?
            }
            _ => return Err(BlastError::Protocol),
        };
        match (property, value) {
            (RECEIVE_MAXIMUM, &[high, low, ..]) => return Ok(u16::from_be_bytes([high, low])),
            _ => rest = value.get(size..).ok_or(BlastError::Protocol)?,
        }
    }
    Ok(u16::MAX)
}

/// Bytes of a length-prefixed string with its prefix.
fn prefixed(bytes: &[u8]) -> Result<usize, BlastError> {
    match *bytes {
        [high, low, ..] => Ok(2 + usize::from(u16::from_be_bytes([high, low]))),
        _ => Err(BlastError::Protocol),
    }
}

fn string(out: &mut Vec<u8>, text: &str) {
    // Topics, client ids and credentials are far below 64 KiB; a longer one would be cut and refused by the broker.
    out.extend_from_slice(&(text.len() as u16).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// Appends a variable byte integer.
fn length(out: &mut Vec<u8>, mut value: usize) {
    loop {
        let low = (value % 128) as u8;
        value /= 128;
        if value == 0 {
            return out.push(low);
        }
        out.push(low | 0x80);
    }
}

/// Reads a variable byte integer: value and bytes used; `None` while it is not all there.
fn variable(bytes: &[u8]) -> Result<Option<(usize, usize)>, BlastError> {
    let mut value = 0;
    for (place, &byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * place);
        if byte < 0x80 {
            return Ok(Some((value, place + 1)));
        }
    }
    if bytes.len() < 4 { Ok(None) } else { Err(BlastError::Protocol) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_read_back() {
        for value in [0, 1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152, 268_435_455] {
            let mut bytes = Vec::new();
            length(&mut bytes, value);
            assert_eq!(variable(&bytes).expect("legal"), Some((value, bytes.len())));
            assert_eq!(variable(&bytes[..bytes.len() - 1]).expect("not all there"), None);
        }
        assert!(variable(&[0xff; 4]).is_err());
    }

    #[test]
    fn packets_split_only_when_whole() {
        let mut bytes = Vec::new();
        publish(&mut bytes, "t", 7, &[9; 300]);
        let whole = bytes.len();
        for cut in 0..whole {
            assert!(split(&bytes[..cut]).expect("legal").is_none());
        }
        bytes.push(0x40);
        let (header, body, used) = split(&bytes).expect("legal").expect("whole");
        assert_eq!((header, body.len(), used), (PUBLISH_QOS1, 306, whole));
    }

    #[test]
    fn answers_of_the_broker() {
        // As mosquitto 2.0.11 sends it: topic alias maximum, receive maximum.
        assert_eq!(connack(CONNACK, &[0, 0, 6, 0x22, 0, 10, 0x21, 0, 20]).expect("in"), 20);
        assert_eq!(connack(CONNACK, &[0, 0, 7, 0x12, 0, 1, b'x', 0x21, 1, 0]).expect("in"), 256);
        assert_eq!(connack(CONNACK, &[0, 0, 0]).expect("in"), u16::MAX);
        assert!(matches!(connack(CONNACK, &[0, 0x87, 0]), Err(BlastError::Refused(0x87))));
        assert!(connack(CONNACK, &[0, 0, 9, 0x26]).is_err());
        assert!(acknowledges(PUBACK, &[0, 1]).is_ok() && acknowledges(PUBACK, &[0, 1, 0x10, 0]).is_ok());
        assert!(matches!(acknowledges(PUBACK, &[0, 1, 0x97]), Err(BlastError::NotTaken(0x97))));
        assert!(matches!(acknowledges(DISCONNECT, &[0x93]), Err(BlastError::Ended(0x93))));
    }
}
