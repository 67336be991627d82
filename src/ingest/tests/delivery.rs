//! What arrives, what is acknowledged and what comes again.

use std::collections::BTreeSet;

use rumqttc::v5::mqttbytes::QoS;

use super::support::*;
use crate::ingest::{Connectivity, UNKNOWN_SOURCE};

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_delivered_and_acknowledged_in_order_of_arrival() {
    for broker in AnyBroker::both().await {
        let proxy = Proxy::start(broker.address()).await;
        let mut service = Service::start(&mqtt(&proxy.url()), &[0]).await;
        publish(&broker.url(), numbered(0..500)).await;
        let mut deliveries = service.take(500).await;
        let first = &deliveries[0];
        assert_eq!((first.source, &*first.device, &*first.topic), (0, "370306-01", TOPIC));
        assert_eq!(service.book(), (500, 0, 500, 0));

        // Settled in the worst order, in pieces, some alone: nothing leaves before the first is done.
        let first = deliveries.remove(0);
        deliveries.reverse();
        let single = deliveries.pop().expect("there are more");
        single.receipt.settle();
        while !deliveries.is_empty() {
            settle(deliveries.split_off(deliveries.len().saturating_sub(70)));
        }
        assert_eq!(service.book(), (500, 0, 500, 0));
        first.receipt.settle();
        service.until_settled(500).await;
        service.finish().await;
        assert_eq!(proxy.acks(0), (1..=500).collect::<Vec<u16>>());

        // Nothing comes again to the same client id.
        let mut service = Service::start(&mqtt(&broker.url()), &[0]).await;
        publish(&broker.url(), numbered(1000..1001)).await;
        let deliveries = service.take(1).await;
        assert_eq!(number(&deliveries[0]), 1000);
        settle(deliveries);
        service.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_settled_comes_again_and_old_receipts_acknowledge_nothing() {
    for broker in AnyBroker::both().await {
        let proxy = Proxy::start(broker.address()).await;
        let mut service = Service::start(&mqtt(&proxy.url()), &[0]).await;
        publish(&broker.url(), numbered(0..10)).await;
        let mut old = service.take(10).await;
        let late = old.split_off(5);
        settle(old);
        service.until_settled(5).await;
        eventually("five acks passed", || proxy.acks(0).len() == 5).await;

        proxy.cut();
        let mut again = service.take(5).await;
        assert_eq!(again.iter().map(number).collect::<Vec<_>>(), [5, 6, 7, 8, 9]);
        assert_eq!(service.book(), (15, 5, 5, 5));

        // Receipts of the dead connection: their packet ids are in use again, by other deliveries.
        assert!(late.iter().all(|delivery| !delivery.receipt.is_live()));
        settle(late);
        assert_eq!(service.book(), (15, 5, 5, 5));
        assert!(proxy.acks(1).is_empty());

        let open = again.split_off(2);
        settle(again);
        service.until_settled(7).await;
        eventually("two acks passed", || proxy.acks(1).len() == 2).await;
        let status = service.ingest.status();
        assert_eq!((status[0].reconnects, status[0].sessions_lost, status[0].epoch), (1, 0, 1));

        // A process that ends with open receipts says so and leaves them to the next.
        let finish = service.ingest.finish(std::time::Duration::from_millis(200)).await;
        assert_eq!((finish.clean, finish.unsettled), (false, 3));
        assert_eq!(service.book(), (15, 7, 0, 8));
        drop(open);
        let mut service = Service::start(&mqtt(&broker.url()), &[0]).await;
        let rest = service.take(3).await;
        assert_eq!(rest.iter().map(number).collect::<Vec<_>>(), [7, 8, 9]);
        settle(rest);
        service.until_settled(3).await;
        service.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_that_is_dropped_brings_its_message_again() {
    for broker in AnyBroker::both().await {
        let mut service = Service::start(&mqtt(&broker.url()), &[0]).await;
        publish(&broker.url(), numbered(0..3)).await;
        let mut deliveries = service.take(3).await;
        drop(deliveries.remove(1));
        settle(deliveries);
        // The first was acknowledged; the third is settled but behind the one given up, so it comes too.
        let again = service.take(2).await;
        assert_eq!(again.iter().map(number).collect::<Vec<_>>(), [1, 2]);
        settle(again);
        service.until_settled(3).await;
        assert_eq!(service.book(), (5, 3, 0, 2));
        service.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_the_broker_loses_nothing_it_kept() {
    let mut broker = Mosquitto::start().await;
    let mut service = Service::start(&mqtt(&broker.url()), &[0]).await;
    publish(&broker.url(), numbered(0..200)).await;
    let mut first = service.take(200).await;
    let open = first.split_off(100);
    settle(first);
    service.until_settled(100).await;
    let since = service.ingest.status()[0].epoch;
    broker.restart().await;
    eventually("it is connected again", || service.ingest.status()[0].epoch > since && service.ingest.is_ready()).await;
    publish(&broker.url(), numbered(200..300)).await;
    settle(open);
    let mut seen = BTreeSet::new();
    while !seen.is_superset(&(100..300).collect()) {
        let some = service.take(1).await;
        seen.extend(some.iter().map(number));
        settle(some);
    }
    eventually("nothing is in flight", || service.book().2 == 0).await;
    // The open ones came again, and of the settled those whose acknowledgement the broker had not read when it ended.
    assert!(service.book().3 >= 100);
    assert_eq!(service.ingest.status()[0].sessions_lost, 0);
    service.finish().await;
}

/// Mosquitto 2.0.11 does not restore shared subscriptions from disk; without a group nothing is lost in the gap.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_group_mosquitto_keeps_what_comes_between_its_restart_and_our_return() {
    let mut broker = Mosquitto::start().await;
    let config = crate::config::Mqtt { group: String::new(), ..mqtt(&broker.url()) };
    Service::start(&config, &[0]).await.finish().await;
    broker.restart().await;
    publish(&broker.url(), numbered(0..10)).await;
    let mut service = Service::start(&config, &[0]).await;
    let kept = service.take(10).await;
    assert_eq!(kept.iter().map(number).collect::<Vec<_>>(), (0..10).collect::<Vec<_>>());
    settle(kept);
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_forgot_the_session_is_noticed_and_subscribed_to_again() {
    let broker = crate::embedded::broker::Broker::start(0).await.expect("starts");
    let port = broker.address().port();
    let mut service = Service::start(&mqtt(&broker.url()), &[0]).await;
    broker.shutdown().await;
    let broker = crate::embedded::broker::Broker::start(port).await.expect("starts again on its port");
    eventually("the loss is counted", || service.ingest.status()[0].sessions_lost == 1).await;
    service.until_ready().await;
    publish(&broker.url(), numbered(0..1)).await;
    settle(service.take(1).await);
    service.finish().await;
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_share_the_messages_of_their_group() {
    for broker in AnyBroker::both().await {
        let config = crate::config::Mqtt { connections: 2, ..mqtt(&broker.url()) };
        let replicas = [Service::start(&config, &[0, 1]).await, Service::start(&mqtt(&broker.url()), &[2]).await];
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        let replicas = replicas.map(|Service { ingest, mut inbox }| {
            let tell = tell.clone();
            let worker = tokio::spawn(async move {
                let mut some = Vec::new();
                while inbox.recv_many(&mut some, 100).await > 0 {
                    some.iter().map(number).for_each(|number| tell.send(number).expect("heard"));
                    settle(std::mem::take(&mut some));
                }
            });
            (ingest, worker)
        });
        publish(&broker.url(), numbered(0..3000)).await;
        let mut seen = BTreeSet::new();
        while seen.len() < 3000 {
            let number = tokio::time::timeout(CEILING, told.recv()).await.expect("3000 come").expect("not closed");
            assert!(seen.insert(number), "came twice");
        }
        for (ingest, worker) in replicas {
            assert!(ingest.finish(CEILING).await.clean);
            worker.await.expect("no panic");
            let book = &ingest.books()[0];
            assert!(book.settled > 0 && book.settled == book.received, "{book:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_over_the_packet_limit_is_left_out_and_its_neighbours_come() {
    for broker in AnyBroker::both().await {
        let config = crate::config::Mqtt { max_packet_bytes: 20_000, max_payload_bytes: 10_000, ..mqtt(&broker.url()) };
        let mut service = Service::start(&config, &[0]).await;
        let sizes = [1, 30_000, 15_000, 20_001, 2];
        publish(&broker.url(), sizes.map(|size| (TOPIC.to_owned(), vec![b'x'; size]))).await;
        let deliveries = service.take(3).await;
        // The one between both limits comes whole.
        assert_eq!(deliveries.iter().map(|delivery| delivery.payload.len()).collect::<Vec<_>>(), [1, 15_000, 2]);
        settle(deliveries);
        service.until_settled(3).await;
        assert_eq!(service.ingest.status()[0].reconnects, 0);
        service.finish().await;
        // Nor does it come to the next connection of the session.
        let service = Service::start(&config, &[0]).await;
        assert_eq!((service.book(), service.ingest.status()[0].reconnects), ((0, 0, 0, 0), 0));
        service.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_topics_and_qos_0_are_delivered_and_booked() {
    let broker = Mosquitto::start().await;
    // An earlier configuration of the same client id subscribed to something else.
    let mut service = {
        let config = mqtt(&broker.url());
        let before = [source("old", "old/+/frame")];
        let args =
            crate::ingest::StartArgs { config: &config, sources: &before, slots: crate::ingest::Slots::Fixed(vec![0]) };
        let (ingest, inbox) = crate::ingest::start(args).expect("valid");
        let before = Service { ingest, inbox };
        before.until_ready().await;
        before.finish().await;
        Service::start(&config, &[0]).await
    };
    publish(&broker.url(), [("old/x/frame".to_owned(), b"1".to_vec())]).await;
    publish_with(&broker.url(), QoS::AtMostOnce, false, numbered(2..3)).await;
    let mut deliveries = service.take(2).await;
    deliveries.sort_by_key(number);
    assert_eq!((deliveries[0].source, &*deliveries[0].device), (UNKNOWN_SOURCE, ""));
    assert_eq!(deliveries[1].source, 0);
    settle(deliveries);
    eventually("both are settled", || service.ingest.books()[2].settled == 1 && service.book().1 == 1).await;
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn retained_states_are_known_and_in_no_book() {
    for broker in AnyBroker::both().await {
        let status = |id: &str, state: &str| {
            (format!("dw/v1/obd/{id}/status"), format!(r#"{{"state":"{state}"}}"#).into_bytes())
        };
        publish_with(&broker.url(), QoS::AtLeastOnce, true, [status("a", "online"), status("b", "offline")]).await;
        let service = Service::start(&mqtt(&broker.url()), &[0]).await;
        let is = |online, offline| {
            let counts = service.ingest.device_counts();
            (counts.online, counts.offline) == (online, offline)
        };
        eventually("both states are known", || is(1, 1)).await;
        publish_with(&broker.url(), QoS::AtLeastOnce, true, [status("b", "online")]).await;
        eventually("the change is known", || is(2, 0)).await;
        assert!(service.ingest.device_states().iter().all(|device| device.state == Connectivity::Online));
        assert!(service.ingest.books().iter().all(|book| book.received == 0));
        service.finish().await;
    }
}
