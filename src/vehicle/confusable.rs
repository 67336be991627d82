//! Characters that cameras take for one another, and the listed vehicles a misread plate may belong to.
//!
//! A plate that neither the register nor any list knows is turned into every plate that differs from it in one character
//! of the table below, and each of those is looked up in the lists: some thirty look-ups of the index that is there
//! anyway. Decisions:
//!
//! - **Same province, same colour, one character.** Province characters are a recognition class of their own, and colour
//!   is told by the whole ground of the plate. Two misread characters are no suspicion but a guess.
//! - **Never across two real vehicles.** A plate that stands in the register, or in any list at any time, exists, and is
//!   what the camera read. A truck of another town whose plate nobody here knows exists too, which is why nothing but a
//!   person ever acts on a suspicion.
//! - **An impossible form is no suspicion.** Such a passage is quarantined with its raw bytes before it gets here (reason
//!   `plate_impossible`), where a person can put it right and replay it. A plate read with `O` or `I` comes with 0 and 1 in
//!   their places and is never sure of itself ([`crate::reading::plate::folded`]).
//!
//! An index of plates with one character left out (the usual way for edit distance one) was not taken: it holds every
//! listed plate seven times, and the small alphabet of confusions makes asking cheaper than keeping.

use super::{
    facts::ListHit,
    lists::{Hits, Lists},
};
use crate::reading::{Plate, PlateKey, Timestamp};

/// Pairs of DOMAIN table G.4 without `O` and `I`, which no plate carries, and how readily one is read as the other,
/// 0..=1. The set is UNSOURCED-high; the weights are UNSOURCED-medium: they rank candidates and decide nothing.
const CONFUSIONS: &[(char, char, f32)] = &[
    ('0', 'Q', 0.9),
    ('0', 'D', 0.8),
    ('D', 'Q', 0.7),
    ('1', '7', 0.7),
    ('1', 'L', 0.5),
    ('1', 'T', 0.5),
    ('7', 'T', 0.6),
    ('7', 'L', 0.3),
    ('L', 'T', 0.3),
    ('2', 'Z', 0.9),
    ('5', 'S', 0.9),
    ('6', 'G', 0.8),
    ('8', 'B', 0.9),
    ('8', 'R', 0.5),
    ('8', 'P', 0.4),
    ('B', 'R', 0.7),
    ('B', 'P', 0.6),
    ('P', 'R', 0.7),
    ('U', 'V', 0.8),
    ('C', 'G', 0.8),
    ('M', 'N', 0.6),
    ('H', 'M', 0.5),
    ('M', 'W', 0.5),
    ('H', 'N', 0.6),
    ('N', 'W', 0.4),
    ('H', 'W', 0.4),
    ('E', 'F', 0.8),
    ('4', 'A', 0.7),
];

/// A plate of legal form that a camera could have read as another one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Neighbour {
    pub plate: Plate,
    pub confusion: Confusion,
}

/// One character read as another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Confusion {
    /// Place in the plate, from 0.
    pub place: u8,
    pub read: char,
    pub meant: char,
    /// 0..=1, higher is likelier.
    pub weight: f32,
}

/// A listed vehicle that the camera may have meant.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    pub key: PlateKey,
    pub confusion: Confusion,
    /// Entries in force at the time of the reading, of the lists that matter only.
    pub lists: Hits,
}

/// What one character may have been instead.
fn confused_with(read: char) -> impl Iterator<Item = (char, f32)> {
    CONFUSIONS.iter().filter(move |(one, other, _)| read == *one || read == *other).map(move |&(one, other, weight)| {
        let meant = if read == one { other } else { one };
        (meant, weight)
    })
}

/// Every plate of legal form that differs in one confusable character.
pub fn neighbours(plate: Plate) -> impl Iterator<Item = Neighbour> {
    (0_u8..).zip(plate.characters()).flat_map(move |(place, read)| {
        confused_with(read).filter_map(move |(meant, weight)| {
            let neighbour = plate.replace(usize::from(place), meant)?;
            Some(Neighbour { plate: neighbour, confusion: Confusion { place, read, meant, weight } })
        })
    })
}

