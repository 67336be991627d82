//! What is encoded is decoded again, for every layout and body.

use proptest::prelude::*;

use super::*;
use crate::{
    decode::{
        Activation, Body, Command, Flags, HeaderShape, Layout, Position, PositionReading, Text, Unit, Unknown,
        encode::{self, Entry, Envelope, RealtimeUnit},
    },
    reading::Timestamp,
};

const VIN: &str = "1M8GDM9AXKP042788";

/// A time that the wire can say.
fn second() -> impl Strategy<Value = Timestamp> {
    let start = Timestamp::from_china(2016, 1, 1, 0, 0, 0).expect("a date");
    (0i64..60 * 366 * 86_400).prop_map(move |seconds| start.plus_seconds(seconds))
}

fn bytes(count: usize) -> impl Strategy<Value = Vec<u8>> {
    // Bytes at the ends of the range are where channels stop having values.
    prop::collection::vec(prop_oneof![3 => any::<u8>(), 1 => 0xf8..=0xffu8, 1 => 0..=2u8], count)
}

fn diagnosis(head: usize) -> impl Strategy<Value = Vec<u8>> {
    let count = prop_oneof![4 => 0u8..6, 1 => 250u8..=253, 1 => 254u8..=255];
    (bytes(head - 1), count).prop_flat_map(|(head, count)| {
        let codes = if count > 253 { 0 } else { usize::from(count) * 4 };
        bytes(codes).prop_map(move |codes| [head.as_slice(), &[count], &codes].concat())
    })
}

/// Type and bytes of a body that `layout` knows.
fn raw_body(layout: Layout) -> BoxedStrategy<Unknown> {
    let body =
        |code: u8, raw: BoxedStrategy<Vec<u8>>| raw.prop_map(move |raw| Unknown { code, raw: raw.into() }).boxed();
    if layout == Layout::Nonroad {
        return prop_oneof![body(0x01, diagnosis(3).boxed()), body(0x02, bytes(28).boxed())].boxed();
    }
    prop_oneof![
        body(0x01, diagnosis(96).boxed()),
        body(0x02, bytes(37).boxed()),
        body(0x03, bytes(30).boxed()),
        body(0x04, bytes(8).boxed()),
        body(0x05, bytes(32).boxed()),
        body(0x80, bytes(17).boxed()),
        body(0x81, bytes(18).boxed()),
        body(0xaa, bytes(6).boxed()),
    ]
    .boxed()
}

#[derive(Clone, Debug)]
struct Packet {
    layout: Layout,
    sent_at: Timestamp,
    serial: u16,
    position: Vec<u8>,
    bodies: Vec<Unknown>,
    signed: bool,
    old_header: bool,
}

fn packet() -> impl Strategy<Value = Packet> {
    let layouts = [Layout::One, Layout::Two, Layout::Three, Layout::Nonroad];
    prop::sample::select(layouts.to_vec()).prop_flat_map(|layout| {
        let bodies = prop::collection::vec(raw_body(layout), 1..6);
        (second(), any::<u16>(), bytes(9), bodies, any::<bool>(), any::<bool>()).prop_map(
            move |(sent_at, serial, position, bodies, signed, old_header)| Packet {
                layout,
                sent_at,
                serial,
                position,
                bodies,
                signed: signed && layout != Layout::One,
                old_header,
            },
        )
    })
}

const fn protocol(layout: Layout) -> Protocol {
    match layout {
        Layout::One | Layout::Three => Protocol::Gb17691,
        Layout::Two => Protocol::Hj1239,
        Layout::Nonroad | Layout::Tracker => Protocol::Hj1014,
    }
}

