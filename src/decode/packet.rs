//! One frame whose checksum held: header, then the data unit by its command.

use crate::{
    config::{Protocol, SignatureForm},
    reading::{Timestamp, Vin},
};

use super::{
    bytes::{Rest, time},
    dialect::{self, Realtime},
    error::{Fault, FrameCode},
    frame::{Activation, Body, Flags, Frame, Item, Raw, Unit},
    header::{Command, FrameProtocol, HEADER_BYTES, Header},
    obd::{Text, readable},
    position::{MICRODEGREES, POSITION_BYTES, PositionReading},
    signature,
};

/// Which tables and layouts to use.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub protocol: Protocol,
    /// Take the old tracker's layout.
    pub tracker: bool,
    /// How a packet is signed, if it is.
    pub signature: SignatureForm,
}

/// What the unit of one command says.
struct Contents {
    sent_at: Option<Timestamp>,
    serial: Option<u16>,
    unit: Unit,
    flags: Flags,
}

/// Decodes the frame in `header` and `unit`; `raw` is kept with it.
pub(super) fn read(header: &[u8; HEADER_BYTES], unit: &[u8], rules: Rules, raw: Raw) -> Result<Frame, Fault> {
    let header = Header::read(header, rules.protocol)?;
    let id = readable(header.id).unwrap_or_default();
    let mut frame = Frame {
        protocol: FrameProtocol::of(rules.protocol),
        header: Some(header.shape),
        dialect: None,
        command: header.command,
        id: Box::from(&*id),
        software_version: header.software_version,
        sent_at: None,
        serial: None,
        unit: Unit::TimeSync { tail: Box::default() },
        items: Vec::new(),
        flags: Flags::default(),
        ignored_fields: 0,
        raw,
        wrapper: None,
    };
    if let Command::Realtime | Command::Resend = header.command {
        let realtime = match dialect::read_tracker(unit).filter(|_| rules.tracker) {
            Some(tracker) => tracker,
            None => signature::read_realtime(unit, rules.protocol, rules.signature)?,
        };
        take_realtime(&mut frame, realtime);
    } else {
        let contents = read_unit(header.command, unit, rules)?;
        frame.sent_at = contents.sent_at;
        frame.serial = contents.serial;
        frame.unit = contents.unit;
        frame.flags = contents.flags;
    }
    flag_identity(&mut frame, header.id);
    Ok(frame)
}

fn take_realtime(frame: &mut Frame, realtime: Realtime) {
    frame.protocol = realtime.protocol;
    frame.dialect = realtime.layout.dialect();
    frame.sent_at = realtime.sent_at;
    frame.serial = realtime.serial;
    frame.unit = Unit::Data { position: realtime.position };
    frame.items = realtime.items;
    frame.flags = realtime.flags;
}

/// Flags what is odd about the VIN. Machines have an environmental code in its place, which has no check digit.
fn flag_identity(frame: &mut Frame, id: &[u8]) {
    if frame.protocol == FrameProtocol::Hj1014 {
        return;
    }
    match Vin::from_bytes(id) {
        Some(vin) if !vin.has_illegal_character() => {
            if !vin.check_digit_holds() {
                frame.flags.set(Flags::VIN_CHECK_DIGIT);
            }
        }
        _ => frame.flags.set(Flags::VIN_ILLEGAL_CHARACTER),
    }
    if frame.items.iter().any(|item| names_another(item, id)) {
        frame.flags.set(Flags::BODY_VIN_MISMATCH);
    }
}

fn names_another(item: &Item, id: &[u8]) -> bool {
    let Body::Obd(obd) = &item.body else { return false };
    obd.detail.as_ref().is_some_and(|detail| detail.vin.0 != *id && detail.vin.as_text().is_some())
}

fn read_unit(command: Command, unit: &[u8], rules: Rules) -> Result<Contents, Fault> {
    let mut rest = Rest(unit);
    let least = match command {
        Command::Login => 28,
        Command::Logout => 8,
        Command::RemovalAlarm if rules.protocol == Protocol::Hj1014 => 18,
        Command::RemovalAlarm => 17,
        Command::Activation => 103,
        Command::ActivationResponse => 2,
        Command::TimeSync | Command::User | Command::Realtime | Command::Resend => 0,
    };
    read_fields(command, &mut rest, rules).ok_or_else(|| {
        let detail = format!("a {} unit has at least {least} bytes, not {}", command.name(), unit.len());
        Fault::new(FrameCode::LengthMismatch, HEADER_BYTES + unit.len(), detail)
    })
}

/// `None` where the unit is too short.
fn read_fields(command: Command, rest: &mut Rest<'_>, rules: Rules) -> Option<Contents> {
    let mut contents = Contents {
        sent_at: None,
        serial: None,
        unit: Unit::TimeSync { tail: Box::default() },
        flags: Flags::default(),
    };
    if let Command::Login | Command::Logout | Command::RemovalAlarm | Command::Activation = command {
        contents.sent_at = time(*rest.array()?);
    }
    if let Command::Login | Command::Logout | Command::RemovalAlarm = command {
        contents.serial = Some(rest.word()?);
    }
    contents.unit = match command {
        Command::Login => Unit::Login { iccid: Text(*rest.array()?), tail: rest.0.into() },
        Command::Logout => Unit::Logout { tail: rest.0.into() },
        Command::User => return Some(Contents { unit: Unit::User { data: rest.0.into() }, ..contents }),
        Command::RemovalAlarm => {
            let position: &[u8; POSITION_BYTES] = rest.array()?;
            let state = if rules.protocol == Protocol::Hj1014 { Some(rest.byte()?) } else { None };
            Unit::RemovalAlarm {
                position: PositionReading::read(position, 0, MICRODEGREES),
                diagnosis_obtainable: match state {
                    Some(0) => Some(true),
                    Some(1) => Some(false),
                    _ => None,
                },
            }
        }
        Command::Activation => {
            let activation =
                Activation { chip_id: *rest.array()?, public_key: *rest.array()?, vin: Text(*rest.array()?) };
            if let Some((length, _)) = signature::begins(rest.0, rules.signature)
                && rest.slice(length).is_some()
            {
                contents.flags.set(Flags::SIGNATURE_UNVERIFIED);
            }
            Unit::Activation(Box::new(activation))
        }
        Command::ActivationResponse => Unit::ActivationResponse { status: rest.byte()?, info: rest.byte()? },
        Command::TimeSync | Command::Realtime | Command::Resend => Unit::TimeSync { tail: rest.0.into() },
    };
    if !rest.is_empty() {
        contents.flags.set(Flags::TRAILING_BYTES);
    }
    Some(contents)
}
