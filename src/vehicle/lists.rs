//! Lists of vehicles: high-emission, retirement, scrapped, exempt, and whatever else an operator names.
//!
//! All lists share one index, because a passage asks all of them and most vehicles are on none: one look-up says so. An
//! entry counts when `valid_from <= at < valid_to`, at the reading's time. What a list *means* is the judge's business.

use std::sync::Arc;

use hashbrown::HashMap;
use smallvec::SmallVec;

use super::{
    facts::ListHit,
    spread::{Directory, spread},
};
use crate::reading::{PlateKey, Timestamp};

/// Hits of one vehicle; two fit without an allocation.
pub type Hits = SmallVec<[ListHit; 2]>;

const NO_TEXT: u32 = u32::MAX;

/// See [`Directory::new`]; one byte an entry.
const ROWS_PER_BUCKET: usize = 4;

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// Microseconds UTC; `i64::MIN` and `i64::MAX` are open ends.
    from: i64,
    to: i64,
    list: u32,
    reason: u32,
    document_no: u32,
}

#[derive(Debug)]
struct List {
    name: Arc<str>,
    version: i32,
    entries: usize,
}

/// One version of every list. Immutable.
#[derive(Debug, Default)]
pub struct Lists {
    /// By name.
    lists: Box<[List]>,
    /// Ascending; a vehicle that is on several lists, or twice on one, repeats.
    keys: Box<[u64]>,
    entries: Box<[Entry]>,
    directory: Directory,
    /// Reasons and document numbers, each once.
    texts: Box<[Arc<str>]>,
}

impl Lists {
    /// The entries in force at that time, by list name.
    #[inline]
    pub fn find(&self, key: PlateKey, at: Timestamp) -> Hits {
        let wanted = spread(key.bits());
        let rows = self.directory.rows(wanted);
        let Some(keys) = self.keys.get(rows.clone()) else { return Hits::new() };
        if !keys.contains(&wanted) {
            return Hits::new();
        }
        let entries = keys.iter().zip(self.entries.get(rows).unwrap_or_default());
        let in_force = |entry: &Entry| entry.from <= at.micros() && at.micros() < entry.to;
        entries.filter(|(key, entry)| **key == wanted && in_force(entry)).filter_map(|(_, e)| self.hit(e)).collect()
    }

    /// Whether any list names this plate and colour, at whatever time.
    pub fn names(&self, key: PlateKey) -> bool {
        let wanted = spread(key.bits());
        self.keys.get(self.directory.rows(wanted)).is_some_and(|keys| keys.contains(&wanted))
    }

    fn hit(&self, entry: &Entry) -> Option<ListHit> {
        let list = self.lists.get(entry.list as usize)?;
        let text = |place: u32| self.texts.get(place as usize).cloned();
        Some(ListHit {
            list: list.name.clone(),
            version: list.version,
            valid_from: (entry.from != i64::MIN).then_some(Timestamp::from_micros(entry.from)),
            valid_to: (entry.to != i64::MAX).then_some(Timestamp::from_micros(entry.to)),
            reason: text(entry.reason),
            document_no: text(entry.document_no),
        })
    }

    /// Name, version and number of entries of each list, by name.
    pub fn versions(&self) -> impl Iterator<Item = (&str, i32, usize)> {
        self.lists.iter().map(|list| (&*list.name, list.version, list.entries))
    }

    /// Entries of all lists together.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Heap memory held, bytes, without the texts.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.keys) + size_of_val(&*self.entries) + self.directory.bytes()
    }
}

/// One line of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListEntry {
    /// First instant in force; `None` is since ever.
    pub valid_from: Option<Timestamp>,
    /// First instant no longer in force; `None` is for ever.
    pub valid_to: Option<Timestamp>,
    pub reason: Option<Box<str>>,
    pub document_no: Option<Box<str>>,
}

/// Collects lists, in any order.
#[derive(Default)]
pub struct ListsBuilder {
    lists: Vec<List>,
    rows: Vec<(u64, Entry)>,
    texts: Vec<Arc<str>>,
    places: HashMap<Arc<str>, u32>,
}

/// A list within its [`ListsBuilder`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListHandle(u32);

impl ListsBuilder {
    /// Opens a list, also one without entries, so that its version shows.
    pub fn list(&mut self, name: &str, version: i32) -> ListHandle {
        self.lists.push(List { name: name.into(), version, entries: 0 });
        ListHandle((self.lists.len() - 1) as u32)
    }

    pub fn push(&mut self, list: ListHandle, key: PlateKey, entry: &ListEntry) {
        let reason = self.text(entry.reason.as_deref());
        let document_no = self.text(entry.document_no.as_deref());
        if let Some(list) = self.lists.get_mut(list.0 as usize) {
            list.entries += 1;
        }
        let from = entry.valid_from.map_or(i64::MIN, Timestamp::micros);
        let to = entry.valid_to.map_or(i64::MAX, Timestamp::micros);
        self.rows.push((spread(key.bits()), Entry { from, to, list: list.0, reason, document_no }));
    }

