//! The pool of HTTP, apart from everybody else's sessions.

use std::{sync::Arc, time::Duration};

use deadpool_postgres::{Hook, HookError, Manager, Pool, Runtime, Timeouts};
use tokio_postgres::NoTls;

use super::{connect::Connector, server::Need};

/// Longest statement of an HTTP request; a person has given up by then.
const STATEMENT: Duration = Duration::from_secs(15);

/// Longest time for a step of getting a connection.
const STEP: Duration = Duration::from_secs(5);

impl Connector {
    /// The same server, for the pool of HTTP reads. Their statements are cut off by the server: somebody who goes away stops
    /// waiting and not the statement, and a few long ones would keep everybody else out.
    pub fn pool(&self, size: usize) -> Pool {
        let mut config = self.config.clone();
        config.application_name("http");
        let manager = match self.rustls() {
            Some(tls) => Manager::new(config, tls),
            None => Manager::new(config, NoTls),
        };
        // Not by `options` of the connection, which poolers do not pass on.
        let settings = format!("SET statement_timeout = '{}ms'; SET lock_timeout = '5s';", STATEMENT.as_millis());
        let (connector, settings) = (self.clone(), Arc::<str>::from(settings));
        let admit = Hook::async_fn(move |client, _| {
            let (connector, settings) = (connector.clone(), Arc::clone(&settings));
            Box::pin(async move {
                // Also while nothing can be written, for what can be read is worth showing.
                let admitted = connector.admit(client, Need::Read, &settings).await;
                admitted.map_err(|error| HookError::message(error.to_string()))
            })
        });
        Pool::builder(manager)
            .max_size(size)
            .runtime(Runtime::Tokio1)
            .timeouts(Timeouts { wait: Some(STEP), create: Some(STEP), recycle: Some(STEP) })
            .post_create(admit)
            .build()
            .expect("a runtime is given, which is all that building can miss")
    }
}
