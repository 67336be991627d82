//! Statements of one transaction that go out together: the server runs them in order, nobody waits for an answer in between.
//!
//! A batch leaves half a dozen small statements beside its rows. Asked one after the other, each costs a journey to the
//! server and two changes of threads on either side, which on a busy machine is longer than the statement.

use std::borrow::Cow;

use futures_util::{TryStreamExt as _, future::try_join_all};
use tokio_postgres::{Error, Row, Transaction, types::ToSql};

use super::prepared::Prepared;

/// A value of a statement; it may borrow from the batch.
pub type Value<'a> = Box<dyn ToSql + Sync + Send + 'a>;

pub fn value<'a>(value: impl ToSql + Sync + Send + 'a) -> Value<'a> {
    Box::new(value)
}

/// What one statement of a flight came to.
#[derive(Debug)]
pub struct Answer {
    pub rows: Vec<Row>,
    pub affected: u64,
}

/// Statements that are ready to go. Their locks are taken in the order of [`Flight::add`].
#[derive(Default)]
pub struct Flight<'a>(Vec<(Cow<'static, str>, Vec<Value<'a>>)>);

impl<'a> Flight<'a> {
    /// Adds a statement; returns the place of its answer.
    pub fn add(&mut self, sql: impl Into<Cow<'static, str>>, values: Vec<Value<'a>>) -> usize {
        self.0.push((sql.into(), values));
        self.0.len() - 1
    }

    /// Sends all of them, then waits for all. The error is the first statement's that failed: those after it fail only
    /// because of it.
    pub async fn send(self, transaction: &Transaction<'_>, prepared: &mut Prepared) -> Result<Vec<Answer>, Error> {
        let mut ready = Vec::with_capacity(self.0.len());
        for (sql, values) in self.0 {
            ready.push((prepared.get(transaction, &sql).await?, values));
        }
        // Answers come in the order in which the futures were first polled, which is that of the list.
        try_join_all(ready.into_iter().map(async |(statement, values)| {
            let mut stream = std::pin::pin!(transaction.query_raw(&statement, values).await?);
            let rows = stream.as_mut().try_collect().await?;
            Ok(Answer { rows, affected: stream.rows_affected().unwrap_or_default() })
        }))
        .await
    }
}
