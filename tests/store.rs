//! What the store's own tools promise, on a real server.

use dieselwatch::{
    config::Config,
    store::{
        connect::Connector,
        error::{Class, class_of},
        flight::{Flight, value},
        housekeeping,
        migrate::{self, Flavour},
        prepared::Prepared,
    },
};

use crate::support::postgres;

#[tokio::test]
async fn a_flight_answers_in_order_and_its_error_is_the_first_ones() {
    let Some(database) = postgres::database().await else { return };
    let mut client = database.client().await;
    client.batch_execute("CREATE TABLE number (n int8 PRIMARY KEY)").await.unwrap();
    let mut prepared = Prepared::default();
    const INSERT: &str = "INSERT INTO number SELECT * FROM unnest($1::int8[]) RETURNING n";

    // More than thirty, because the futures behind it are driven in another way from there on.
    let mut flight = Flight::default();
    let places: Vec<usize> = (0_i64..40).map(|n| flight.add(INSERT, vec![value(vec![n, n + 100])])).collect();
    let counted = flight.add("SELECT count(*) FROM number WHERE n < $1", vec![value(100_i64)]);
    let transaction = client.transaction().await.unwrap();
    let answers = flight.send(&transaction, &mut prepared).await.unwrap();
    for (n, place) in (0_i64..).zip(places) {
        assert_eq!((answers[place].affected, answers[place].rows[1].get::<_, i64>(0)), (2, n + 100));
    }
    assert_eq!(answers[counted].rows[0].get::<_, i64>(0), 40, "a statement sees what those before it did");
    transaction.commit().await.unwrap();

    let mut flight = Flight::default();
    for n in [1000_i64, 7, 1001] {
        flight.add(INSERT, vec![value(vec![n])]);
    }
    let transaction = client.transaction().await.unwrap();
    let error = flight.send(&transaction, &mut prepared).await.unwrap_err();
    assert_eq!(class_of(&error), Class::Duplicate, "not that the transaction is aborted, which comes after: {error:?}");
    drop(transaction);
    let left: i64 = client.query_one("SELECT count(*) FROM number", &[]).await.unwrap().get(0);
    assert_eq!(left, 80, "nothing of it stays, and the connection goes on");
}

#[tokio::test]
async fn what_is_past_its_retention_goes_and_nothing_else() {
    let Some(database) = postgres::database().await else { return };
    let client = database.client().await;
    migrate::run(&client).await.unwrap();
    let mut retention = Config::built_in().unwrap().retention;
    retention.readings_days = 10;
    let insert = "INSERT INTO terminal_window (device, at, fingerprint, facts) \
                  SELECT n, now() - n * INTERVAL '1 day', 0, '{}' FROM generate_series(1, 20) AS n";
    client.batch_execute(insert).await.unwrap();
    let mut deleted = 0;
    for aged in housekeeping::aged(Flavour::Plain) {
        deleted += housekeeping::delete_one_bite(&client, aged, &retention).await.unwrap();
    }
    let kept = "SELECT count(*), max(device) FROM terminal_window";
    let kept = client.query_one(kept, &[]).await.unwrap();
    assert_eq!((deleted, kept.get::<_, i64>(0), kept.get::<_, i32>(1)), (11, 9, 9));
    let on_timescale: Vec<_> = housekeeping::aged(Flavour::Timescale).map(|aged| aged.table).collect();
    assert_eq!(on_timescale, ["passage_key", "nox_over", "terminal_window", "terminal_day"]);
}

/// Every table that is looked through each hour has an index by its time: without one that reads all of it.
#[tokio::test]
async fn looking_for_what_is_old_reads_no_whole_table() {
    let Some(database) = postgres::database().await else { return };
    let client = database.client().await;
    migrate::run(&client).await.unwrap();
    let sql = "SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid \
               JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0] \
               WHERE a.attname IN ('passed_at', 'collected_at', 'sent_at', 'at', 'day')";
    let rows = client.query(sql, &[]).await.unwrap();
    let indexed: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    for aged in housekeeping::aged(Flavour::Plain) {
        assert!(indexed.iter().any(|table| table == aged.table), "{}: {indexed:?}", aged.table);
    }
}

#[tokio::test]
async fn statements_of_http_requests_are_cut_off_by_the_server() {
    let Some(database) = postgres::database().await else { return };
    let mut settings = Config::built_in().unwrap().database;
    settings.url = database.url().to_owned();
    let pool = Connector::new(&settings).unwrap().pool(1);
    let client = pool.get().await.unwrap();
    let limit: String = client.query_one("SHOW statement_timeout", &[]).await.unwrap().get(0);
    assert_eq!(limit, "15s");
}