/// Listed vehicles that were perhaps meant, the likeliest first; ties by plate, so that the order is always the same.
/// The caller knows that neither register nor lists hold the plate as read.
pub fn candidates(key: PlateKey, at: Timestamp, lists: &Lists, that_matter: &[String]) -> Vec<Candidate> {
    if that_matter.is_empty() || lists.is_empty() {
        return Vec::new();
    }
    let matters = |hit: &ListHit| that_matter.iter().any(|name| *name == *hit.list);
    let mut found: Vec<Candidate> = neighbours(key.plate())
        .filter_map(|neighbour| {
            let key = PlateKey::new(neighbour.plate, key.colour());
            let mut hits = lists.find(key, at);
            hits.retain(|hit| matters(hit));
            (!hits.is_empty()).then_some(Candidate { key, confusion: neighbour.confusion, lists: hits })
        })
        .collect();
    found.sort_by(|a, b| b.confusion.weight.total_cmp(&a.confusion.weight).then_with(|| a.key.cmp(&b.key)));
    found
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;
    use crate::{
        reading::PlateColor,
        vehicle::{
            facts::{MatchKind, Vehicle},
            knowledge::Knowledge,
            lists::{ListEntry, ListsBuilder},
            registry::RegistryBuilder,
        },
    };

    fn plate(text: &str) -> Plate {
        Plate::parse(text).expect("legal")
    }

    fn yellow(text: &str) -> PlateKey {
        PlateKey::new(plate(text), PlateColor::Yellow)
    }

    fn truck() -> Vehicle {
        crate::judge::tests::truck()
    }

    fn knowledge(registered: &[&str], listed: &[(&str, &str, ListEntry)]) -> Knowledge {
        let mut registry = RegistryBuilder::default();
        registered.iter().chain(&["京A00000"]).for_each(|text| registry.push(yellow(text), &truck()));
        let mut lists = ListsBuilder::default();
        let mut handles = BTreeMap::new();
        for (list, text, entry) in listed {
            let handle = *handles.entry(*list).or_insert_with(|| lists.list(list, 3));
            lists.push(handle, yellow(text), entry);
        }
        Knowledge { registry: registry.build(1).into(), lists: lists.build().into(), ..Knowledge::default() }
    }

    fn suspected(knowledge: &Knowledge, read: &str) -> Vec<String> {
        let at = Timestamp::from_micros(1_000);
        let watched = ["scrapped".to_owned(), "retire_n3".to_owned()];
        match knowledge.identify(yellow(read), at, &watched).kind {
            MatchKind::Suspected(candidates) => candidates.iter().map(|each| each.key.plate().to_string()).collect(),
            MatchKind::Exact | MatchKind::None => Vec::new(),
        }
    }

    #[test]
    fn the_table_names_each_pair_once_and_weighs_within_bounds() {
        let pairs: BTreeSet<(char, char)> = CONFUSIONS.iter().map(|&(a, b, _)| (a.min(b), a.max(b))).collect();
        assert_eq!(pairs.len(), CONFUSIONS.len());
        assert!(CONFUSIONS.iter().all(|&(a, b, weight)| a != b && weight > 0.0 && weight <= 1.0));
    }

    #[test]
    fn the_likeliest_comes_first() {
        let entry = ListEntry::default;
        let listed = [("scrapped", "鲁C123A5", entry()), ("retire_n3", "鲁C1234S", entry())];
        assert_eq!(suspected(&knowledge(&[], &listed), "鲁C12345"), ["鲁C1234S", "鲁C123A5"]);
    }

    #[test]
    fn a_plate_that_exists_is_never_matched_to_a_neighbour() {
        let entry = ListEntry::default;
        let listed = [("scrapped", "鲁C1234S", entry())];
        assert_eq!(suspected(&knowledge(&["鲁C12345"], &listed), "鲁C12345"), [""; 0]);
        // Listed in the past, under a list that does not matter: it exists.
        let long_ago = ListEntry { valid_to: Some(Timestamp::from_micros(10)), ..entry() };
        let listed = [("scrapped", "鲁C1234S", entry()), ("exempt", "鲁C12345", long_ago)];
        assert_eq!(suspected(&knowledge(&[], &listed), "鲁C12345"), [""; 0]);
    }

    #[test]
    fn only_lists_that_matter_and_entries_in_force_count() {
        let over = ListEntry { valid_to: Some(Timestamp::from_micros(1_000)), ..ListEntry::default() };
        let listed = [("exempt", "鲁C1234S", ListEntry::default()), ("scrapped", "鲁C123A5", over)];
        assert_eq!(suspected(&knowledge(&[], &listed), "鲁C12345"), [""; 0]);
    }

    #[test]
    fn other_provinces_and_colours_are_other_vehicles() {
        let mut lists = ListsBuilder::default();
        let scrapped = lists.list("scrapped", 1);
        lists.push(scrapped, PlateKey::new(plate("鲁C1234S"), PlateColor::Blue), &ListEntry::default());
        lists.push(scrapped, yellow("苏C1234S"), &ListEntry::default());
        let mut knowledge = Knowledge { lists: lists.build().into(), ..knowledge(&[], &[]) };
        assert_eq!(suspected(&knowledge, "鲁C12345"), [""; 0]);
        assert_eq!(suspected(&knowledge, "苏C12345"), ["苏C1234S"]);
        knowledge.registry = Default::default();
        assert_eq!(suspected(&knowledge, "苏C12345"), [""; 0], "no register, no suspicion");
    }

    fn any_plate() -> impl Strategy<Value = Plate> {
        prop_oneof![
            4 => "[鲁京粤][A-HJ-NP-Z][A-HJ-NP-Z0-9]{5}",
            1 => "鲁[A-HJ-NP-Z][DABCEFGHJK][A-HJ-NP-Z0-9][0-9]{4}",
            1 => "鲁[A-HJ-NP-Z][0-9]{5}[DABCEFGHJK]",
            1 => "鲁C[A-HJ-NP-Z0-9]{4}[挂学警]",
            1 => "[0-9]{6}使",
        ]
        .prop_map(|text| Plate::parse(&text).expect("legal"))
    }

    proptest! {
        #[test]
        fn neighbours_are_legal_differ_in_one_character_and_see_each_other(read in any_plate()) {
            let text: Vec<char> = read.characters().collect();
            let mut known = BTreeSet::new();
            for neighbour in neighbours(read) {
                prop_assert_eq!(Plate::parse(&neighbour.plate.to_string()), Ok(neighbour.plate));
                prop_assert!(known.insert(neighbour.plate), "each once");
                let other: Vec<char> = neighbour.plate.characters().collect();
                prop_assert_eq!(other.len(), text.len());
                let differ: Vec<usize> = (0..text.len()).filter(|&place| text[place] != other[place]).collect();
                prop_assert_eq!(&differ, &[usize::from(neighbour.confusion.place)]);
                prop_assert!(text[differ[0]].is_ascii_alphanumeric(), "province and suffix stay");
                let back = neighbours(neighbour.plate).find(|back| back.plate == read);
                prop_assert_eq!(back.map(|back| back.confusion.weight), Some(neighbour.confusion.weight));
            }
        }

        /// Against a walk over all listed plates that compares character by character.
        #[test]
        fn finds_what_a_walk_over_the_list_finds(
            listed in prop::collection::btree_set("鲁[CG][0-9DQSBZ]{2}123", 0..40),
            registered in prop::collection::btree_set("鲁[CG][0-9DQSBZ]{2}123", 0..20),
            read in "鲁[CG][0-9DQSBZ]{2}123",
        ) {
            let rows: Vec<_> = listed.iter().map(|text| ("scrapped", text.as_str(), ListEntry::default())).collect();
            let known: Vec<&str> = registered.iter().map(String::as_str).collect();
            let found: BTreeSet<String> = suspected(&knowledge(&known, &rows), &read).into_iter().collect();
            let confusable = |a: char, b: char| CONFUSIONS.iter().any(|&(x, y, _)| (a, b) == (x, y) || (a, b) == (y, x));
            let meant = |other: &String| {
                let pairs: Vec<(char, char)> = read.chars().zip(other.chars()).filter(|(a, b)| a != b).collect();
                matches!(pairs[..], [(a, b)] if confusable(a, b))
            };
            let exists = registered.contains(&read) || listed.contains(&read);
            let expected: BTreeSet<String> = listed.iter().filter(|other| !exists && meant(other)).cloned().collect();
            prop_assert_eq!(found, expected);
        }
    }
}
