//! Where the server binaries are.

use std::path::{Path, PathBuf};

use super::PostgresError;

/// Folder that is looked at before any other.
pub(super) const FOLDER_VARIABLE: &str = "DIESELWATCH_POSTGRES_BIN";

/// A folder that holds both `initdb` and `postgres`.
#[derive(Clone, Debug)]
pub(super) struct Binaries {
    folder: PathBuf,
    /// Major version, such as 15.
    pub major: u32,
}

impl Binaries {
    /// Finds the binaries of the wanted major version, or the newest when none is wanted.
    pub fn find(wanted: Option<u32>) -> Result<Self, PostgresError> {
        let mut found: Vec<Self> = candidates().iter().filter_map(|folder| Self::in_folder(folder)).collect();
        // Stable, so that of the same version the folder named first wins.
        found.sort_by_key(|binaries| std::cmp::Reverse(binaries.major));
        if found.is_empty() {
            return Err(PostgresError::MissingBinaries);
        }
        let versions = found.iter().map(|binaries| binaries.major.to_string()).collect::<Vec<_>>().join(", ");
        let fits = |binaries: &Self| wanted.is_none_or(|wanted| wanted == binaries.major);
        found.into_iter().find(fits).ok_or(PostgresError::OtherVersion { data: wanted.unwrap_or_default(), versions })
    }

    fn in_folder(folder: &Path) -> Option<Self> {
        // Links are followed, because the server looks for its own files beside the real binary.
        let folder = folder.join("initdb").canonicalize().ok()?.parent()?.to_owned();
        let output = std::process::Command::new(folder.join("postgres")).arg("--version").output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout);
        Some(Self { folder, major: major(&text)? })
    }

    pub fn initdb(&self) -> PathBuf {
        self.folder.join("initdb")
    }

    pub fn postgres(&self) -> PathBuf {
        self.folder.join("postgres")
    }
}

/// The environment's folder, then `PATH`, then where distributions put versions side by side.
fn candidates() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = std::env::var_os(FOLDER_VARIABLE).into_iter().map(PathBuf::from).collect();
    if !folders.is_empty() {
        return folders;
    }
    folders.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    for (parent, prefix) in [("/usr/lib/postgresql", ""), ("/usr", "pgsql-"), ("/opt", "postgresql")] {
        let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
        let versions = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix));
        folders.extend(versions.map(|entry| entry.path().join("bin")));
    }
    folders.retain(|folder| folder.join("initdb").is_file());
    folders
}

/// 15 of `postgres (PostgreSQL) 15.20 (Debian 15.20-0+deb12u1)`.
fn major(text: &str) -> Option<u32> {
    let version = text.split_once("(PostgreSQL) ")?.1;
    let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_the_first_number() {
        assert_eq!(major("postgres (PostgreSQL) 15.20 (Debian 15.20-0+deb12u1)\n"), Some(15));
        assert_eq!(major("postgres (PostgreSQL) 18beta1\n"), Some(18));
        assert_eq!(major("something else"), None);
    }
}
