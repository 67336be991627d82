use super::*;

fn row(slot: u16, state: &str) -> Row {
    Row { slot, ours: state == "ours", free: matches!(state, "free" | "orphan"), orphaned: state == "orphan" }
}

fn set(slots: &[u16]) -> BTreeSet<u16> {
    slots.iter().copied().collect()
}

fn granted(own: &[u16], orphans: &[u16]) -> Granted {
    Granted { own: own.to_vec(), orphans: orphans.to_vec() }
}

#[test]
fn the_first_replica_makes_the_lowest_slots() {
    assert_eq!(plan(&[], &set(&[]), &set(&[]), 3), granted(&[0, 1, 2], &[]));
}

#[test]
fn slots_of_living_replicas_are_left_alone() {
    let rows = [row(0, "taken"), row(2, "taken")];
    assert_eq!(plan(&rows, &set(&[]), &set(&[]), 2), granted(&[1, 3], &[]));
}

#[test]
fn free_slots_come_before_new_ones_and_own_ones_before_free_ones() {
    let rows = [row(0, "free"), row(1, "taken"), row(2, "ours"), row(3, "orphan")];
    assert_eq!(plan(&rows, &set(&[]), &set(&[]), 1), granted(&[2], &[3]));
    assert_eq!(plan(&rows, &set(&[]), &set(&[]), 4), granted(&[2, 0, 3, 4], &[]));
}

#[test]
fn a_replica_that_has_enough_takes_only_orphans_and_not_too_many() {
    let rows: Vec<Row> =
        [row(0, "ours"), row(1, "free")].into_iter().chain((2..9).map(|slot| row(slot, "orphan"))).collect();
    assert_eq!(plan(&rows, &set(&[0]), &set(&[]), 1), granted(&[], &[2, 3, 4, 5]));
    let rows: Vec<Row> =
        rows.into_iter().map(|row| if row.slot == 2 { super::tests::row(2, "ours") } else { row }).collect();
    assert_eq!(plan(&rows, &set(&[0]), &set(&[2]), 1), granted(&[], &[3, 4, 5]));
}

#[test]
fn more_slots_in_our_name_than_we_want_are_emptied() {
    let rows = [row(0, "ours"), row(1, "ours"), row(2, "ours")];
    assert_eq!(plan(&rows, &set(&[]), &set(&[]), 1), granted(&[0], &[1, 2]));
}
