//! The servers that the other tests stand on do what those tests take for granted.

use rumqttc::v5::{
    Event,
    mqttbytes::{QoS, v5::Packet},
};
use serde_json::json;

use crate::support::{self, mosquitto::Mosquitto, postgres, timescale};

#[tokio::test]
async fn each_test_has_a_database_of_its_own() {
    let fill = async |url: &str| {
        let client = postgres::connect(url).await;
        client.batch_execute("CREATE TABLE filled (word text); INSERT INTO filled VALUES ('once')").await.unwrap();
    };
    let Some(one) = postgres::prepared(fill).await else { return };
    let Some(other) = postgres::prepared(async |_| panic!("the template is filled once")).await else { return };
    one.client().await.batch_execute("DELETE FROM filled").await.unwrap();
    let count: i64 = other.client().await.query_one("SELECT count(*) FROM filled", &[]).await.unwrap().get(0);
    assert_eq!(count, 1);
    let Some(empty) = postgres::database().await else { return };
    assert!(empty.client().await.query("SELECT FROM filled", &[]).await.is_err());
}

#[tokio::test]
async fn a_database_that_crashed_comes_back_with_what_was_committed() {
    let Some((folder, server)) = postgres::private().await else { return };
    let client = postgres::connect(server.url()).await;
    client.batch_execute("CREATE TABLE kept (a int); INSERT INTO kept VALUES (1)").await.unwrap();
    server.crash().await;
    let server = dieselwatch::embedded::postgres::EmbeddedPostgres::start(folder.path()).await.unwrap();
    let count: i64 =
        postgres::connect(server.url()).await.query_one("SELECT count(*) FROM kept", &[]).await.unwrap().get(0);
    assert_eq!(count, 1);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn the_broker_keeps_a_session_and_its_queue_over_a_restart() {
    let Some(mut broker) = Mosquitto::start().await else { return };
    let (reader, mut events) = broker.client("reader");
    reader.subscribe("$share/g/t/+", QoS::AtLeastOnce).await.unwrap();
    while !matches!(events.poll().await.unwrap(), Event::Incoming(Packet::SubAck(_))) {}
    drop((reader, events));

    let (writer, mut events) = broker.client("writer");
    let count = 300;
    for number in 0..count {
        writer.publish(format!("t/{number}"), QoS::AtLeastOnce, false, "x").await.unwrap();
    }
    let mut acknowledged = 0;
    while acknowledged < count {
        acknowledged += usize::from(matches!(events.poll().await.unwrap(), Event::Incoming(Packet::PubAck(_))));
    }
    broker.restart().await;

    let (_reader, mut events) = broker.client("reader");
    let mut received = 0;
    while received < count {
        match events.poll().await.unwrap() {
            Event::Incoming(Packet::ConnAck(answer)) => assert!(answer.session_present),
            Event::Incoming(Packet::Publish(_)) => received += 1,
            _ => {}
        }
    }
    assert!(broker.sys("version").await.starts_with("mosquitto"));
}

#[tokio::test]
async fn a_real_timescaledb_runs_migrations_and_queries() {
    let folder = support::scratch();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let tables = write(
        "0001_tables.sql",
        "CREATE TABLE reading (at timestamptz NOT NULL, device int NOT NULL, serial int NOT NULL, v float8);\n\
         CREATE UNIQUE INDEX ON reading (at, device, serial);\n\
         -- timescale: begin\n\
         SELECT create_hypertable('reading', by_range('at', INTERVAL '1 day'));\n\
         ALTER TABLE reading SET (timescaledb.compress, timescaledb.compress_segmentby = 'device',\n\
           timescaledb.compress_orderby = 'at');\n\
         SELECT add_compression_policy('reading', INTERVAL '14 days');\n\
         SELECT add_retention_policy('reading', INTERVAL '1095 days');\n\
         -- timescale: end\n\
         -- plain: begin\n\
         CREATE TABLE only_on_plain (a int); -- ';' in a comment\n\
         -- plain: end\n",
    );
    let aggregate = write(
        "0002_aggregate.sql",
        "-- no-transaction\n\
         CREATE MATERIALIZED VIEW hourly WITH (timescaledb.continuous) AS\n\
           SELECT time_bucket('1 hour', at) AS hour, device, count(*) AS n FROM reading GROUP BY 1, 2;\n\
         SELECT add_continuous_aggregate_policy('hourly', start_offset => INTERVAL '7 days',\n\
           end_offset => INTERVAL '1 hour', schedule_interval => INTERVAL '1 hour');\n",
    );
    let queries = [
        json!("SELECT to_regclass('only_on_plain') IS NULL AS absent"),
        json!(
            "INSERT INTO reading SELECT '2026-01-01'::timestamptz + i * INTERVAL '1 min', 1, i, i \
             FROM generate_series(1, 3000) i"
        ),
        json!("SELECT compress_chunk(c) FROM show_chunks('reading') c"),
        json!({"sql": "INSERT INTO reading SELECT * FROM unnest($1::timestamptz[], $2::int[], $3::int[], $4::float8[]) \
                       ON CONFLICT DO NOTHING RETURNING serial",
               "params": [["2026-01-01T00:01:00Z", "2026-01-01T00:01:30Z"], [1, 1], [1, 2], [0.5, 0.5]]}),
        json!("INSERT INTO reading VALUES ('2026-01-01T00:01:00Z', 1, 1, 0.5)"),
        json!("CALL refresh_continuous_aggregate('hourly', NULL, NULL)"),
        json!("SELECT count(*)::int AS hours, sum(n)::int AS n FROM hourly"),
        json!("SELECT count(*)::int AS jobs FROM timescaledb_information.jobs WHERE proc_name LIKE 'policy_%'"),
    ];
    let Some(outcome) = timescale::run(&[tables, aggregate], &queries).await else { return };
    let outcome = outcome.unwrap();
    assert_eq!(outcome.migrations, ["0001_tables.sql", "0002_aggregate.sql"]);
    let results = &outcome.results;
    assert_eq!(results[0].rows(), [json!({"absent": true})]);
    assert_eq!(results[2].rows().len(), 3, "three days are three chunks");
    assert_eq!(results[3].rows(), [json!({"serial": 2})], "a redelivery into a compressed chunk tells what is new");
    assert!(matches!(&results[4], timescale::QueryResult::Failed { error } if error.code.as_deref() == Some("23505")));
    assert_eq!(results[6].rows(), [json!({"hours": 51, "n": 3001})]);
    assert_eq!(results[7].rows(), [json!({"jobs": 4})], "compression, retention, refresh and one of its own");

    let wrong = write("0003_wrong.sql", "SELECT 1;\n\nCREATE TABLE a (b nonsense);\n");
    let Some(outcome) = timescale::run(&[wrong], &[]).await else { return };
    let failure = outcome.unwrap_err();
    assert_eq!((failure.file.as_deref(), failure.line), (Some("0003_wrong.sql"), Some(3)), "{failure:?}");
}
