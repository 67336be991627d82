//! Whom the server runs as: PostgreSQL refuses to run as root, so root hands the cluster to an account without rights.

use std::{
    ffi::CString,
    io,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, lchown},
    path::Path,
};

use super::PostgresError;

/// Accounts tried in turn.
const NAMES: [&str; 2] = ["postgres", "nobody"];

/// A user other than root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Account {
    pub uid: u32,
    pub gid: u32,
    name: &'static str,
}

impl Account {
    /// The account to change to; `None` when this process is not root and the server simply runs as the same user.
    pub fn to_drop_to() -> Result<Option<Self>, PostgresError> {
        // SAFETY: no arguments, cannot fail.
        if unsafe { libc::geteuid() } != 0 {
            return Ok(None);
        }
        match NAMES.into_iter().find_map(Self::look_up) {
            Some(account) => Ok(Some(account)),
            None => Err(PostgresError::NoAccount),
        }
    }

    fn look_up(name: &'static str) -> Option<Self> {
        let c_name = CString::new(name).ok()?;
        let mut entry = std::mem::MaybeUninit::<libc::passwd>::uninit();
        let mut found = std::ptr::null_mut();
        // A passwd line is far shorter; a longer one only means that the account is passed over.
        let mut buffer = [0; 4096];
        // SAFETY: every pointer is valid for the call, the length is that of the buffer; `found` is null on failure.
        let code = unsafe {
            libc::getpwnam_r(c_name.as_ptr(), entry.as_mut_ptr(), buffer.as_mut_ptr(), buffer.len(), &mut found)
        };
        if code != 0 || found.is_null() {
            return None;
        }
        // SAFETY: `found` is not null, so the entry is filled in.
        let entry = unsafe { entry.assume_init() };
        (entry.pw_uid != 0).then_some(Self { uid: entry.pw_uid, gid: entry.pw_gid, name })
    }

    /// Gives a folder and all in it to the account; links themselves, never what they point to.
    pub fn own(self, path: &Path) -> io::Result<()> {
        let metadata = path.symlink_metadata()?;
        if metadata.uid() != self.uid || metadata.gid() != self.gid {
            lchown(path, Some(self.uid), Some(self.gid))?;
        }
        if metadata.is_dir() {
            for entry in std::fs::read_dir(path)? {
                self.own(&entry?.path())?;
            }
        }
        Ok(())
    }

    /// Lets the account pass through `folder`, which is ours, and checks that it can get there at all.
    pub fn check_reach(self, folder: &Path) -> Result<(), PostgresError> {
        let io = |source| PostgresError::Io { what: "let the server's account into", path: folder.to_owned(), source };
        let mode = folder.metadata().map_err(io)?.permissions().mode();
        if mode & 0o001 == 0 {
            std::fs::set_permissions(folder, std::fs::Permissions::from_mode(mode | 0o011)).map_err(io)?;
        }
        for ancestor in folder.ancestors().skip(1) {
            let metadata = ancestor.metadata().map_err(io)?;
            let bit = if metadata.uid() == self.uid {
                0o100
            } else if metadata.gid() == self.gid {
                0o010
            } else {
                0o001
            };
            if metadata.permissions().mode() & bit == 0 {
                let (account, barrier) = (self.name, ancestor.to_owned());
                return Err(PostgresError::OutOfReach { account, folder: folder.to_owned(), barrier });
            }
        }
        Ok(())
    }
}
