//! The folder of a cluster: made once, cleared of what an earlier run left behind, locked while in use.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    os::unix::{
        ffi::OsStrExt as _,
        fs::{DirBuilderExt as _, MetadataExt as _},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use super::{
    PostgresError, SUPERUSER,
    account::Account,
    binaries::Binaries,
    postmaster::{stop, working_in, works_in},
};
use crate::embedded::child::{Process, end_with_thread};

/// `sun_path` holds 108 bytes with its closing NUL.
const SOCKET_PATH_MAX_BYTES: usize = 107;
/// What the server adds to the socket folder.
const SOCKET_NAME: &str = "/.s.PGSQL.5432";

/// A cluster on disk that is ours until this is dropped.
#[derive(Debug)]
pub(super) struct Cluster {
    pub binaries: Binaries,
    pub account: Option<Account>,
    pub data: PathBuf,
    pub socket_folder: PathBuf,
    pub log: PathBuf,
    _lock: File,
}

impl Cluster {
    /// Takes hold of the folder, ends an orphan of an earlier run, and makes the cluster if there is none. Blocks.
    pub fn open(folder: &Path) -> Result<Self, PostgresError> {
        let account = Account::to_drop_to()?;
        fs::create_dir_all(folder).map_err(io("create", folder))?;
        let folder = folder.canonicalize().map_err(io("resolve", folder))?;
        if let Some(account) = account {
            account.check_reach(&folder)?;
        }
        let lock = lock(&folder)?;
        let data = folder.join("data");
        end_orphans(&data)?;
        let binaries = Binaries::find(version_of(&data)?)?;
        let socket_folder = make_socket_folder(&folder, account)?;
        let cluster = Self { binaries, account, socket_folder, log: folder.join("postgres.log"), data, _lock: lock };
        if !cluster.data.exists() {
            cluster.make(&folder)?;
        }
        if let Some(account) = account {
            // Files of a run under another account, for instance before somebody used sudo.
            account.own(&cluster.data).map_err(io("hand over", &cluster.data))?;
        }
        Ok(cluster)
    }

    /// Makes the cluster beside its place and moves it there, so that a half-made one is never taken for whole.
    fn make(&self, folder: &Path) -> Result<(), PostgresError> {
        let partial = folder.join("data.partial");
        if partial.exists() {
            fs::remove_dir_all(&partial).map_err(io("remove", &partial))?;
        }
        make_folder(&partial, self.account)?;
        let mut initdb = Command::new(self.binaries.initdb());
        initdb.args(["--username", SUPERUSER, "--encoding=UTF8", "--locale=C.UTF-8", "--data-checksums"]);
        // The socket folder's mode is the door; behind it nobody asks for a password.
        initdb.args(["--auth-local=trust", "--auth-host=reject", "--no-instructions", "--pgdata"]).arg(&partial);
        initdb.current_dir(folder).stdin(Stdio::null());
        self.confine(&mut initdb);
        end_with_thread(&mut initdb, libc::SIGKILL);
        let output = initdb.output().map_err(io("run", &self.binaries.initdb()))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(PostgresError::Initdb { status: output.status, said });
        }
        fs::rename(&partial, &self.data).map_err(io("move into place", &partial))
    }

    /// Makes a command run as the cluster's account.
    pub fn confine(&self, command: &mut Command) {
        if let Some(Account { uid, gid, .. }) = self.account {
            // `std` drops the supplementary groups of root by itself when the user changes.
            command.uid(uid).gid(gid);
        }
    }
}

fn lock(folder: &Path) -> Result<File, PostgresError> {
    let path = folder.join("lock");
    let mut options = OpenOptions::new();
    let file = options.create(true).append(true).open(&path).map_err(io("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(PostgresError::InUse { folder: folder.to_owned() }),
        Err(TryLockError::Error(source)) => Err(io("lock", &path)(source)),
    }
}

/// Ends what an earlier run left in the data folder. Its parent is gone: the lock is ours.
///
/// The server normally dies with its parent; this is for one that was slow to, and for a `postmaster.pid` whose number
/// belongs to somebody else by now, with which the server would refuse to start.
fn end_orphans(data: &Path) -> Result<(), PostgresError> {
    let pid_file = data.join("postmaster.pid");
    let pid = fs::read_to_string(&pid_file).ok().and_then(|text| text.lines().next()?.trim().parse::<i32>().ok());
    if let Some(process) = pid.and_then(|pid| Process::open(pid).ok()) {
        if works_in(process.pid, data) {
            tracing::warn!(pid = process.pid, "stopping a database server that an earlier run left behind");
            if !stop(&process) {
                return Err(PostgresError::Orphan { pid: process.pid });
            }
        } else {
            end_backends(data)?;
            remove_file(&pid_file)?;
        }
    }
    end_backends(data)
}

/// Server processes without a postmaster end by themselves as soon as they notice; a busy one is helped along.
fn end_backends(data: &Path) -> Result<(), PostgresError> {
    for process in working_in(data).into_iter().filter_map(|pid| Process::open(pid).ok()) {
        process.signal(libc::SIGQUIT);
        if !process.wait(Duration::from_secs(10)) {
            return Err(PostgresError::Orphan { pid: process.pid });
        }
    }
    Ok(())
}

fn remove_file(path: &Path) -> Result<(), PostgresError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(io("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Major version of an existing cluster.
fn version_of(data: &Path) -> Result<Option<u32>, PostgresError> {
    if !data.exists() {
        return Ok(None);
    }
    let path = data.join("PG_VERSION");
    let text = fs::read_to_string(&path).map_err(io("read", &path))?;
    match text.trim().parse() {
        Ok(major) => Ok(Some(major)),
        Err(_) => Err(PostgresError::NotACluster { data: data.to_owned() }),
    }
}

/// `socket` beside the data or, where that path is too long for a socket, a folder of our own among temporary files.
fn make_socket_folder(folder: &Path, account: Option<Account>) -> Result<PathBuf, PostgresError> {
    let near = folder.join("socket");
    let fits = |path: &Path| path.as_os_str().as_bytes().len() + SOCKET_NAME.len() <= SOCKET_PATH_MAX_BYTES;
    // An unguessable new name, because others may create files beside it.
    let far = || std::env::temp_dir().join(format!("dieselwatch-{:016x}", rand::random::<u64>()));
    let path = if fits(&near) { near } else { far() };
    if !fits(&path) {
        return Err(PostgresError::PathTooLong { path });
    }
    make_folder(&path, account)?;
    Ok(path)
}

/// Makes a folder that only the account may enter; one that is there must be a folder of ours.
fn make_folder(path: &Path, account: Option<Account>) -> Result<(), PostgresError> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(io("create", path)(error)),
        _ => {}
    }
    let metadata = path.symlink_metadata().map_err(io("look at", path))?;
    if !metadata.is_dir() {
        return Err(io("use", path)(std::io::ErrorKind::NotADirectory.into()));
    }
    if let Some(account) = account
        && metadata.uid() != account.uid
    {
        account.own(path).map_err(io("hand over", path))?;
    }
    Ok(())
}

pub(super) fn io(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> PostgresError + use<> {
    let path = path.to_owned();
    move |source| PostgresError::Io { what, path, source }
}
