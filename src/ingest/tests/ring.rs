use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Accept {
        qos0: bool,
        source: u16,
    },
    Refuse {
        qos0: bool,
        source: u16,
    },
    /// Index into the tickets handed out so far, of every epoch, decided or not.
    Settle(prop::sample::Index),
    Abandon(prop::sample::Index),
    /// Let at most this many acknowledgements out.
    Ack(usize),
    Reset,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (prop::bool::weighted(0.1), 0u16..4).prop_map(|(qos0, source)| Step::Accept { qos0, source }),
        1 => (any::<bool>(), 0u16..4).prop_map(|(qos0, source)| Step::Refuse { qos0, source }),
        8 => any::<prop::sample::Index>().prop_map(Step::Settle),
        1 => any::<prop::sample::Index>().prop_map(Step::Abandon),
        4 => (0usize..8).prop_map(Step::Ack),
        1 => Just(Step::Reset),
    ];
    prop::collection::vec(step, 0..200)
}

/// What the broker sees of one connection: packets in order of arrival, and which of them were settled in time.
#[derive(Default)]
struct Wire {
    arrived: Vec<u16>,
    acked: Vec<u16>,
    settled: HashSet<u16>,
}

proptest! {
    #[test]
    fn acks_are_a_settled_prefix_in_arrival_order_and_the_books_balance(steps in steps()) {
        let mut ring = Ring::new(3);
        let mut wire = Wire::default();
        // (ticket, packet, epoch)
        let mut tickets: Vec<(Ticket, u16, u32)> = Vec::new();
        // Packet identifiers start again on each connection, as on a real one.
        let mut next_packet = 1;
        for step in steps {
            match step {
                Step::Accept { qos0, source } => {
                    let packet = if qos0 { 0 } else { next_packet };
                    let ticket = ring.accept(packet, source);
                    prop_assert!(tickets.iter().all(|(other, ..)| *other < ticket), "tickets never repeat");
                    tickets.push((ticket, packet, ring.epoch()));
                    if !qos0 {
                        wire.arrived.push(packet);
                        next_packet += 1;
                    }
                }
                Step::Refuse { qos0, source } => {
                    ring.refuse(if qos0 { 0 } else { next_packet }, source);
                    if !qos0 {
                        wire.arrived.push(next_packet);
                        next_packet += 1;
                    }
                }
                Step::Settle(index) if !tickets.is_empty() => {
                    let (ticket, packet, epoch) = tickets[index.index(tickets.len())];
                    let live = ring.settle(ticket);
                    prop_assert!(!live || epoch == ring.epoch(), "a stale receipt settled something");
                    prop_assert!(!ring.settle(ticket), "settled twice");
                    if live {
                        wire.settled.insert(packet);
                    }
                }
                Step::Abandon(index) if !tickets.is_empty() => {
                    let (ticket, _, epoch) = tickets[index.index(tickets.len())];
                    let live = ring.abandon(ticket);
                    prop_assert!(!live || epoch == ring.epoch());
                }
                Step::Ack(limit) => {
                    for _ in 0..limit {
                        let Some(packet) = ring.due() else { break };
                        ring.acked();
                        wire.acked.push(packet);
                    }
                }
                Step::Reset => {
                    ring.reset();
                    prop_assert!(ring.is_empty() && ring.open() == 0 && ring.due().is_none());
                    wire = Wire::default();
                    next_packet = 1;
                }
                Step::Settle(_) | Step::Abandon(_) => {}
            }
            prop_assert!(wire.arrived.starts_with(&wire.acked), "acks are a prefix of the arrivals");
            prop_assert!(wire.acked.iter().all(|packet| wire.settled.contains(packet)), "acked but never settled");
            for book in ring.books() {
                prop_assert!(book.balances(), "{book:?}");
            }
        }
    }

    #[test]
    fn any_order_of_completion_acks_everything(order in Just((0usize..100).collect::<Vec<_>>()).prop_shuffle()) {
        let mut ring = Ring::new(1);
        let tickets: Vec<_> = (1..=100).map(|packet| ring.accept(packet, 0)).collect();
        let mut acked = Vec::new();
        for place in order {
            prop_assert!(ring.settle(tickets[place]));
            while let Some(packet) = ring.due() {
                ring.acked();
                acked.push(packet);
            }
        }
        prop_assert_eq!(acked, (1..=100).collect::<Vec<u16>>());
        prop_assert!(ring.is_empty());
    }
}

#[test]
fn a_packet_id_used_again_after_a_reconnect_is_not_acked_by_the_old_receipt() {
    let mut ring = Ring::new(1);
    let old = ring.accept(7, 0);
    ring.reset();
    let new = ring.accept(7, 0);
    assert!(!ring.settle(old));
    assert_eq!(ring.due(), None);
    assert!(ring.settle(new));
    assert_eq!(ring.due(), Some(7));
    let book = ring.books()[0];
    assert_eq!((book.received, book.returned, book.in_flight), (2, 1, 1));
}

#[test]
fn a_refused_message_holds_back_what_came_after_it_and_is_stuck_at_last() {
    let mut ring = Ring::new(1);
    let first = ring.accept(1, 0);
    ring.refuse(2, 0);
    assert!(!ring.is_stuck(), "the first is still worked on");
    ring.settle(first);
    assert_eq!(ring.due(), Some(1));
    assert!(!ring.is_stuck(), "an ack is due");
    ring.acked();
    assert_eq!(ring.due(), None);
    assert!(ring.is_stuck());
}

#[test]
fn the_due_ack_stays_due_until_it_is_taken() {
    let mut ring = Ring::new(1);
    let ticket = ring.accept(1, 0);
    ring.acked();
    assert_eq!(ring.books()[0].settled, 0, "nothing was due");
    ring.settle(ticket);
    assert_eq!((ring.due(), ring.due()), (Some(1), Some(1)));
    ring.acked();
    assert_eq!((ring.due(), ring.books()[0].settled), (None, 1));
}
