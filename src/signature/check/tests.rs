use proptest::prelude::*;
use sm2::dsa::{
    SigningKey,
    signature::{MultipartSigner, Signer},
};

use super::*;
use crate::{
    decode::{
        Activation, Channel, Layout, PositionReading, Stream, Text,
        encode::{self, Entry, Envelope, RealtimeUnit},
    },
    reading::Timestamp,
};

const VIN: &str = "LGDCHA1G8MA900002";
const USER: &str = "1234567812345678";

/// A key pair made of a number.
pub(crate) fn signer(seed: u8, user_id: &str) -> (SigningKey, PublicKey) {
    let mut secret = [seed; 32];
    secret[0] = 1;
    let signer = SigningKey::from_slice(user_id, &secret).expect("a scalar");
    let point = signer.verifying_key().to_sec1_bytes();
    (signer, PublicKey::from_slice(&point[1..]).expect("a point"))
}

pub(crate) fn settings() -> config::Signature {
    config::Signature {
        mode: SignatureMode::Full,
        sample_share: 0.25,
        threads: 1,
        form: SignatureForm::Lengths,
        signed_from: SignedFrom::Unit,
        signed_lengths: SignedLengths::None,
        header_length: HeaderLength::AsSent,
        user_id: USER.into(),
    }
}

fn at() -> Timestamp {
    Timestamp::from_china(2026, 11, 2, 8, 30, 0).expect("a date")
}

/// The data unit of one second in `layout`, unsigned.
fn unit(layout: Layout, bodies: usize) -> Vec<u8> {
    let mut stream = Stream::default();
    stream.channels.engine_rpm = Channel::number(1200.0);
    let entries: Vec<Entry> = (0..bodies)
        .map(|second| {
            let collected_at = Some(at().plus_seconds(second as i64));
            Entry { collected_at, serial: 1, body: Body::Stream(stream) }
        })
        .collect();
    let position = PositionReading::Absent;
    RealtimeUnit { layout, sent_at: Some(at()), serial: 7, position, entries: &entries, signature: None }.to_bytes()
}

fn framed(command: Command, unit: &[u8]) -> Vec<u8> {
    encode::frame(Envelope::plain(command, Protocol::Hj1239, VIN).expect("a command"), unit)
}

fn stored(raw: Vec<u8>) -> Packet {
    Packet { kind: SourceKind::Obd, protocol: Protocol::Hj1239, raw }
}

/// R and S as the settings want them sent, for a signature of these bytes.
fn sealed(settings: &config::Signature, signer: &SigningKey, parts: &[&[u8]]) -> Vec<u8> {
    let signature: Signature = signer.multipart_sign(parts);
    in_form(&signature, settings.form)
}

fn in_form(signature: &Signature, form: SignatureForm) -> Vec<u8> {
    let (r, s) = (signature.r_bytes().to_vec(), signature.s_bytes().to_vec());
    let integer = |half: &[u8]| {
        let digits: Vec<u8> = half.iter().copied().skip_while(|byte| *byte == 0).collect();
        let sign = vec![0; usize::from(digits[0] >= 0x80)];
        [vec![2, (sign.len() + digits.len()) as u8], sign, digits].concat()
    };
    match form {
        SignatureForm::Lengths => [vec![32], r, vec![32], s].concat(),
        SignatureForm::Raw => [r, s].concat(),
        SignatureForm::Der => {
            let content = [integer(&r), integer(&s)].concat();
            [vec![0x30, content.len() as u8], content].concat()
        }
    }
}

/// A packet signed as the settings say, written down independently of [`Rules::signed`]: byte by byte from the outside.
fn signed_packet(settings: &config::Signature, command: Command, unit: &[u8], signer: &SigningKey) -> Vec<u8> {
    fitting_packet(settings, command, unit, signer).expect("a length that fits its own signature")
}

/// The length of a DER signature depends on its value, and with `as_sent` the value on the length: of one packet in four
/// no length fits, and the terminal would have to send another.
fn fitting_packet(settings: &config::Signature, command: Command, unit: &[u8], signer: &SigningKey) -> Option<Vec<u8>> {
    let lengths = match settings.form {
        SignatureForm::Lengths => 66..67,
        SignatureForm::Raw => 64..65,
        SignatureForm::Der => 68..73,
    };
    for length in lengths {
        let mut whole = framed(command, &[unit, &vec![0; length]].concat());
        if settings.header_length == HeaderLength::WithoutSignature {
            whole[22..24].copy_from_slice(&(unit.len() as u16).to_be_bytes());
        }
        let from = match settings.signed_from {
            SignedFrom::Marker => 0,
            SignedFrom::Command => 2,
            SignedFrom::Unit => 24,
        };
        let mut message = whole[from..24 + unit.len()].to_vec();
        message.extend(vec![
            32;
            match settings.signed_lengths {
                SignedLengths::None => 0,
                SignedLengths::First => 1,
                SignedLengths::Both => 2,
            }
        ]);
        let seal = sealed(settings, signer, &[&message]);
        if seal.len() == length {
            return Some(framed(command, &[unit, &seal].concat()));
        }
    }
    None
}