impl Packet {
    fn encode(&self, bodies: Vec<Body>, serials: impl Iterator<Item = u16>) -> Vec<u8> {
        let entry = |((place, body), serial): ((usize, Body), u16)| Entry {
            collected_at: Some(self.sent_at.plus_seconds(place as i64)),
            serial,
            body,
        };
        let entries: Vec<Entry> = bodies.into_iter().enumerate().zip(serials).map(entry).collect();
        let unit = RealtimeUnit {
            layout: self.layout,
            sent_at: Some(self.sent_at),
            serial: self.serial,
            position: PositionReading::read(&self.position, 0, 1e6),
            entries: &entries,
            signature: self.signed.then_some([[7; 32], [9; 32]]),
        };
        let mut envelope = Envelope::plain(Command::Realtime, protocol(self.layout), VIN).expect("a command");
        if self.old_header {
            envelope.shape = HeaderShape::Gb32960;
        }
        encode::frame(envelope, &unit.to_bytes())
    }
}

proptest! {
    #[test]
    fn every_layout_and_body(packet in packet()) {
        let raw = packet.bodies.iter().cloned().map(Body::Unknown).collect();
        let sent = packet.encode(raw, 40_000..);
        let first = decode_one(&sent, protocol(packet.layout)).expect("a good frame");
        // Chance may make another dialect fit as well; that it is noticed is tested elsewhere.
        prop_assume!(!first.flags.contains(Flags::DIALECT_AMBIGUOUS) && first.dialect == packet.layout.dialect());
        prop_assert_eq!(first.items.len(), packet.bodies.len());
        prop_assert_eq!(first.sent_at, Some(packet.sent_at));
        prop_assert_eq!(first.serial, (packet.layout != Layout::One).then_some(packet.serial));
        prop_assert_eq!(first.flags.contains(Flags::SIGNATURE_UNVERIFIED), packet.signed);

        let bodies = first.items.iter().map(|item| item.body.clone()).collect();
        let again = packet.encode(bodies, first.items.iter().map(|item| item.serial.unwrap_or_default()));
        let second = decode_one(&again, protocol(packet.layout)).expect("a good frame");
        prop_assert_eq!(&second, &first);
        // What differs in bytes is only the spelling of states (any of FB to FD is "reserved").
        prop_assert_eq!(again.len(), sent.len());
        serde_json::to_string(&second).expect("serialisable");
    }

    #[test]
    fn login_logout_and_alarms(
        at in second(),
        serial in any::<u16>(),
        iccid in "[0-9A-F]{20}",
        tail in prop::collection::vec(any::<u8>(), 0..40),
        (lon, lat, valid) in (-180_000_000i32..=180_000_000, -90_000_000i32..=90_000_000, any::<bool>()),
        obtainable in any::<bool>(),
    ) {
        let frame = |command, protocol, unit: Vec<u8>| {
            let envelope = Envelope::plain(command, protocol, VIN).expect("a command");
            decode_one(&encode::frame(envelope, &unit), protocol).expect("a good frame")
        };
        let login = frame(Command::Login, Protocol::Hj1239, encode::login(Some(at), serial, &iccid, &tail));
        prop_assert_eq!((login.sent_at, login.serial), (Some(at), Some(serial)));
        prop_assert_eq!(login.flags.contains(Flags::TRAILING_BYTES), !tail.is_empty());
        prop_assert_eq!(login.unit, Unit::Login { iccid: Text::new(&iccid), tail: tail.into() });

        let logout = frame(Command::Logout, Protocol::Gb17691, encode::logout(Some(at), serial));
        prop_assert_eq!((logout.sent_at, logout.serial), (Some(at), Some(serial)));

        let (lon, lat) = (f64::from(lon) / 1e6, f64::from(lat) / 1e6);
        let position = PositionReading::Known(Position { valid, lon, lat });
        for (protocol, state) in [(Protocol::Hj1239, None), (Protocol::Hj1014, Some(obtainable))] {
            let unit = encode::removal_alarm(Some(at), serial, position, state);
            let alarm = frame(Command::RemovalAlarm, protocol, unit);
            prop_assert_eq!(alarm.unit, Unit::RemovalAlarm { position, diagnosis_obtainable: state });
        }
    }

    #[test]
    fn activations(at in second(), chip_id in any::<[u8; 16]>(), key in any::<[u8; 32]>(), signed in any::<bool>()) {
        let mut public_key = [0; 64];
        public_key[..32].copy_from_slice(&key);
        let activation = Activation { chip_id, public_key, vin: Text::new(VIN) };
        let unit = encode::activation(Some(at), &activation, signed.then_some([key, key]));
        let envelope = Envelope::plain(Command::Activation, Protocol::Hj1239, VIN).expect("a command");
        let frame = decode_one(&encode::frame(envelope, &unit), Protocol::Hj1239).expect("a good frame");
        prop_assert_eq!(frame.flags.contains(Flags::SIGNATURE_UNVERIFIED), signed);
        prop_assert!(!frame.flags.contains(Flags::TRAILING_BYTES));
        prop_assert_eq!(frame.unit, Unit::Activation(Box::new(activation)));
    }
}

