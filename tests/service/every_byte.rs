//! Every byte that was acknowledged is somewhere, in traffic of all kinds, good and bad.
//!
//! The rule. What is kept of one device - `passage.raw`, `terminal_packet.raw` and `wrapper`, and `dead_letter.raw` -
//! are its pieces. Each message the device sent is one of these pieces, or pieces side by side; between the
//! elements of a JSON array stand its brackets, commas and blanks, which are kept nowhere. No piece is kept twice in one table,
//! and none is kept that is in no message. Bytes stand twice only where they have to: a dead letter repeats the bytes of a
//! packet one of whose readings was put aside, and a packet that came in a wrapper has its own bytes too.

use std::{collections::BTreeMap, path::Path};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use serde_json::{Value, json};

use super::{World, ago, balanced, passage, settled};
use crate::support::{publisher::publish, service::Service};

/// Devices, each with messages of one kind.
const DEVICES: usize = 320;

/// The time of the published frames is years away, and no terminal of them is registered.
const FURTHER: &str = "[[source]]\nname = \"rs\"\nkind = \"rs\"\nfilter = \"dw/v1/rs/+/passage\"\n\
    [[source]]\nname = \"obd\"\nkind = \"obd\"\nfilter = \"dw/v1/obd/+/frame\"\nprotocol = \"auto\"\n\
    hex_pointers = [\"/data\"]\nplausible_past_days = 3650\nplausible_future_minutes = 5256000\nunknown_device = \"store\"\n\
    [[source]]\nname = \"retrofit\"\nkind = \"retrofit\"\nfilter = \"dw/v1/retrofit/+/frame\"\nprotocol = \"auto\"\n\
    hex_pointers = [\"/data\"]\nplausible_past_days = 3650\nplausible_future_minutes = 5256000\nunknown_device = \"store\"\n\
    [[source]]\nname = \"nonroad\"\nkind = \"nonroad\"\nfilter = \"dw/v1/nonroad/+/frame\"\nprotocol = \"hj1014\"\n\
    hex_pointers = [\"/data\"]\nplausible_past_days = 3650\nplausible_future_minutes = 5256000\nunknown_device = \"store\"\n";

/// Makes messages. All that it makes follows from its seed.
struct Traffic {
    dice: StdRng,
    frames: Vec<Vec<u8>>,
}

/// What one device sends, in order.
struct Sent {
    topic: String,
    what: &'static str,
    messages: Vec<Vec<u8>>,
}

/// Where the 17 characters of the identity begin: a header after GB/T 32960 has a response flag before them.
fn identity_at(frame: &[u8]) -> usize {
    3 + usize::from(frame[3] == 0xfe)
}

fn with_checksum(mut frame: Vec<u8>) -> Vec<u8> {
    let last = frame.len() - 1;
    frame[last] = frame[2..last].iter().fold(0, |sum, byte| sum ^ byte);
    frame
}

fn identity(number: usize) -> String {
    format!("LGDCHA1G8MA{number:06}")
}

