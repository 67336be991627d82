//! Signatures of terminals through the service: verified after the commit, whatever the order of arrival, and never in the
//! way of ingest; and the arithmetic held against another implementation.

use std::process::Command as Process;

use dieselwatch::{
    config::{self, Protocol, SignatureForm, SourceKind},
    decode::{
        Activation, Body, Channel, Command, Layout, PositionReading, Stream, Text,
        encode::{self, Entry, Envelope, RealtimeUnit},
    },
    reading::Timestamp,
    signature::{
        PublicKey,
        check::{Outcome, Packet, Rules, With},
    },
};
use serde_json::Value;
use sm2::dsa::{Signature, SigningKey, signature::Signer};

use super::{World, balanced, settled};
use crate::support::{self, http::metric, publisher::publish, service::Service};

const USER: &str = "1234567812345678";
const ONE: &str = "LGDCHA1G8MA900002";
const TWO: &str = "LGDCHA1G8MA900003";
const FAILED: &str = "terminal.signature_failed";

fn signer(seed: u8) -> SigningKey {
    let mut secret = [seed; 32];
    secret[0] = 1;
    SigningKey::from_slice(USER, &secret).unwrap()
}

fn public_key(signer: &SigningKey) -> [u8; 64] {
    signer.verifying_key().to_sec1_bytes()[1..].try_into().unwrap()
}

/// Ten o'clock in China on the day before yesterday, and so many seconds.
fn at(seconds: i64) -> Timestamp {
    let day = Timestamp::now().plus_seconds(-2 * 86_400).china_day();
    Timestamp::from_china_naive(day.and_hms_opt(10, 0, 0).unwrap()).plus_seconds(seconds)
}

fn framed(command: Command, vin: &str, unit: &[u8]) -> Vec<u8> {
    encode::frame(Envelope::plain(command, Protocol::Hj1239, vin).unwrap(), unit)
}

/// R and S, each behind its length.
fn seal(signer: &SigningKey, message: &[u8]) -> Vec<u8> {
    let signature: Signature = signer.sign(message);
    [&[32][..], &signature.r_bytes(), &[32], &signature.s_bytes()].concat()
}

fn unit(at: Timestamp) -> Vec<u8> {
    let mut stream = Stream::default();
    stream.channels.engine_rpm = Channel::number(1200.0);
    let entries = [Entry { collected_at: Some(at), serial: 0, body: Body::Stream(stream) }];
    let position = PositionReading::Absent;
    let (layout, signature) = (Layout::Two, None);
    RealtimeUnit { layout, sent_at: Some(at), serial: 1, position, entries: &entries, signature }.to_bytes()
}

/// A packet of one second whose whole data unit is signed.
fn signed(vin: &str, at: Timestamp, signer: &SigningKey) -> (String, Vec<u8>) {
    let mut unit = unit(at);
    unit.extend(seal(signer, &unit));
    message(vin, framed(Command::Realtime, vin, &unit))
}

fn activation(vin: &str, at: Timestamp, files: &SigningKey, signs: &SigningKey) -> (String, Vec<u8>) {
    let filed = Activation { chip_id: [7; 16], public_key: public_key(files), vin: Text::new(vin) };
    let mut unit = encode::activation(Some(at), &filed, None);
    unit.extend(seal(signs, &unit));
    message(vin, framed(Command::Activation, vin, &unit))
}

fn message(vin: &str, frame: Vec<u8>) -> (String, Vec<u8>) {
    (format!("dw/v1/obd/{vin}/frame"), frame)
}

/// What came of a device's packets, in the order of time, once nothing waits any more.
async fn results(world: &World, vin: &str, packets: usize) -> Vec<i16> {
    support::until("every packet to be settled", async || {
        let open = world.count("SELECT count(*) FROM signature_task").await;
        let sql = "SELECT c.result FROM signature_check c JOIN devices d ON d.id = c.device \
                   WHERE d.device_id = $1 ORDER BY c.sent_at, c.digest";
        let rows = world.client.query(sql, &[&vin]).await.unwrap();
        (open == 0 && rows.len() == packets).then(|| rows.iter().map(|row| row.get(0)).collect())
    })
    .await
}

