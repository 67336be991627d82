//! What the store's own tools promise, on a real server.

use dieselwatch::store::{
    error::{Class, class_of},
    flight::{Flight, value},
    prepared::Prepared,
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
