//! Trouble codes in words, where `schemas/trouble_codes.toml` knows them.
//!
//! A terminal sends four bytes a code. Over ISO 15765, ISO 27145 and ISO 15031 the first two are the code (`2BA7` is
//! P2BA7), the third says how it failed, the fourth is a status. Over J1939 they are SPN (19 bits, low byte first), FMI,
//! and an occurrence count. The last byte is never part of a name, because it changes from one packet to the next.

use std::{collections::BTreeMap, sync::LazyLock};

use serde::Deserialize;

use crate::decode::DiagnosisProtocol;

const TABLE: &str = include_str!("../../schemas/trouble_codes.toml");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    iso: Vec<Iso>,
    spn: Vec<Spn>,
    fmi: Vec<Fmi>,
}

macro_rules! entries {
    ($($name:ident { $key:ident: $kind:ty })+) => {
        $(#[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct $name {
            $key: $kind,
            text: String,
            #[cfg_attr(not(test), expect(dead_code, reason = "for whoever corrects the table"))]
            source: String,
            #[cfg_attr(not(test), expect(dead_code, reason = "for whoever corrects the table"))]
            confidence: super::limits::Confidence,
        })+
    };
}

entries! {
    Iso { code: String }
    Spn { spn: u32 }
    Fmi { fmi: u8 }
}

#[derive(Default)]
struct Words {
    iso: BTreeMap<String, String>,
    spn: BTreeMap<u32, String>,
    fmi: BTreeMap<u8, String>,
}

static WORDS: LazyLock<Words> = LazyLock::new(|| match toml::from_str::<File>(TABLE) {
    Ok(file) => Words {
        iso: file.iso.into_iter().map(|entry| (entry.code, entry.text)).collect(),
        spn: file.spn.into_iter().map(|entry| (entry.spn, entry.text)).collect(),
        fmi: file.fmi.into_iter().map(|entry| (entry.fmi, entry.text)).collect(),
    },
    // A test shows that the table is right; without words the codes are still there.
    Err(_) => Words::default(),
});

/// The code's usual name and what it means, as far as it is known: `P2BA7-00` and `NOx exceedance: empty reagent tank`.
/// `None` where the protocol gives the bytes no meaning.
pub fn described(protocol: DiagnosisProtocol, [a, b, c, _]: [u8; 4]) -> Option<(String, Option<String>)> {
    match protocol {
        DiagnosisProtocol::Iso15765 | DiagnosisProtocol::Iso27145 | DiagnosisProtocol::Iso15031 => {
            let letter = ['P', 'C', 'B', 'U'].get(usize::from(a >> 6)).copied()?;
            let code = format!("{letter}{:X}{:X}{b:02X}", (a >> 4) & 3, a & 15);
            let text = WORDS.iso.get(&code).cloned();
            Some((format!("{code}-{c:02X}"), text))
        }
        DiagnosisProtocol::J1939 => {
            let (spn, fmi) = (u32::from(a) | u32::from(b) << 8 | u32::from(c >> 5) << 16, c & 31);
            let text = WORDS.spn.get(&spn).map(|what| match WORDS.fmi.get(&fmi) {
                Some(how) => format!("{what}: {how}"),
                None => what.clone(),
            });
            Some((format!("SPN {spn} FMI {fmi}"), text))
        }
        DiagnosisProtocol::Invalid | DiagnosisProtocol::Reserved(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::limits::Confidence;

    #[test]
    fn the_table_is_right_and_says_where_it_is_from() {
        let file: File = toml::from_str(TABLE).expect("right");
        assert!(file.iso.iter().all(|entry| !entry.text.is_empty() && !entry.source.is_empty()));
        assert!(file.iso.iter().all(|entry| entry.confidence != Confidence::Sourced), "no list of them is public");
        assert!(file.spn.iter().all(|entry| !entry.text.is_empty() && !entry.source.is_empty()));
        assert!(file.spn.iter().all(|entry| entry.confidence != Confidence::Sourced), "no list of them is public");
        assert!(file.fmi.iter().all(|entry| !entry.text.is_empty() && !entry.source.is_empty()));
        assert!(file.fmi.iter().all(|entry| entry.confidence != Confidence::Sourced), "no list of them is public");
        let sizes = (file.iso.len(), file.spn.len(), file.fmi.len());
        assert_eq!(sizes, (WORDS.iso.len(), WORDS.spn.len(), WORDS.fmi.len()), "each code has one entry");
    }

    #[test]
    fn codes_are_named_after_their_protocol() {
        let of = |protocol, bytes| described(protocol, bytes).map(|(name, text)| (name, text.unwrap_or_default()));
        let pair = |name: &str, text: &str| Some((name.to_owned(), text.to_owned()));
        let iso = DiagnosisProtocol::Iso27145;
        assert_eq!(of(iso, [0x2b, 0xa7, 0x00, 0xaf]), pair("P2BA7-00", "NOx exceedance: empty reagent tank"));
        // DOMAIN A.7: 145600AF is P1456 00 with status AF; a maker's own code has no words.
        assert_eq!(of(iso, [0x14, 0x56, 0x00, 0xaf]), pair("P1456-00", ""));
        assert_eq!(of(iso, [0xc1, 0x00, 0x87, 0x01]), pair("U0100-87", ""));
        let j1939 = DiagnosisProtocol::J1939;
        // SPN 3226 = 0x0c9a, FMI 3, and the same with another occurrence count.
        let words = pair("SPN 3226 FMI 3", "NOx after the catalyst: voltage above normal or shorted high");
        assert_eq!(of(j1939, [0x9a, 0x0c, 0x03, 0x01]), words);
        assert_eq!(of(j1939, [0x9a, 0x0c, 0x03, 0x7f]), words);
        assert_eq!(of(j1939, [0x00, 0x00, 0xe0, 0x01]), pair("SPN 458752 FMI 0", ""));
        assert_eq!(of(DiagnosisProtocol::Invalid, [1, 2, 3, 4]), None);
    }
}
