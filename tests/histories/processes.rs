//! The same through two processes of the service, a broker and the import command.

use std::collections::BTreeSet;

use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};

use super::{
    check, in_force, naive, register, rng, seed, start,
    story::{Story, at, payload, plate, stories},
};
use crate::support::{
    self,
    http::metric,
    mosquitto::Mosquitto,
    postgres,
    publisher::publish,
    service::{Service, Setting},
};

const STORIES: usize = 12;
const VEHICLES: usize = 3;

/// Old readings are taken, which the default would put aside.
const SOURCE: &str = "[[source]]\nname = \"rs\"\nkind = \"rs\"\nfilter = \"dw/v1/rs/+/passage\"\n\
    plausible_past_days = 3000\nplausible_future_minutes = 10\nunknown_device = \"store\"\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_and_an_import_end_in_the_findings_of_the_naive_reading() {
    let Some(broker) = Mosquitto::start().await else { return };
    let Some(database) = postgres::database().await else { return };
    let folder = support::scratch();
    let mut setting = Setting::new(folder.path(), &broker.url(), database.url());
    setting.further = SOURCE.into();
    setting.succeed(&["migrate"]).await;
    let client = database.client().await;
    let path = folder.path().join("vehicles.csv");
    std::fs::write(&path, register(STORIES * VEHICLES)).unwrap();
    setting.succeed(&["import", "vehicles", path.to_str().unwrap(), "--yes"]).await;

    let (story, order) = one_story(seed("stories through two processes"));
    let mut second = setting.clone();
    second.instance = "two".into();
    let one = Service::start_ready(&setting).await;
    let two = Service::start_ready(&second).await;

    // Half of the readings, the rechecks, the other half; the first readings once more.
    let send = async |places: &[usize]| {
        let messages = places.iter().map(|&place| {
            let seen = &story.readings[place];
            (format!("dw/v1/rs/{}/passage", seen.station), payload(seen).to_string())
        });
        let messages: Vec<(String, String)> = messages.collect();
        publish(&setting.broker, messages.iter().map(|(topic, text)| (topic.as_str(), text.clone()))).await;
    };
    let (first, last) = order.split_at(order.len() / 2);
    send(first).await;
    let path = folder.path().join("inspections.csv");
    std::fs::write(&path, inspections(&story)).unwrap();
    let import = ["import", "inspections", path.to_str().unwrap()];
    tokio::join!(send(last), setting.succeed(&import));
    send(&order[..order.len() / 3]).await;
    let again = setting.succeed(&import).await;
    assert!(again.contains("added 0, changed 0"), "{again}");

    let sent = (order.len() + order.len() / 3) as f64;
    support::until("both to have taken everything and followed it up", async || {
        let mut settled = 0.0;
        for service in [&one, &two] {
            settled += metric(&service.metrics().await, "dieselwatch_messages_settled_total", &[]);
        }
        let waiting: i64 = client.query_one("SELECT count(*) FROM evaluation_task", &[]).await.unwrap().get(0);
        (settled >= sent && waiting == 0).then_some(())
    })
    .await;
    // A task leaves the table in the transaction that brings its findings in step, so there is nothing to wait for.
    check(&story, &in_force(&client).await).unwrap();
    assert!(naive::facts(&story.readings, &story.rechecks).iter().any(|f| matches!(f, naive::Fact::Episode { .. })));
    assert_eq!((one.stop().await, two.stop().await), (Some(0), Some(0)));
}

/// Several stories side by side, each with vehicles of its own, and an order to send the readings in.
fn one_story(seed: u64) -> (Story, Vec<usize>) {
    let mut runner = TestRunner::new_with_rng(ProptestConfig::default(), rng(seed));
    let mut whole = Story { readings: Vec::new(), rechecks: Vec::new() };
    for number in 0..STORIES {
        let vehicles = number * VEHICLES..(number + 1) * VEHICLES;
        let story = stories(start(), vehicles, number * 100).new_tree(&mut runner).unwrap().current();
        whole.readings.extend(story.readings);
        whole.rechecks.extend(story.rechecks);
    }
    let places: Vec<usize> = (0..whole.readings.len()).collect();
    let order = Just(places).prop_shuffle().new_tree(&mut runner).unwrap().current();
    let records: BTreeSet<&str> = whole.readings.iter().map(|seen| seen.record.as_str()).collect();
    assert_eq!(records.len(), whole.readings.len(), "records are told apart");
    (whole, order)
}

fn inspections(story: &Story) -> String {
    let mut text = "plate,plate_color,station_id,inspected_at,kind,result,report_no\n".to_owned();
    for recheck in &story.rechecks {
        let (plate, time, report) = (plate(recheck.vehicle), at(recheck.second), &recheck.report);
        let time = if recheck.whole_day { time.china_day().to_string() } else { time.to_string() };
        text += &format!("{plate},yellow,inspection-1,{time},recheck,pass,{report}\n");
    }
    text
}
