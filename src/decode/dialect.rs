//! The layouts of a realtime data unit.
//!
//! ```text
//! 1        time, { type, serial, body }*
//! 2        time, serial, { type, collect time, body }*   [signature]
//! 3        time, serial, { type, body [signature] }*
//! non-road time, serial, position, { type, body }*       [signature]
//! tracker  time, type 87, serial, body                   (no checksum; only where the source is configured so)
//! ```
//!
//! Nothing in a frame says which layout it has. A layout *fits* when it consumes the unit exactly with known types. The
//! dialects of the configured protocol are asked first, the others only when none of those fits. When two fit, the
//! bodies are the same bytes (they begin at offset 9 in both 1 and 3) and only the serial differs: the values are taken,
//! the frame is flagged and the serials are left out.
//!
//! When none fits, the layout that gets furthest is taken, provided that it read at least one whole body and stopped at a
//! type it does not know; what is left becomes an `unknown` item. If it stopped in a body that is cut short, nothing is: a
//! layout that gets less far and happens to meet an unknown type would invent values out of the others' bytes.

use crate::{config::Protocol, reading::Timestamp};

use super::{
    body::{Hybrid, RetrofitSmoke, Stream, Supplement, Twc, WorkState},
    bytes::{Days, Rest, time},
    error::{Fault, FrameCode},
    frame::{Body, Flags, Item, Unknown},
    header::{FrameProtocol, HEADER_BYTES},
    obd::Obd,
    position::{PositionReading, TRACKER_DEGREES},
    scale::BYTE,
    times, vendor,
    walk::{End, Kind, Step, Survey, Walk},
};

/// A layout of the realtime unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layout {
    /// Dialects of heavy-duty terminals.
    One,
    Two,
    Three,
    /// HJ 1014.
    Nonroad,
    /// The old non-road tracker.
    Tracker,
}

impl Layout {
    /// Number of the dialect; non-road layouts are none.
    pub const fn dialect(self) -> Option<u8> {
        match self {
            Layout::One => Some(1),
            Layout::Two => Some(2),
            Layout::Three => Some(3),
            Layout::Nonroad | Layout::Tracker => None,
        }
    }

    /// The protocol that a fitting layout speaks for when none is configured.
    const fn protocol(self) -> FrameProtocol {
        match self {
            Layout::One | Layout::Three => FrameProtocol::Gb17691,
            Layout::Two => FrameProtocol::Hj1239,
            Layout::Nonroad | Layout::Tracker => FrameProtocol::Hj1014,
        }
    }
}

/// The layouts to try: those of the protocol, then the others; each group in order of preference.
const fn candidates(protocol: Protocol) -> (&'static [Layout], &'static [Layout]) {
    match protocol {
        Protocol::Gb17691 => (&[Layout::One, Layout::Three], &[Layout::Two]),
        Protocol::Hj1239 => (&[Layout::Two], &[Layout::One, Layout::Three]),
        Protocol::Hj1014 => (&[Layout::Nonroad], &[]),
        Protocol::Auto => (&[Layout::Two, Layout::One, Layout::Three, Layout::Nonroad], &[]),
    }
}

/// A decoded realtime unit.
#[derive(Debug)]
pub(super) struct Realtime {
    pub layout: Layout,
    pub protocol: FrameProtocol,
    pub sent_at: Option<Timestamp>,
    pub serial: Option<u16>,
    pub position: PositionReading,
    pub items: Vec<Item>,
    pub flags: Flags,
}

pub(super) fn read(unit: &[u8], protocol: Protocol) -> Result<Realtime, Fault> {
    let (own, others) = candidates(protocol);
    for group in [own, others] {
        let mut fitting =
            group.iter().map(|&layout| Survey::of(unit, layout)).filter(|survey| survey.end == End::Exact);
        if let Some(survey) = fitting.next() {
            let tie = fitting.next().is_some();
            return decode(unit, &survey, tie, protocol);
        }
    }
    let all = own.iter().chain(others).map(|&layout| Survey::of(unit, layout));
    let partial: smallvec::SmallVec<[Survey; 4]> = all.filter(|survey| survey.bodies > 0).collect();
    // On a tie `max_by_key` takes the last, so the order of preference is turned round.
    match partial.iter().rev().max_by_key(|survey| survey.consumed) {
        Some(survey) if survey.end == End::UnknownType => decode(unit, survey, false, protocol),
        _ => Err(Fault::new(
            FrameCode::NoDialectFits,
            HEADER_BYTES,
            format!("no layout consumes the {} bytes of the data unit", unit.len()),
        )),
    }
}

/// Whether some layout of the protocol, or another it may carry, consumes the unit exactly.
pub(super) fn fits(unit: &[u8], protocol: Protocol) -> bool {
    let (own, others) = candidates(protocol);
    own.iter().chain(others).any(|&layout| Survey::of(unit, layout).end == End::Exact)
}