/// State, revision and content of the findings about a device.
async fn findings(world: &World, vin: &str) -> Vec<(i16, i32, Value)> {
    let sql = "SELECT state, revision, content FROM finding WHERE rule = $1 AND subject = $2 ORDER BY from_at";
    let rows = world.client.query(sql, &[&FAILED, &vin]).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
}

async fn start(section: &str) -> Option<(World, Service)> {
    let mut world = World::new().await?;
    world.setting.further = format!("[signature]\n{section}");
    let service = Service::start_ready(&world.setting).await;
    Some((world, service))
}

const OK: i16 = 0;
const NOT: i16 = 1;
const NO_KEY: i16 = 2;
const MALFORMED: i16 = 3;
const UNSIGNED: i16 = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn packets_are_verified_by_the_key_in_force_also_when_it_arrives_after_them() {
    let Some((world, service)) = start("mode = \"full\"\n").await else { return };
    let (own, forger) = (signer(1), signer(2));
    let broker = &world.setting.broker;
    let mut cut = unit(at(30));
    cut.extend(&seal(&own, &cut)[..60]);
    let before = [
        signed(ONE, at(0), &own),
        signed(ONE, at(10), &forger),
        message(ONE, framed(Command::Realtime, ONE, &unit(at(20)))),
        message(ONE, framed(Command::Realtime, ONE, &cut)),
    ];
    publish(broker, before.clone()).await;
    settled(&service, 4).await;
    assert_eq!(results(&world, ONE, 4).await, [NO_KEY, NO_KEY, UNSIGNED, MALFORMED]);
    assert!(findings(&world, ONE).await.is_empty(), "without a key nobody is accused");

    // A stranger's activation proves nothing; the terminal's own, late as it is, settles what came before it.
    publish(broker, [activation(ONE, at(-50), &forger, &own)]).await;
    assert_eq!(results(&world, ONE, 5).await, [NOT, NO_KEY, NO_KEY, UNSIGNED, MALFORMED]);
    publish(broker, [activation(ONE, at(-40), &own, &own)]).await;
    assert_eq!(results(&world, ONE, 6).await, [NOT, OK, OK, NOT, UNSIGNED, MALFORMED]);
    let raised = findings(&world, ONE).await;
    assert_eq!(raised.len(), 1, "{raised:?}");
    let (state, _, content) = &raised[0];
    assert_eq!((*state, content["count"].as_i64()), (0, Some(2)));
    assert_eq!(content["first"], at(-50).to_string());
    assert_eq!(content["last"], at(10).to_string());
    assert_eq!(content["day"], at(0).china_day().to_string());

    // Another day is another finding; the same packets once more change nothing.
    let yesterday = 86_400;
    publish(broker, before.into_iter().chain([signed(ONE, at(yesterday), &forger)])).await;
    assert_eq!(results(&world, ONE, 7).await, [NOT, OK, OK, NOT, UNSIGNED, MALFORMED, NOT]);
    let raised = findings(&world, ONE).await;
    assert_eq!(raised.iter().map(|(_, _, content)| content["count"].as_i64()).collect::<Vec<_>>(), [Some(2), Some(1)]);
    let proof = "SELECT count(*) FROM evidence e JOIN finding f ON f.id = e.finding \
                 JOIN terminal_packet p ON p.raw = e.raw WHERE f.rule = 'terminal.signature_failed'";
    assert_eq!(world.count(proof).await, 3, "each failed packet is kept behind its finding");
    let waiting =
        "SELECT count(*) FROM finding WHERE review->>'state' = 'needed' AND rule = 'terminal.signature_failed'";
    assert_eq!(world.count(waiting).await, 2, "which bytes are signed is a guess, so a person looks first");

    // What is stored says what decoding knew, and is not changed by what came of it.
    let flagged = "SELECT count(*) FROM terminal_packet WHERE 'signature_unverified' = ANY(flags)";
    assert_eq!(world.count(flagged).await, 5);
    let text = service.metrics().await;
    let counted = |result: &str| metric(&text, "dieselwatch_signatures_total", &[&format!("result=\"{result}\"")]);
    assert!(counted("ok") >= 2.0 && counted("failed") >= 3.0 && counted("no_key") >= 2.0, "{text}");
    balanced(&service).await;
    assert_eq!(service.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_explains_a_failure_takes_the_finding_back_and_the_register_outranks_a_terminal() {
    let Some(mut world) = World::new().await else { return };
    world.setting.further = "[signature]\nmode = \"full\"\nthreads = 2\n".into();
    let registered = signer(9);
    let devices = format!(
        "device_id,kind,protocol,bound_to,installed_on,public_key\n{TWO},obd,hj1239,{TWO},2020-01-01,{}\n",
        hex::encode_upper(public_key(&registered))
    );
    world.import(&["devices"], "devices.csv", &devices).await;
    let service = Service::start_ready(&world.setting).await;
    let (first, second) = (signer(1), signer(2));
    let broker = &world.setting.broker;
    publish(broker, [activation(ONE, at(0), &first, &first), signed(ONE, at(100), &second)]).await;
    assert_eq!(results(&world, ONE, 2).await, [OK, NOT]);
    assert_eq!(findings(&world, ONE).await.first().map(|(state, revision, _)| (*state, *revision)), Some((0, 1)));
    // The chip had been changed in between, as an upload that was late says.
    publish(broker, [activation(ONE, at(50), &second, &second)]).await;
    assert_eq!(results(&world, ONE, 3).await, [OK, OK, OK]);
    assert_eq!(findings(&world, ONE).await.first().map(|(state, revision, _)| (*state, *revision)), Some((1, 2)));
    let kinds: Vec<String> = world.events().await.iter().map(|e| e["type"].as_str().unwrap().to_owned()).collect();
    assert_eq!(kinds, ["dieselwatch.violation.raised", "dieselwatch.violation.revoked"]);

    // Whoever can publish for a terminal may file a key of his own; he cannot replace one that the office knows.
    let own = signer(3);
    publish(broker, [activation(TWO, at(0), &own, &own), signed(TWO, at(1), &own), signed(TWO, at(2), &registered)])
        .await;
    assert_eq!(results(&world, TWO, 3).await, [OK, NOT, OK]);
    assert_eq!(service.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verification_that_stands_still_holds_nothing_up() {
    let Some((world, service)) = start("mode = \"full\"\nthreads = 1\n").await else { return };
    let own = signer(1);
    let mut blocker = support::postgres::connect(&world.setting.database).await;
    let lock = blocker.transaction().await.unwrap();
    lock.batch_execute("LOCK TABLE signature_check IN ACCESS EXCLUSIVE MODE").await.unwrap();
    const PACKETS: i64 = 600;
    let packets: Vec<_> = (0..PACKETS).map(|second| signed(ONE, at(second), &own)).collect();
    publish(&world.setting.broker, [activation(ONE, at(-1), &own, &own)].into_iter().chain(packets)).await;
    settled(&service, PACKETS as u64 + 1).await;
    balanced(&service).await;
    assert_eq!(world.count("SELECT count(*) FROM terminal_stream").await, PACKETS);
    support::until("the backlog to show", async || {
        let text = service.metrics().await;
        let waiting = metric(&text, "dieselwatch_signature_backlog_packets", &[]);
        let lag = metric(&text, "dieselwatch_signature_lag_seconds", &[]);
        (waiting == PACKETS as f64 + 1.0 && lag > 0.0).then_some(())
    })
    .await;
    lock.rollback().await.unwrap();
    let results = results(&world, ONE, PACKETS as usize + 1).await;
    assert!(results.iter().all(|result| *result == OK), "{results:?}");
    support::until("the lag to vanish", async || {
        let text = service.metrics().await;
        let waiting = metric(&text, "dieselwatch_signature_backlog_packets", &[]);
        (waiting == 0.0 && metric(&text, "dieselwatch_signature_lag_seconds", &[]) == 0.0).then_some(())
    })
    .await;
    assert_eq!(service.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sample_says_of_every_packet_what_came_of_it_and_off_says_nothing() {
    let Some((mut world, service)) = start("mode = \"sample\"\nsample_share = 0.5\n").await else { return };
    let own = signer(1);
    let packets: Vec<_> = (0..100).map(|second| signed(ONE, at(second), &own)).collect();
    let all = [activation(ONE, at(-1), &own, &own)].into_iter().chain(packets);
    publish(&world.setting.broker, all).await;
    let found = results(&world, ONE, 101).await;
    let verified = found[1..].iter().filter(|result| **result == OK).count();
    assert_eq!(found[0], OK, "an activation is always verified");
    assert!((20..=80).contains(&verified), "{verified} of 100");
    assert!(found[1..].iter().all(|result| matches!(*result, OK | 4)), "{found:?}");
    assert_eq!(service.stop().await, Some(0));

    world.setting.further = String::new();
    let service = Service::start_ready(&world.setting).await;
    publish(&world.setting.broker, [signed(ONE, at(200), &signer(2))]).await;
    settled(&service, 1).await;
    assert_eq!(world.count("SELECT count(*) FROM terminal_packet").await, 102);
    assert_eq!(world.count("SELECT count(*) FROM signature_task").await, 0);
    assert_eq!(world.count("SELECT count(*) FROM signature_check").await, 101);
    assert_eq!(service.stop().await, Some(0));
}

/// Runs `openssl` in the folder; `None` when it is not installed or knows no SM2.
fn openssl(folder: &std::path::Path, arguments: &str) -> Option<()> {
    let output = Process::new("openssl").args(arguments.split(' ')).current_dir(folder).output().ok()?;
    output.status.success().then_some(())
}

#[test]
fn openssl_and_this_program_take_each_others_signatures() {
    let folder = support::scratch();
    let path = folder.path();
    if openssl(path, "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:SM2 -out key.pem").is_none() {
        return support::skip("openssl with SM2").unwrap_or_default();
    }
    let unit = unit(at(0));
    std::fs::write(path.join("unit"), &unit).unwrap();
    openssl(path, &format!("dgst -sm3 -sign key.pem -sigopt distid:{USER} -out theirs unit")).unwrap();
    openssl(path, "pkey -in key.pem -pubout -outform DER -out key.der").unwrap();
    let der = std::fs::read(path.join("key.der")).unwrap();
    let (head, point) = der.split_at(der.len() - 64);
    let key = PublicKey::from_slice(point).unwrap();

    let mut settings = config::Config::built_in().unwrap().signature;
    settings.form = SignatureForm::Der;
    let rules = Rules::new(settings);
    let theirs = std::fs::read(path.join("theirs")).unwrap();
    let raw = framed(Command::Realtime, ONE, &[unit.clone(), theirs].concat());
    let packet = Packet { kind: SourceKind::Obd, protocol: Protocol::Hj1239, raw };
    assert_eq!(rules.check(&packet, With::Known(Some(&key))), Outcome::Ok);
    let other = PublicKey::new(public_key(&signer(4))).unwrap();
    assert_eq!(rules.check(&packet, With::Known(Some(&other))), Outcome::Failed);

    // The other way round, with our key in their clothes.
    let own = signer(5);
    let signature: Signature = own.sign(&unit);
    let integer = |half: &[u8]| {
        let sign = vec![0; usize::from(half[0] >= 0x80)];
        [vec![2, (sign.len() + half.len()) as u8], sign, half.to_vec()].concat()
    };
    let (r, s) = (signature.r_bytes(), signature.s_bytes());
    assert!(r[0] != 0 && s[0] != 0, "the halves of this key and message need no shortening");
    let content = [integer(&r), integer(&s)].concat();
    std::fs::write(path.join("ours"), [vec![0x30, content.len() as u8], content].concat()).unwrap();
    std::fs::write(path.join("ours.der"), [head, &public_key(&own)].concat()).unwrap();
    openssl(path, "pkey -pubin -inform DER -in ours.der -pubout -out ours.pem").unwrap();
    let verify = |distid: &str| {
        openssl(path, &format!("dgst -sm3 -verify ours.pem -sigopt distid:{distid} -signature ours unit"))
    };
    assert!(verify(USER).is_some(), "openssl takes what was signed here");
    assert!(verify("another").is_none());
}