fn variants() -> Vec<config::Signature> {
    let mut all = Vec::new();
    for form in [SignatureForm::Lengths, SignatureForm::Raw, SignatureForm::Der] {
        for signed_from in [SignedFrom::Unit, SignedFrom::Command, SignedFrom::Marker] {
            for signed_lengths in [SignedLengths::None, SignedLengths::First, SignedLengths::Both] {
                for header_length in [HeaderLength::AsSent, HeaderLength::WithoutSignature] {
                    if form == SignatureForm::Lengths || signed_lengths == SignedLengths::None {
                        all.push(config::Signature { form, signed_from, signed_lengths, header_length, ..settings() });
                    }
                }
            }
        }
    }
    all
}

/// Of two settings, whether they sign other bytes of one packet.
fn differ(one: &config::Signature, other: &config::Signature) -> bool {
    let header = |s: &config::Signature| (s.signed_from != SignedFrom::Unit).then_some(s.header_length);
    (one.signed_from, one.signed_lengths, header(one)) != (other.signed_from, other.signed_lengths, header(other))
}

/// GM/T 0003.5, the example on the recommended curve.
#[test]
fn the_example_of_the_standard_holds() {
    let key = "09F9DF311E5421A150DD7D161E4BC5C672179FAD1833FC076BB08FF356F35020\
               CCEA490CE26775A52DC6EA718CC1AA600AED05FBF35E084A6632F6072DA9AD13";
    let signature = "F5A03B0648D2C4630EEAC513E1BB81A15944DA3827D5B74143AC7EACEEE720B3\
                     B1B6AA29DF212FD8763182BC0D421CA1BB9038FD1F7F42D4840B69C485BBC1AA";
    let key = PublicKey::parse(key).and_then(|key| key.verifying(USER)).expect("a key");
    let signature = Signature::from_slice(&hex::decode(signature).expect("hex")).expect("a signature");
    assert!(key.multipart_verify(&[b"message ", b"digest"], &signature).is_ok());
    assert!(key.multipart_verify(&[b"message digesu"], &signature).is_err());
}

#[test]
fn every_configured_form_and_range_verifies_what_was_signed_so_and_nothing_else() {
    let (signer, key) = signer(7, USER);
    let (_, other_key) = super::tests::signer(8, USER);
    let variants = variants();
    assert_eq!(variants.len(), 30);
    for settings in &variants {
        let rules = Rules::new(settings.clone());
        let unit = unit(Layout::Two, 2);
        let raw = signed_packet(settings, Command::Realtime, &unit, &signer);
        assert_eq!(rules.check(&stored(raw.clone()), With::Known(Some(&key))), Outcome::Ok, "{settings:?}");
        assert_eq!(rules.check(&stored(raw.clone()), With::Known(Some(&other_key))), Outcome::Failed);
        assert_eq!(rules.check(&stored(raw.clone()), With::Known(None)), Outcome::NoKey);
        // One bit of one value, and the checksum made right again.
        let mut changed = unit.clone();
        changed[20] ^= 1;
        let seal = &raw[24 + unit.len()..raw.len() - 1];
        let changed = framed(Command::Realtime, &[&changed[..], seal].concat());
        assert_eq!(rules.check(&stored(changed), With::Known(Some(&key))), Outcome::Failed);
        // The same packet under every other range of the same form.
        for other in variants.iter().filter(|other| other.form == settings.form && differ(other, settings)) {
            let outcome = Rules::new(other.clone()).check(&stored(raw.clone()), With::Known(Some(&key)));
            assert_eq!(outcome, Outcome::Failed, "{settings:?} read as {other:?}");
        }
        let another = config::Signature { user_id: "another".into(), ..settings.clone() };
        assert_eq!(Rules::new(another).check(&stored(raw), With::Known(Some(&key))), Outcome::Failed);
    }
}

#[test]
fn what_is_no_signature_is_told_from_one_that_fails() {
    let (signer, key) = signer(7, USER);
    let rules = Rules::new(settings());
    let check = |raw: Vec<u8>| rules.check(&stored(raw), With::Known(Some(&key)));
    let unit = unit(Layout::Two, 1);
    let raw = signed_packet(&settings(), Command::Realtime, &unit, &signer);
    let seal = &raw[24 + unit.len()..raw.len() - 1];
    assert_eq!(check(framed(Command::Realtime, &unit)), Outcome::Unsigned);
    assert_eq!(check(framed(Command::Realtime, &[&unit, &seal[..65]].concat())), Outcome::Malformed, "cut short");
    let zero = [&[32][..], &[0; 32], &[32], &[9; 32]].concat();
    assert_eq!(check(framed(Command::Realtime, &[&unit[..], &zero].concat())), Outcome::Malformed, "R is 0");
    let large = [&[32][..], &[255; 32], &[32], &[9; 32]].concat();
    assert_eq!(check(framed(Command::Realtime, &[&unit[..], &large].concat())), Outcome::Malformed, "R exceeds n");
    assert_eq!(check(b"no frame".to_vec()), Outcome::Malformed);
    let raw_form = Rules::new(config::Signature { form: SignatureForm::Raw, ..settings() });
    assert_eq!(raw_form.check(&stored(raw), With::Known(Some(&key))), Outcome::Malformed, "another form");
}

