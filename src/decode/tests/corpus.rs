//! The fuzzers' corpus, replayed: whatever once broke a parser must not do so again.

use std::{fs, path::Path};

use crate as dieselwatch;

#[path = "../../../tests/fuzz/src/targets.rs"]
mod targets;

fn replay(name: &str, target: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(name);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut count = 0;
    for entry in entries {
        target(&fs::read(entry.expect("an entry").path()).expect("readable"));
        count += 1;
    }
    assert!(count > 0, "{name} has no seeds");
}

#[test]
fn corpus_is_replayed() {
    replay("frames", targets::frames);
    replay("realtime_units", targets::realtime_units);
    replay("hex_text", targets::hex_text);
    replay("terminal_json", targets::terminal_json);
    replay("byte_streams", targets::byte_streams);
    replay("passages", targets::passages);
    replay("imports", targets::imports);
}
