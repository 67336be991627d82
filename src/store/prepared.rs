//! Statements prepared once per connection: without this every statement of every batch costs a round trip and a parse.

use std::collections::HashMap;

use tokio_postgres::{Row, Statement, Transaction, types::ToSql};

/// Statements by their text. One for each connection; it goes when the connection goes.
#[derive(Default)]
pub struct Prepared(HashMap<Box<str>, Statement>);

impl Prepared {
    pub async fn get(&mut self, transaction: &Transaction<'_>, sql: &str) -> Result<Statement, tokio_postgres::Error> {
        if let Some(statement) = self.0.get(sql) {
            return Ok(statement.clone());
        }
        let statement = transaction.prepare(sql).await?;
        self.0.insert(sql.into(), statement.clone());
        Ok(statement)
    }

    pub async fn execute(
        &mut self,
        transaction: &Transaction<'_>,
        sql: &str,
        values: &[&(dyn ToSql + Sync)],
    ) -> Result<u64, tokio_postgres::Error> {
        let statement = self.get(transaction, sql).await?;
        transaction.execute(&statement, values).await
    }

    pub async fn query(
        &mut self,
        transaction: &Transaction<'_>,
        sql: &str,
        values: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, tokio_postgres::Error> {
        let statement = self.get(transaction, sql).await?;
        transaction.query(&statement, values).await
    }
}