impl Traffic {
    fn new(seed: u64) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/frames/frames.tsv");
        let text = std::fs::read_to_string(path).unwrap();
        let frames = text.lines().skip(1).map(|line| hex::decode(line.rsplit('\t').next().unwrap().trim()).unwrap());
        Self { dice: StdRng::seed_from_u64(seed), frames: frames.collect() }
    }

    /// A published frame under another identity; at times of another command, or with a byte changed.
    fn frame(&mut self, identity: &str) -> Vec<u8> {
        let mut frame = self.frames.choose(&mut self.dice).unwrap().clone();
        let at = identity_at(&frame);
        frame[at..at + 17].copy_from_slice(identity.as_bytes());
        match self.dice.random_range(0..10) {
            0 => frame[2] = self.dice.random(),
            1 => {
                let place = self.dice.random_range(at + 17..frame.len() - 1);
                frame[place] = self.dice.random();
            }
            2 => return frame,
            _ => {}
        }
        with_checksum(frame)
    }

    /// A frame without a reading: a time sync or a user command, with content or without.
    fn silent(&mut self, identity: &str) -> Vec<u8> {
        let content: Vec<u8> = (0..self.dice.random_range(0..24)).map(|_| self.dice.random()).collect();
        let command = *[0x05, 0x06, 0x80, 0x82, 0xc0].choose(&mut self.dice).unwrap();
        let mut frame = vec![b'#', b'#', command];
        frame.extend(identity.as_bytes());
        frame.extend([1, 1]);
        frame.extend((content.len() as u16).to_be_bytes());
        frame.extend(content);
        frame.push(0);
        with_checksum(frame)
    }

    fn noise(&mut self) -> Vec<u8> {
        (0..self.dice.random_range(1..40)).map(|_| self.dice.random()).collect()
    }

    fn passage(&mut self, station: &str, record: usize) -> String {
        let mut value = passage(&format!("r{record}"), &ago(60 + record as i64), self.dice.random_range(0..60).into());
        value["station_id"] = json!(station);
        match self.dice.random_range(0..14) {
            0 => value["opacity_pct"] = json!("a lot"),
            1 => drop(value.as_object_mut().unwrap().remove("passed_at")),
            2 => value["plate"] = Value::Null,
            3 => return value.to_string().replacen(":0.97", ":NaN", 1),
            4 => return value.to_string().replacen("\"lane\":1", "\"lane\":1,\"lane\":2", 1),
            5 => value["no_ppm"] = json!(-9999),
            _ => {}
        }
        value.to_string()
    }

    /// The messages of device `number`.
    fn of(&mut self, number: usize) -> Sent {
        let identity = identity(number);
        if self.dice.random_bool(0.4) {
            let station = format!("370306-{number:04}");
            let (what, messages) = self.of_station(&station);
            return Sent { topic: format!("dw/v1/rs/{station}/passage"), what, messages };
        }
        let kind = *["obd", "obd", "retrofit", "nonroad"].choose(&mut self.dice).unwrap();
        let (what, messages) = self.of_terminal(&identity);
        Sent { topic: format!("dw/v1/{kind}/{identity}/frame"), what, messages }
    }

    fn of_station(&mut self, station: &str) -> (&'static str, Vec<Vec<u8>>) {
        let texts = |texts: &[&str]| texts.iter().map(|text| text.as_bytes().to_vec()).collect();
        match self.dice.random_range(0..8) {
            0 => ("one passage", texts(&[&self.passage(station, 0)])),
            1 => {
                let text = self.passage(station, 0);
                ("a passage again, the same bytes", texts(&[&text, &text]))
            }
            2 => {
                let mut value = passage("r0", &ago(99), 12.0);
                value["station_id"] = json!(station);
                let pretty = serde_json::to_string_pretty(&value).unwrap();
                ("a passage again, spelled differently", texts(&[&value.to_string(), &pretty, &pretty]))
            }
            3 => {
                let mut value = passage("r0", &ago(99), 12.0);
                value["station_id"] = json!(station);
                let first = value.to_string();
                value["opacity_pct"] = json!(13.0);
                ("a passage that contradicts the one before", texts(&[&first, &value.to_string()]))
            }
            4 => {
                let elements: Vec<String> =
                    (0..self.dice.random_range(2..9)).map(|n| self.passage(station, n)).collect();
                ("an array", texts(&[&format!(" [{}]\n", elements.join(" ,\n"))]))
            }
            5 => {
                let good = self.passage(station, 0);
                ("an array with elements of no kind", texts(&[&format!("[{good}, NaN, {{\"a\":, [1,2], null]")]))
            }
            6 => ("noise", vec![self.noise()]),
            _ => {
                let text = self.passage(station, 0);
                let cut = self.dice.random_range(0..text.len());
                ("a passage that is cut", vec![text.as_bytes()[..cut].to_vec()])
            }
        }
    }

    fn of_terminal(&mut self, identity: &str) -> (&'static str, Vec<Vec<u8>>) {
        let frame = self.frame(identity);
        match self.dice.random_range(0..14) {
            0 | 1 => ("one frame", vec![frame]),
            2 => ("a frame without a reading", vec![self.silent(identity)]),
            3 => ("a frame again", vec![frame.clone(), frame]),
            4 => ("frames side by side", vec![[frame, self.frame(identity), self.silent(identity)].concat()]),
            5 => ("noise around frames", vec![[self.noise(), frame, self.noise(), self.frame(identity)].concat()]),
            6 => ("filling between frames", vec![[frame, vec![0; 5], self.frame(identity), vec![0; 3]].concat()]),
            7 => ("hex text", vec![hex::encode(frame).into_bytes()]),
            8 => ("a frame, then as hex text", vec![frame.clone(), hex::encode_upper(&frame).into_bytes()]),
            9 => ("hex in JSON", vec![json!({ "data": hex::encode(&frame), "seq": 7 }).to_string().into_bytes()]),
            10 => {
                let cut = self.dice.random_range(0..frame.len());
                ("a frame that is cut", vec![frame[..cut].to_vec()])
            }
            11 => ("a frame of another terminal", vec![self.frame("LGDCHA1G8MB999999")]),
            12 => ("noise", vec![self.noise()]),
            _ => {
                let text = json!({ "terminal_id": identity, "at": ago(9), "opacity_pct": 12.5, "odd": [1, 2] });
                ("terminal JSON", vec![text.to_string().into_bytes()])
            }
        }
    }
}

