//! A private PostgreSQL for the tests of this module: shared by the tests that run at the same time, gone with the last.

use std::{
    ffi::CStr,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use tokio_postgres::{Client, NoTls};

/// Ceiling of every wait; nothing takes near as long.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// One database of its own within the shared server.
pub struct Database {
    cluster: Arc<Cluster>,
    name: String,
}

impl Database {
    /// An empty database.
    pub async fn empty() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let cluster = Cluster::shared();
        let name = format!("t{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let admin = cluster.connect("postgres").await;
        admin.batch_execute(&format!("CREATE DATABASE {name}")).await.expect("a database");
        Self { cluster, name }
    }

    /// A database with all tables.
    pub async fn migrated() -> Self {
        let database = Self::empty().await;
        crate::store::migrate::run(&database.connect().await).await.expect("the migrations run");
        database
    }

    pub fn address(&self) -> String {
        format!("host={} user=postgres dbname={}", self.cluster.folder.path().display(), self.name)
    }

    pub async fn connect(&self) -> Client {
        self.cluster.connect(&self.name).await
    }
}

struct Cluster {
    server: Mutex<Child>,
    folder: tempfile::TempDir,
}

impl Cluster {
    fn shared() -> Arc<Self> {
        static CURRENT: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());
        let mut current = CURRENT.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = current.upgrade() {
            return running;
        }
        let started = Arc::new(Self::start());
        *current = Arc::downgrade(&started);
        started
    }

    fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("dw-pg").tempdir().expect("a scratch folder");
        let owner = unprivileged();
        if let Some((uid, gid)) = owner {
            std::os::unix::fs::chown(folder.path(), Some(uid), Some(gid)).expect("chown");
        }
        let data = folder.path().join("data");
        let mut initdb = command("initdb", folder.path(), owner);
        initdb.args(["-U", "postgres", "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C", "-D"]).arg(&data);
        let made = initdb.output().expect("initdb runs");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));

        let mut postgres = command("postgres", folder.path(), owner);
        postgres.arg("-D").arg(&data).arg("-k").arg(folder.path()).args(["-c", "listen_addresses="]);
        postgres.args(["-c", "fsync=off", "-c", "max_connections=60", "-c", "shared_buffers=32MB"]);
        // SAFETY: prctl with these arguments is async-signal-safe and touches nothing but the new process.
        unsafe {
            postgres.pre_exec(|| {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGQUIT);
                Ok(())
            });
        }
        // The signal comes when the *thread* that spawned ends, so one that lives as long as the process spawns.
        let (give, take) = mpsc::channel();
        std::thread::spawn(move || {
            give.send(postgres.spawn()).expect("somebody waits");
            loop {
                std::thread::park();
            }
        });
        let server = take.recv().expect("spawned").expect("postgres runs");
        Self { server: Mutex::new(server), folder }
    }

    async fn connect(&self, database: &str) -> Client {
        let address = format!("host={} user=postgres dbname={database}", self.folder.path().display());
        let client = eventually("the server answers", async || {
            let (client, connection) = tokio_postgres::connect(&address, NoTls).await.ok()?;
            tokio::spawn(connection);
            Some(client)
        });
        client.await
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let server = self.server.get_mut().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: a plain system call; the child is ours and not yet waited for, so the id is its own.
        unsafe { libc::kill(server.id() as i32, libc::SIGQUIT) };
        let _ = server.wait();
    }
}

/// Asks until there is an answer.
pub async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn command(name: &str, folder: &Path, owner: Option<(u32, u32)>) -> Command {
    let mut command = Command::new(program(name));
    command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if let Some((uid, gid)) = owner {
        command.uid(uid).gid(gid);
    }
    command
}

fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let installed = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    folders.extend(installed.map(|version| version.path().join("bin")));
    let found = folders.into_iter().map(|folder| folder.join(name)).find(|program| program.is_file());
    found.unwrap_or_else(|| panic!("`{name}` is not installed (Debian: postgresql)"))
}

/// PostgreSQL refuses to run as root; another user's id then.
fn unprivileged() -> Option<(u32, u32)> {
    // SAFETY: geteuid has no preconditions; getpwnam's static answer is copied before anybody else can ask, because
    // the caller holds the lock of `shared`.
    unsafe {
        if libc::geteuid() != 0 {
            return None;
        }
        let find = |name: &CStr| libc::getpwnam(name.as_ptr()).as_ref().map(|user| (user.pw_uid, user.pw_gid));
        Some(find(c"postgres").or_else(|| find(c"nobody")).expect("a user that is not root"))
    }
}
