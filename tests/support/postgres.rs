//! One private cluster per test process, one database per test.

use std::{
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
};

use dieselwatch::embedded::postgres::{EmbeddedPostgres, PostgresError};
use tempfile::TempDir;
use tokio::sync::OnceCell;
use tokio_postgres::{Client, NoTls};

/// Crashes of the machine are not tested here, and syncing is most of the time of a small transaction.
const FAST: &[(&str, &str)] =
    &[("fsync", "off"), ("full_page_writes", "off"), ("max_connections", "200"), ("shared_buffers", "64MB")];

static SERVER: OnceCell<Option<EmbeddedPostgres>> = OnceCell::const_new();
static TEMPLATE: OnceCell<()> = OnceCell::const_new();
static NEXT: AtomicU32 = AtomicU32::new(1);

/// A database of its own, dropped with this value.
pub struct TestDatabase {
    name: String,
    url: String,
}

impl TestDatabase {
    /// As `tokio_postgres` and the key `database.url` take it.
    pub fn url(&self) -> &str {
        &self.url
    }

    pub async fn client(&self) -> Client {
        connect(&self.url).await
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let Some(Some(server)) = SERVER.get() else { return };
        let (url, name) = (server.url_of("postgres"), self.name.clone());
        // The test's own runtime may be on its way out.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let sql = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
                connect(&url).await.batch_execute(&sql).await.unwrap();
            });
        });
        let dropped = dropped.join();
        assert!(dropped.is_ok() || std::thread::panicking(), "the test's database cannot be dropped");
    }
}

/// An empty database; `None` where PostgreSQL is not installed.
pub async fn database() -> Option<TestDatabase> {
    let server = server().await?;
    Some(create(server, "template1").await)
}

/// A copy of the template, which `prepare` fills once in the life of the process, given its URL.
pub async fn prepared(prepare: impl AsyncFnOnce(&str)) -> Option<TestDatabase> {
    let server = server().await?;
    let fill = async || {
        connect(&server.url_of("postgres")).await.batch_execute("CREATE DATABASE test_template").await.unwrap();
        prepare(&server.url_of("test_template")).await;
    };
    TEMPLATE.get_or_init(fill).await;
    Some(create(server, "test_template").await)
}

/// A server of the test's own, for tests that stop or crash it, and the folder to start it in again.
pub async fn private() -> Option<(TempDir, EmbeddedPostgres)> {
    let folder = super::scratch();
    match EmbeddedPostgres::start_with(folder.path(), FAST).await {
        Ok(server) => Some((folder, server)),
        Err(PostgresError::MissingBinaries) => super::skip("PostgreSQL server binaries are not installed"),
        Err(error) => panic!("{error}"),
    }
}

/// A connection with its own task, which ends with it.
pub async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn create(server: &EmbeddedPostgres, template: &str) -> TestDatabase {
    let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let client = connect(&server.url_of("postgres")).await;
    let sql = format!("CREATE DATABASE {name} TEMPLATE {template}");
    // The template is briefly in use while another test copies it or the one who filled it disconnects.
    super::until("the template to be free", async || match client.batch_execute(&sql).await {
        Ok(()) => Some(()),
        Err(error) if error.code() == Some(&tokio_postgres::error::SqlState::OBJECT_IN_USE) => None,
        Err(error) => panic!("{error:?}"),
    })
    .await;
    TestDatabase { url: server.url_of(&name), name }
}

async fn server() -> Option<&'static EmbeddedPostgres> {
    SERVER.get_or_init(start).await.as_ref()
}

/// Starts in the first folder that no other test process holds; folders stay, so that the next run need not make them.
async fn start() -> Option<EmbeddedPostgres> {
    let parent = PathBuf::from(format!("/tmp/dieselwatch-tests-{}", own_uid()));
    std::fs::create_dir_all(&parent).unwrap();
    assert_eq!(parent.metadata().unwrap().uid(), own_uid(), "{} belongs to somebody else", parent.display());
    for slot in 0.. {
        match EmbeddedPostgres::start_with(&parent.join(format!("postgres-{slot}")), FAST).await {
            Ok(server) => {
                drop_leftovers(&server).await;
                return Some(server);
            }
            Err(PostgresError::InUse { .. }) => {}
            Err(PostgresError::MissingBinaries) => {
                return super::skip("PostgreSQL server binaries are not installed");
            }
            Err(error) => panic!("{error}"),
        }
    }
    None
}

fn own_uid() -> u32 {
    std::fs::metadata("/proc/self").unwrap().uid()
}

/// A run that was killed did not drop its databases.
async fn drop_leftovers(server: &EmbeddedPostgres) {
    let client = connect(&server.url_of("postgres")).await;
    let rows = client.query("SELECT datname::text FROM pg_database WHERE datname LIKE 'test\\_%'", &[]).await.unwrap();
    for row in rows {
        let name: String = row.get(0);
        client.batch_execute(&format!("DROP DATABASE {name} WITH (FORCE)")).await.unwrap();
    }
}