/// The old tracker's unit: 20 bytes with type 87 behind the time.
pub(super) fn read_tracker(unit: &[u8]) -> Option<Realtime> {
    let mut rest = Rest(unit);
    let &sent = rest.array()?;
    let 0x87 = rest.byte()? else { return None };
    let serial = rest.word()?;
    let body: &[u8; 11] = rest.array()?;
    if !rest.is_empty() {
        return None;
    }
    let mut stream = Stream::default();
    let [fuel_tank, position @ .., work_state] = body;
    // This tracker sends whole percent, not the 0.4 steps of the stream.
    stream.channels.fuel_tank_pct = BYTE.up_to(100).of_raw(u32::from(*fuel_tank));
    stream.position = PositionReading::read(position, 0, TRACKER_DEGREES);
    stream.work_state =
        WorkState::CODES.into_iter().find(|(code, _)| code == work_state).map(|(_, work_state)| work_state);
    let sent_at = time(sent);
    let mut flags = Flags::default();
    if sent_at.is_none() {
        flags.set(Flags::COLLECT_TIME_INVALID);
    }
    Some(Realtime {
        layout: Layout::Tracker,
        protocol: Layout::Tracker.protocol(),
        sent_at,
        serial: Some(serial),
        position: stream.position,
        items: vec![Item {
            serial: None,
            collected_at: sent_at.unwrap_or(Timestamp::EPOCH),
            ordinal: 0,
            body: Body::Stream(stream),
        }],
        flags,
    })
}

fn decode(unit: &[u8], survey: &Survey, tie: bool, protocol: Protocol) -> Result<Realtime, Fault> {
    let layout = survey.layout;
    let misfit = || Fault::new(FrameCode::NoDialectFits, HEADER_BYTES, "data unit is cut short");
    let (head, mut walk) = Walk::begin(unit, layout).ok_or_else(misfit)?;
    let mut days = Days::default();
    let sent_at = days.time(head.sent);
    let mut flags = Flags::default();
    if tie {
        flags.set(Flags::DIALECT_AMBIGUOUS);
    }
    let mut items = Vec::with_capacity(survey.bodies + usize::from(survey.end == End::UnknownType));
    loop {
        match walk.next() {
            Step::Body { kind, serial, collected, body } => {
                let collected_at = collected.map_or(sent_at, |raw| days.time(raw));
                if collected_at.is_none() {
                    flags.set(Flags::COLLECT_TIME_INVALID);
                }
                let serial = if tie { None } else { serial };
                let collected_at = collected_at.or(sent_at).unwrap_or(Timestamp::EPOCH);
                let item = |body| Item { serial, collected_at, ordinal: 0, body };
                match (kind, body.try_into()) {
                    (Kind::Stream, Ok(bytes)) => {
                        items.push(item(Body::Stream(Stream::default())));
                        if let Some(Item { body: Body::Stream(stream), .. }) = items.last_mut() {
                            stream.fill_road(bytes);
                        }
                    }
                    _ => items.push(item(read_body(kind, body, head.position).ok_or_else(misfit)?)),
                }
            }
            Step::Signature => flags.set(Flags::SIGNATURE_UNVERIFIED),
            Step::Stop(End::UnknownType) => {
                if let Some((&code, raw)) = walk.rest.0.split_first() {
                    items.push(Item {
                        serial: None,
                        collected_at: sent_at.unwrap_or(Timestamp::EPOCH),
                        ordinal: 0,
                        body: Body::Unknown(Unknown { code, raw: raw.into() }),
                    });
                }
                break;
            }
            Step::Stop(_) => break,
        }
    }
    times::resolve(&mut items);
    Ok(Realtime {
        layout,
        protocol: if protocol == Protocol::Auto { layout.protocol() } else { FrameProtocol::of(protocol) },
        sent_at,
        serial: if tie { None } else { head.serial },
        position: head.position,
        items,
        flags,
    })
}

fn read_body(kind: Kind, body: &[u8], position: PositionReading) -> Option<Body> {
    Some(match kind {
        Kind::Stream => {
            let mut stream = Stream::default();
            stream.fill_road(body.try_into().ok()?);
            Body::Stream(stream)
        }
        Kind::Obd => Body::Obd(Obd::read_road(body)?),
        Kind::TwcPlain => Body::Twc(Twc::read_plain(body.try_into().ok()?)),
        Kind::TwcWithNox => Body::Twc(Twc::read_with_nox(body.try_into().ok()?)),
        Kind::Hybrid => Body::Hybrid(Hybrid::read::<0>(body)),
        Kind::Supplement => Body::Supplement(Supplement::read::<0>(body)),
        Kind::Vendor => Body::Vendor(vendor::Vendor { raw: body.into() }),
        Kind::SmokeLong => Body::RetrofitSmoke(RetrofitSmoke::read::<0>(body)),
        Kind::SmokeShort => Body::RetrofitSmoke(RetrofitSmoke::read::<1>(body)),
        Kind::NonroadObd => Body::Obd(Obd::read_nonroad(body, position)?),
        Kind::NonroadStream => Body::Stream(Stream::read_nonroad(body.try_into().ok()?, position)),
    })
}
