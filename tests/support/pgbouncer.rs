//! A real pgbouncer in front of a test's database.

use std::{
    os::unix::{fs::MetadataExt as _, process::CommandExt as _},
    path::PathBuf,
    process::{Command, Stdio},
};

use dieselwatch::embedded::child::KeptChild;
use tempfile::TempDir;

/// Tries to get a port that nobody takes between looking and listening.
const PORT_TRIES: usize = 8;

pub struct PgBouncer {
    child: KeptChild,
    port: u16,
    database: String,
    _folder: TempDir,
}

impl PgBouncer {
    /// In front of the database that `url` (of `support::postgres`) names; `None` where pgbouncer is not installed.
    pub async fn start(url: &str, pool_mode: &str) -> Option<Self> {
        let places = ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer", "/usr/local/bin/pgbouncer"];
        let Some(binary) = places.into_iter().map(PathBuf::from).find(|path| path.is_file()) else {
            return super::skip("pgbouncer is not installed");
        };
        let config: tokio_postgres::Config = url.parse().unwrap();
        let Some(tokio_postgres::config::Host::Unix(socket)) = config.get_hosts().first() else {
            panic!("the test's database is on a socket")
        };
        let database = config.get_dbname().unwrap().to_owned();
        let folder = super::scratch();
        // As whoever owns the server's socket: it refuses to run as root.
        let owner = std::fs::metadata(socket).unwrap();
        if owner.uid() != std::fs::metadata("/proc/self").unwrap().uid() {
            std::os::unix::fs::chown(folder.path(), Some(owner.uid()), Some(owner.gid())).unwrap();
        }
        for _ in 0..PORT_TRIES {
            let port = super::free_port();
            let file = folder.path().join("pgbouncer.ini");
            let text = format!(
                "[databases]\n{database} = host={} user={} dbname={database}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
                 listen_port = {port}\nunix_socket_dir =\nauth_type = any\npool_mode = {pool_mode}\n\
                 default_pool_size = 40\nlogfile = {}\n",
                socket.display(),
                config.get_user().unwrap(),
                folder.path().join("log").display(),
            );
            std::fs::write(&file, text).unwrap();
            let mut command = Command::new(&binary);
            command.arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            if owner.uid() != std::fs::metadata("/proc/self").unwrap().uid() {
                command.uid(owner.uid()).gid(owner.gid());
            }
            let child = KeptChild::spawn(command, libc::SIGKILL).unwrap();
            let listens = super::until("pgbouncer to listen", async || {
                if child.status().is_some() {
                    return Some(false);
                }
                tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok().then_some(true)
            });
            if listens.await {
                return Some(Self { child, port, database, _folder: folder });
            }
        }
        panic!("pgbouncer does not start: {}", std::fs::read_to_string(folder.path().join("log")).unwrap_or_default());
    }

    /// As the key `database.url` takes it.
    pub fn url(&self) -> String {
        format!("postgres://anybody@127.0.0.1:{}/{}", self.port, self.database)
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        self.child.process().signal(libc::SIGKILL);
        self.child.process().wait(super::LIMIT);
    }
}
