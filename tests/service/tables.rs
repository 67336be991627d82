//! The fleet's ledger against the tables: everything there once, and nothing else.

use std::{
    collections::BTreeSet,
    path::Path,
    time::{Duration, Instant},
};

use dieselwatch::{
    config::{Protocol, SignatureForm, SourceKind},
    decode::{Carriage, decode_payload},
    reading::Timestamp,
    simulate::{
        ledger::{self, Entry},
        message::{frame_id, id_of_frame},
    },
};
use serde_json::Value;
use tokio_postgres::{Client, Row};

use crate::support;

/// What the tables hold, or ought to.
#[derive(Debug, Default, PartialEq)]
pub struct Content {
    /// `{station}/{record id}`
    passages: BTreeSet<String>,
    /// Message id of each packet, with the readings that came of it. A login and the first packet after it may have one
    /// id, because both bear the same second and serial.
    packets: BTreeSet<(String, i64)>,
    dead_letters: i64,
}

/// Waits until the tables hold what the ledger says, then makes sure that nothing is there twice.
pub async fn until_as_in_ledger(client: &Client, ledgers: &[&Path]) -> usize {
    let entries: Vec<Entry> = ledgers.iter().flat_map(|path| ledger::read(path).unwrap()).collect();
    let wanted = expected(&entries);
    assert!(!wanted.passages.is_empty() && !wanted.packets.is_empty(), "the fleet said something");
    let deadline = Instant::now() + support::LIMIT - Duration::from_secs(10);
    support::until("the tables to hold what the ledger says", async || {
        let found = stored(client).await;
        if found == wanted {
            return Some(());
        }
        assert!(Instant::now() < deadline, "{}", difference(&wanted, &found));
        None
    })
    .await;
    for (table, key) in [
        ("passage", "station, record_id"),
        ("terminal_packet", "sent_at, device, digest"),
        ("terminal_stream", "collected_at, device, ordinal"),
        ("terminal_item", "collected_at, device, kind, ordinal"),
        ("finding", "rule, subject, from_at, to_at"),
    ] {
        let sql = format!("SELECT count(*) - count(DISTINCT ({key})) FROM {table}");
        assert_eq!(super::count(client, &sql).await, 0, "rows of {table} are there twice");
    }
    let unmatched = "SELECT count(*) FROM passage_key FULL JOIN passage USING (station, record_id, passed_at) \
                     WHERE passage.raw IS NULL OR passage_key.content_hash IS NULL";
    assert_eq!(super::count(client, unmatched).await, 0, "each key has its passage");
    entries.len()
}

fn expected(entries: &[Entry]) -> Content {
    let mut content = Content::default();
    for entry in entries.iter().filter(|entry| !entry.duplicate) {
        content.dead_letters += i64::from(entry.quarantined);
        match entry.kind.as_str() {
            "passage" => {
                let station = entry.topic.split('/').nth(3).unwrap();
                let single = std::slice::from_ref(&entry.id);
                let records = if entry.records.is_empty() { single } else { &entry.records };
                content.passages.extend(records.iter().map(|record| format!("{station}/{record}")));
            }
            "bad" => {}
            _ => {
                content.packets.insert((entry.id.clone(), i64::from(entry.readings)));
            }
        }
    }
    content
}

async fn stored(client: &Client) -> Content {
    let passages = client
        .query("SELECT s.station_id || '/' || record_id FROM passage_key k JOIN stations s ON s.id = k.station", &[])
        .await
        .unwrap();
    // Logins and their like are one item that the ledger does not count.
    let packets = client
        .query(
            "SELECT p.raw, p.protocol, d.kind::text, \
             (SELECT count(*) FROM terminal_stream s WHERE s.device = p.device AND s.packet = p.digest) + \
             (SELECT count(*) FROM terminal_item i WHERE i.device = p.device AND i.packet = p.digest \
              AND kind NOT IN ('login', 'logout', 'removal_alarm', 'activation')) \
             FROM terminal_packet p JOIN devices d ON d.id = p.device",
            &[],
        )
        .await
        .unwrap();
    Content {
        passages: passages.iter().map(|row| row.get(0)).collect(),
        packets: packets.iter().map(|row| (packet_id(row), row.get(3))).collect(),
        dead_letters: super::count(client, "SELECT count(*) FROM dead_letter").await,
    }
}

/// The id that the fleet gave a packet, out of its bytes.
fn packet_id(row: &Row) -> String {
    let (raw, protocol, kind): (Vec<u8>, String, String) = (row.get(0), row.get(1), row.get(2));
    if raw.first() == Some(&b'{') {
        let fields: Value = serde_json::from_slice(&raw).unwrap();
        let device = fields.get("machine_id").or_else(|| fields.get("terminal_id")).unwrap().as_str().unwrap();
        let at = Timestamp::parse_rfc3339(fields["collected_at"].as_str().unwrap()).unwrap();
        return frame_id(device, at, fields["serial"].as_u64().unwrap() as u16);
    }
    let carriage = Carriage {
        kind: match kind.as_str() {
            "nonroad" => SourceKind::Nonroad,
            "retrofit" => SourceKind::Retrofit,
            _ => SourceKind::Obd,
        },
        protocol: match protocol.as_str() {
            "gb17691" => Protocol::Gb17691,
            "hj1014" => Protocol::Hj1014,
            _ => Protocol::Hj1239,
        },
        hex_pointers: &[],
        allow_missing_checksum: false,
        max_bytes: 1 << 20,
        signature: SignatureForm::Lengths,
    };
    let frames = decode_payload(&raw, &carriage);
    let [Ok(frame)] = frames.as_slice() else { panic!("what is stored decodes: {frames:?}") };
    id_of_frame(frame).unwrap()
}

fn difference(wanted: &Content, found: &Content) -> String {
    let few = |all: Vec<String>| format!("{} {:?}", all.len(), all.iter().take(5).collect::<Vec<_>>());
    let packets = |of: &Content, other: &Content| {
        few(of.packets.difference(&other.packets).map(|(id, readings)| format!("{id} x{readings}")).collect())
    };
    format!(
        "passages lost: {}; not in the ledger: {}\npackets lost: {}; not in the ledger: {}\n\
         dead letters: {} wanted, {} found",
        few(wanted.passages.difference(&found.passages).cloned().collect()),
        few(found.passages.difference(&wanted.passages).cloned().collect()),
        packets(wanted, found),
        packets(found, wanted),
        wanted.dead_letters,
        found.dead_letters,
    )
}