    fn text(&mut self, text: Option<&str>) -> u32 {
        let Some(text) = text.filter(|text| !text.is_empty()) else { return NO_TEXT };
        if let Some(&place) = self.places.get(text) {
            return place;
        }
        let shared: Arc<str> = text.into();
        let place = self.texts.len() as u32;
        self.texts.push(shared.clone());
        self.places.insert(shared, place);
        place
    }

    /// Sorts and indexes; not on an async worker when there may be many entries.
    pub fn build(mut self) -> Lists {
        let mut order: Vec<u32> = (0..self.lists.len() as u32).collect();
        order.sort_by(|&a, &b| {
            let name = |place: u32| self.lists.get(place as usize).map(|list| &list.name);
            name(a).cmp(&name(b))
        });
        let mut rank = vec![0; order.len()];
        for (place, &list) in order.iter().enumerate() {
            if let Some(rank) = rank.get_mut(list as usize) {
                *rank = place as u32;
            }
        }
        for (_, entry) in &mut self.rows {
            entry.list = rank.get(entry.list as usize).copied().unwrap_or_default();
        }
        self.lists.sort_by(|a, b| a.name.cmp(&b.name));
        self.rows.sort_by_key(|(key, entry)| (*key, entry.list, entry.from, entry.to));
        let (keys, entries): (Vec<u64>, Vec<Entry>) = self.rows.into_iter().unzip();
        let directory = Directory::new(keys.len(), ROWS_PER_BUCKET, keys.iter().copied());
        Lists {
            lists: self.lists.into(),
            keys: keys.into(),
            entries: entries.into(),
            directory,
            texts: self.texts.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::reading::{Plate, PlateColor};

    fn key(text: &str) -> PlateKey {
        PlateKey::new(Plate::parse(text).expect("legal"), PlateColor::Yellow)
    }

    fn at(micros: i64) -> Timestamp {
        Timestamp::from_micros(micros)
    }

    #[test]
    fn hits_name_list_and_version_and_come_by_name() {
        let mut builder = ListsBuilder::default();
        let scrapped = builder.list("scrapped", 3);
        let exempt = builder.list("exempt", 7);
        let empty = builder.list("night_pass", 1);
        assert_ne!(scrapped, empty);
        let because = ListEntry {
            valid_from: Some(at(10)),
            valid_to: Some(at(20)),
            reason: Some("art. 4".into()),
            document_no: Some("2026-7".into()),
        };
        builder.push(scrapped, key("鲁C12345"), &because);
        builder.push(exempt, key("鲁C12345"), &ListEntry::default());
        let lists = builder.build();
        let labels = |at| lists.find(key("鲁C12345"), at).iter().map(ListHit::label).collect::<Vec<_>>();
        assert_eq!(labels(at(15)), ["exempt@v7", "scrapped@v3"]);
        assert_eq!(labels(at(20)), ["exempt@v7"], "the end does not belong to the interval");
        assert_eq!(labels(at(9)), ["exempt@v7"]);
        let hit = lists.find(key("鲁C12345"), at(10)).pop().expect("scrapped");
        assert_eq!((hit.valid_from, hit.valid_to), (Some(at(10)), Some(at(20))));
        assert_eq!((hit.reason.as_deref(), hit.document_no.as_deref()), (Some("art. 4"), Some("2026-7")));
        assert!(lists.find(key("鲁C12346"), at(15)).is_empty());
        let versions: Vec<_> = lists.versions().collect();
        assert_eq!(versions, [("exempt", 7, 1), ("night_pass", 1, 0), ("scrapped", 3, 1)]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]
        /// The index answers what a plain walk over the entries answers, whatever their number and order.
        #[test]
        fn equals_a_walk_over_the_entries(
            entries in prop::collection::vec((0..3usize, "鲁C0000[0-9]", prop::option::of(0..50i64), prop::option::of(0..50i64)), 0..120),
            asked in "鲁C0000[0-9]",
            time in 0..50i64,
        ) {
            let names = ["b", "c", "a"];
            let mut builder = ListsBuilder::default();
            let handles = names.map(|name| builder.list(name, 1));
            for (list, plate, from, to) in &entries {
                let entry = ListEntry { valid_from: from.map(at), valid_to: to.map(at), ..ListEntry::default() };
                builder.push(handles[*list], key(plate), &entry);
            }
            let lists = builder.build();
            let hits = lists.find(key(&asked), at(time));
            let mut found: Vec<_> = hits.iter().map(|h| (h.list.to_string(), h.valid_from, h.valid_to)).collect();
            let mut expected: Vec<_> = entries
                .iter()
                .filter(|(_, plate, from, to)| {
                    *plate == asked && from.is_none_or(|from| from <= time) && to.is_none_or(|to| time < to)
                })
                .map(|(list, _, from, to)| (names[*list].to_string(), from.map(at), to.map(at)))
                .collect();
            prop_assert!(found.is_sorted_by_key(|(name, _, _)| name.clone()));
            found.sort();
            expected.sort();
            prop_assert_eq!(found, expected);
        }
    }
}