/// What is kept of one device.
#[derive(Default)]
struct Kept {
    stored: Vec<Vec<u8>>,
    letters: Vec<Vec<u8>>,
}

impl Kept {
    /// Panics where the rule does not hold for what was sent.
    fn check(&self, sent: &Sent) {
        let Sent { topic, what, messages } = sent;
        let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        for (table, pieces) in [("stored", &self.stored), ("dead letters", &self.letters)] {
            for (place, piece) in pieces.iter().enumerate() {
                assert!(!pieces[..place].contains(piece), "{topic}: {what}: {table} twice: {}", shown(piece));
            }
        }
        let pieces: Vec<&[u8]> = self.stored.iter().chain(&self.letters).map(Vec::as_slice).collect();
        let mut used = vec![false; pieces.len()];
        for message in messages {
            let laid = lay(&pieces, message);
            let laid = laid.unwrap_or_else(|at| {
                panic!(
                    "{topic}: {what}: nothing is kept of byte {at} on of {:?} ({}); kept are {:?}",
                    shown(message),
                    hex::encode(message),
                    pieces.iter().map(hex::encode).collect::<Vec<_>>()
                )
            });
            for piece in laid {
                used[piece] = true;
            }
        }
        let is_wrapped = |bytes: &[u8]| {
            let hex = hex::encode(bytes);
            messages.iter().any(|message| shown(message).to_lowercase().contains(&hex) || holds(message, bytes))
        };
        // What stands twice has bytes that are laid already.
        for (piece, bytes) in used.iter_mut().zip(&pieces) {
            *piece |= is_wrapped(bytes);
            *piece |=
                self.letters.iter().any(|letter| letter == bytes) && self.stored.iter().any(|stored| stored == bytes);
        }
        let loose: Vec<String> =
            pieces.iter().zip(&used).filter(|(_, used)| !**used).map(|(piece, _)| shown(piece)).collect();
        assert!(loose.is_empty(), "{topic}: {what}: nobody sent {loose:?}");
    }
}

fn holds(message: &[u8], bytes: &[u8]) -> bool {
    !bytes.is_empty() && message.windows(bytes.len()).any(|window| window == bytes)
}

/// The pieces that make up the message, side by side; or the place from which on nothing is kept.
fn lay(pieces: &[&[u8]], message: &[u8]) -> Result<Vec<usize>, usize> {
    if let Some(whole) = pieces.iter().position(|piece| *piece == message) {
        return Ok(vec![whole]);
    }
    let is_json = matches!(message.trim_ascii_start().first(), Some(b'[' | b'{'));
    let (mut at, mut laid) = (0, Vec::new());
    while at < message.len() {
        let rest = &message[at..];
        let fits = (0..pieces.len()).filter(|&n| !pieces[n].is_empty() && rest.starts_with(pieces[n]));
        if let Some(longest) = fits.max_by_key(|&n| pieces[n].len()) {
            at += pieces[longest].len();
            laid.push(longest);
        } else if is_json && (b"[],".contains(&rest[0]) || rest[0].is_ascii_whitespace()) {
            at += 1;
        } else {
            return Err(at);
        }
    }
    Ok(laid)
}