#[test]
fn several_signatures_in_a_packet_are_not_judged() {
    let (signer, key) = signer(7, USER);
    let rules = Rules::new(settings());
    let entries = [0, 1].map(|serial| Entry { collected_at: None, serial, body: Body::Stream(Stream::default()) });
    let signature: Signature = signer.sign(b"anything");
    let halves = [signature.r_bytes().into(), signature.s_bytes().into()];
    let unit = |entries: &[Entry]| {
        let (layout, position) = (Layout::Three, PositionReading::Absent);
        let signature = Some(halves);
        RealtimeUnit { layout, sent_at: Some(at()), serial: 7, position, entries, signature }.to_bytes()
    };
    let check =
        |entries: &[Entry]| rules.check(&stored(framed(Command::Realtime, &unit(entries))), With::Known(Some(&key)));
    assert_eq!(check(&entries), Outcome::Unsupported);
    assert_eq!(check(&entries[..1]), Outcome::Failed, "one behind one body is one at the end");
}

#[test]
fn an_activation_proves_the_key_it_files() {
    for form in [SignatureForm::Lengths, SignatureForm::Raw, SignatureForm::Der] {
        let settings = config::Signature { form, ..settings() };
        let rules = Rules::new(settings.clone());
        let (signer, key) = signer(7, USER);
        let (other, _) = super::tests::signer(8, USER);
        let filing = |public_key| Activation { chip_id: *b"0123456789abcdef", public_key, vin: Text::new(VIN) };
        let unit = encode::activation(Some(at()), &filing(*key.as_bytes()), None);
        let good = stored(signed_packet(&settings, Command::Activation, &unit, &signer));
        assert_eq!(rules.check(&good, With::Filed), Outcome::Ok, "{form:?}");
        let filed = rules.filed(&good).expect("a key");
        assert_eq!((filed.key, filed.vin.as_deref()), (key, Some(VIN)));
        let bad = stored(signed_packet(&settings, Command::Activation, &unit, &other));
        assert_eq!(rules.check(&bad, With::Filed), Outcome::Failed);
        assert_eq!(rules.check(&stored(framed(Command::Activation, &unit)), With::Filed), Outcome::Unsigned);
        let nowhere = encode::activation(Some(at()), &filing([1; 64]), None);
        let nowhere = stored(signed_packet(&settings, Command::Activation, &nowhere, &signer));
        assert_eq!((rules.check(&nowhere, With::Filed), rules.filed(&nowhere)), (Outcome::Malformed, None));
    }
}

#[test]
fn outcomes_are_found_by_their_number() {
    for (place, outcome) in Outcome::ALL.into_iter().enumerate() {
        assert_eq!(outcome.code() as usize, place);
    }
}

#[test]
fn a_sample_is_about_its_share_and_always_the_same() {
    let rules = Rules::new(config::Signature { mode: SignatureMode::Sample, ..settings() });
    let chosen = |salt: &[u8]| (0..20_000_i64).filter(|digest| rules.chooses(salt, *digest)).collect::<Vec<_>>();
    let first = chosen(b"salt");
    assert!((4_500..5_500).contains(&first.len()), "{}", first.len());
    assert_eq!(first, chosen(b"salt"));
    assert_ne!(first, chosen(b"another"), "nobody outside knows which");
    for (share, all) in [(0.0, 0), (1.0, 1000)] {
        let rules = Rules::new(config::Signature { mode: SignatureMode::Sample, sample_share: share, ..settings() });
        assert_eq!((0..1000).filter(|digest| rules.chooses(b"salt", *digest)).count(), all);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_key_and_any_packet_round_trip(seed in 1..250_u8, bodies in 1..5_usize, place in any::<prop::sample::Index>()) {
        let variants = variants();
        let settings = place.get(&variants);
        let (signer, key) = signer(seed, USER);
        let raw = fitting_packet(settings, Command::Resend, &unit(Layout::Two, bodies), &signer);
        prop_assume!(raw.is_some());
        let raw = raw.unwrap_or_default();
        prop_assert_eq!(Rules::new(settings.clone()).check(&stored(raw), With::Known(Some(&key))), Outcome::Ok);
    }

    #[test]
    fn any_packet_is_checked_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), place in any::<prop::sample::Index>()) {
        let variants = variants();
        let rules = Rules::new(place.get(&variants).clone());
        let (_, key) = signer(1, USER);
        for raw in [bytes.clone(), framed(Command::Realtime, &bytes), framed(Command::Activation, &bytes)] {
            let outcome = rules.check(&stored(raw.clone()), With::Known(Some(&key)));
            prop_assert_ne!(outcome, Outcome::Ok);
            prop_assert_ne!(rules.check(&stored(raw), With::Filed), Outcome::Ok);
        }
    }
}
