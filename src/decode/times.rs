//! Which second each body of a packet belongs to.
//!
//! Firmware packs ten one-second bodies into one packet and sends the collect time of the first with all of them, so the
//! n-th body of a type that repeats one collect time is n seconds later. What still meets in one second (a packet
//! that mixes both habits) is told apart by an ordinal.

use std::collections::HashMap;

use crate::reading::Timestamp;

use super::frame::{Item, ItemType};

/// Bodies up to this many are compared with each other; more go through a table, so that a packet of thousands of
/// repeated times costs no more than its length.
const FEW: usize = 32;

/// Moves repeated collect times on and numbers what still coincides. On entry `collected_at` is the collect time as sent.
pub(super) fn resolve(items: &mut [Item]) {
    if all_rise(items) {
        return;
    }
    if items.len() <= FEW { resolve_few(items) } else { resolve_many(items) }
}

/// Whether collect times rise strictly within each type, as they do where every body has its own.
fn all_rise(items: &[Item]) -> bool {
    let mut last = [None; ItemType::ALL.len()];
    items.iter().all(|item| {
        let before = last.get_mut(item.item_type() as usize).and_then(|last| last.replace(item.collected_at));
        before.is_none_or(|before: Timestamp| before < item.collected_at)
    })
}

fn resolve_few(items: &mut [Item]) {
    let mut sent: smallvec::SmallVec<[Timestamp; FEW]> = smallvec::SmallVec::new();
    for place in 0..items.len() {
        let Some((item, before)) = items.get_mut(..=place).and_then(<[Item]>::split_last_mut) else { return };
        let as_sent = item.collected_at;
        let kind = item.item_type();
        let of_kind = || before.iter().filter(|other| other.item_type() == kind);
        let repeats = before.iter().zip(&sent).filter(|&(other, &time)| other.item_type() == kind && time == as_sent);
        item.collected_at = as_sent.plus_seconds(repeats.count() as i64);
        item.ordinal = of_kind().filter(|other| other.collected_at == item.collected_at).count() as u16;
        sent.push(as_sent);
    }
}

fn resolve_many(items: &mut [Item]) {
    let mut repeats: HashMap<(ItemType, Timestamp), i64> = HashMap::new();
    let mut taken: HashMap<(ItemType, Timestamp), u16> = HashMap::new();
    for item in items {
        let repeat = repeats.entry((item.item_type(), item.collected_at)).or_default();
        item.collected_at = item.collected_at.plus_seconds(*repeat);
        *repeat += 1;
        let ordinal = taken.entry((item.item_type(), item.collected_at)).or_default();
        item.ordinal = *ordinal;
        *ordinal = ordinal.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::decode::{Body, Hybrid, Stream};

    fn item(kind: bool, second: i64) -> Item {
        let body = if kind { Body::Stream(Stream::default()) } else { Body::Hybrid(Hybrid::default()) };
        Item { serial: None, collected_at: Timestamp::EPOCH.plus_seconds(second), ordinal: 0, body }
    }

    fn keys(items: &[Item]) -> Vec<(ItemType, i64, u16)> {
        let seconds = |item: &Item| item.collected_at.micros() / 1_000_000;
        items.iter().map(|item| (item.item_type(), seconds(item), item.ordinal)).collect()
    }

    #[test]
    fn repeated_times_move_on_by_seconds() {
        let mut items = [item(true, 5), item(false, 5), item(true, 5), item(true, 5)];
        resolve(&mut items);
        let stream = ItemType::Stream;
        assert_eq!(keys(&items), [(stream, 5, 0), (ItemType::Hybrid, 5, 0), (stream, 6, 0), (stream, 7, 0)]);
    }

    #[test]
    fn what_still_coincides_is_numbered() {
        let mut items = [item(true, 5), item(true, 5), item(true, 6)];
        resolve(&mut items);
        let stream = ItemType::Stream;
        assert_eq!(keys(&items), [(stream, 5, 0), (stream, 6, 0), (stream, 6, 1)]);
    }

    proptest! {
        #[test]
        fn keys_never_coincide_whichever_way(sent in prop::collection::vec((any::<bool>(), 0i64..6), 0..FEW)) {
            let items: Vec<Item> = sent.iter().map(|&(kind, second)| item(kind, second)).collect();
            let (mut few, mut many) = (items.clone(), items.clone());
            resolve_few(&mut few);
            resolve_many(&mut many);
            prop_assert_eq!(keys(&few), keys(&many));
            let mut sorted = keys(&few);
            sorted.sort();
            sorted.dedup();
            prop_assert_eq!(sorted.len(), items.len());
            if all_rise(&items) {
                prop_assert_eq!(keys(&few), keys(&items));
            }
        }
    }
}