async fn kept(world: &World) -> BTreeMap<String, Kept> {
    let mut all: BTreeMap<String, Kept> = BTreeMap::new();
    let passages = "SELECT s.station_id, p.raw FROM passage p JOIN stations s ON s.id = p.station";
    for row in world.client.query(passages, &[]).await.unwrap() {
        let topic = format!("dw/v1/rs/{}/passage", row.get::<_, String>(0));
        all.entry(topic).or_default().stored.push(row.get(1));
    }
    let packets =
        "SELECT d.kind, d.device_id, p.raw, p.wrapper FROM terminal_packet p JOIN devices d ON d.id = p.device";
    for row in world.client.query(packets, &[]).await.unwrap() {
        let topic = format!("dw/v1/{}/{}/frame", row.get::<_, String>(0), row.get::<_, String>(1));
        let stored = &mut all.entry(topic).or_default().stored;
        stored.push(row.get(2));
        stored.extend(row.get::<_, Option<Vec<u8>>>(3));
    }
    for row in world.client.query("SELECT topic, raw FROM dead_letter", &[]).await.unwrap() {
        all.entry(row.get(0)).or_default().letters.push(row.get(1));
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_byte_that_was_acknowledged_is_somewhere() {
    let Some(mut world) = World::new().await else { return };
    world.setting.further = FURTHER.into();
    let service = Service::start_ready(&world.setting).await;
    let mut traffic = Traffic::new(0x5eed);
    let sent: Vec<Sent> = (0..DEVICES).map(|number| traffic.of(number)).collect();
    let messages: Vec<(String, Vec<u8>)> = sent
        .iter()
        .flat_map(|sent| sent.messages.iter().map(|message| (sent.topic.clone(), message.clone())))
        .collect();
    let count = messages.len() as u64;
    publish(&world.setting.broker, messages).await;
    settled(&service, count).await;
    balanced(&service).await;
    let mut kept = kept(&world).await;
    for sent in &sent {
        kept.remove(&sent.topic).unwrap_or_default().check(sent);
    }
    assert!(kept.is_empty(), "nobody sent to {:?}", kept.keys());
    assert_eq!(service.stop().await, Some(0));
}

/// A user command with content that nobody reads: kept whole, and named when somebody looks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_command_is_kept_with_its_content() {
    let Some(world) = World::new().await else { return };
    let service = Service::start_ready(&world.setting).await;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/cases/30-timesync-tail/user-82.hex");
    let frame = hex::decode(std::fs::read_to_string(path).unwrap().trim()).unwrap();
    let topic = "dw/v1/obd/LGDCHA1G8MA900077/frame";
    publish(&world.setting.broker, [(topic, frame.clone())]).await;
    settled(&service, 1).await;
    let letter = world.client.query_one("SELECT reason, detail, raw FROM dead_letter", &[]).await.unwrap();
    let (reason, detail, raw): (String, String, Vec<u8>) = (letter.get(0), letter.get(1), letter.get(2));
    assert_eq!(raw, frame);
    assert_eq!(reason, "no_reading");
    assert!(detail.contains("user command"), "{detail}");
    assert!(world.setting.succeed(&["dead-letters", "list"]).await.contains("no_reading"));
    // Sent through the path again it is what it was, and stays.
    let replayed = world.setting.command(&["dead-letters", "replay"]).await;
    let said = String::from_utf8_lossy(&replayed.stdout).into_owned();
    assert_eq!(world.count("SELECT count(*) FROM dead_letter").await, 1, "{said}");
    assert_eq!(service.stop().await, Some(0));
}