/// The public frames come out byte for byte, so that the encoder is held against something it did not write itself.
#[test]
fn public_frames_are_encoded_as_they_were_sent() {
    for (name, layout) in
        [("A2", Layout::One), ("B", Layout::One), ("F0", Layout::Two), ("S3", Layout::Two), ("S4", Layout::Nonroad)]
    {
        let sent = public_frame(name);
        let frame = decode_one(&sent, protocol(layout)).expect("good");
        let entry = |item: &crate::decode::Item| Entry {
            collected_at: Some(item.collected_at),
            serial: item.serial.unwrap_or_default(),
            body: item.body.clone(),
        };
        let Unit::Data { position } = frame.unit else { panic!("data") };
        let unit = RealtimeUnit {
            layout,
            sent_at: frame.sent_at,
            serial: frame.serial.unwrap_or_default(),
            position,
            entries: &frame.items.iter().map(entry).collect::<Vec<_>>(),
            signature: None,
        };
        let mut envelope = Envelope::plain(frame.command, protocol(layout), &frame.id).expect("a command");
        envelope.shape = frame.header.expect("a header");
        assert_eq!(hex::encode(encode::frame(envelope, &unit.to_bytes())), hex::encode(&sent), "{name}");
    }
    let alarm = decode_one(&public_frame("S2"), Protocol::Hj1239).expect("good");
    let Unit::RemovalAlarm { position, .. } = alarm.unit else { panic!("an alarm") };
    let unit = encode::removal_alarm(alarm.sent_at, alarm.serial.expect("a serial"), position, None);
    let envelope = Envelope::plain(Command::RemovalAlarm, Protocol::Hj1239, &alarm.id).expect("a command");
    assert_eq!(encode::frame(envelope, &unit), public_frame("S2"));
}

/// The first two bytes of a standard supplement, torque mode and pedal, say by chance how many bytes are left.
#[test]
fn a_pedal_that_looks_like_a_length_hides_no_body() {
    let bodies = |pedal| {
        let mut supplement = [0; 17];
        supplement[1] = pedal;
        [Unknown { code: 0x80, raw: supplement.into() }, Unknown { code: 0x04, raw: [0; 8].into() }]
    };
    let packet = |bodies: [Unknown; 2]| Packet {
        layout: Layout::Two,
        sent_at: Timestamp::from_china(2026, 3, 1, 8, 0, 0).expect("a date"),
        serial: 1,
        position: Vec::new(),
        bodies: bodies.into(),
        signed: false,
        old_header: false,
    };
    for pedal in 0..=u8::MAX {
        let packet = packet(bodies(pedal));
        let sent = packet.encode(packet.bodies.iter().cloned().map(Body::Unknown).collect(), 0..);
        let frame = decode_one(&sent, Protocol::Hj1239).expect("a good frame");
        assert_eq!(frame.items.len(), 2, "pedal {pedal}");
    }
}
