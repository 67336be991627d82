//! What a database server has to be before anything is entrusted to it, asked of every session that is opened.
//!
//! One function asks ([`examine`]), and every session of this program comes through it (`store::connect`): at start, and
//! after every loss, because the server behind an address may be another one then. What no waiting mends ends the start;
//! what passes, such as a standby before it is promoted, is waited for.

use tokio_postgres::{Client, SimpleQueryMessage, SimpleQueryRow, error::SqlState};

/// `server_version_num` of PostgreSQL 14, the oldest that is tested.
const OLDEST_POSTGRES: u32 = 140_000;

/// Below this, `ON CONFLICT DO NOTHING` on a compressed chunk stopped at the first conflict and lost the rest.
const OLDEST_TIMESCALE: (u32, u32, u32) = (2, 18, 1);

/// Why a session is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    #[error(
        "the database's encoding is {found}, and plates, names and station ids need UTF8; nothing was stored or changed: make a \
         database with CREATE DATABASE name ENCODING 'UTF8' TEMPLATE template0 and name it in database.url"
    )]
    Encoding { found: String },
    #[error(
        "the sessions of the database speak {found} (client_encoding) and not UTF8; nothing was stored or changed: take that \
         setting away from the pooler in between"
    )]
    ClientEncoding { found: String },
    #[error(
        "the server is PostgreSQL {found}, and 14 or newer is needed; nothing was stored or changed: upgrade the server or name \
         another in database.url"
    )]
    PostgresTooOld { found: String },
    #[error(
        "TimescaleDB {found} is older than 2.18.1, which loses rows of a batch after the first duplicate in a compressed \
         chunk (timescaledb issue 7672): upgrade the extension"
    )]
    TimescaleTooOld { found: String },
    #[error(
        "database.url leads through a pooler that hands one server session to several clients (pgbouncer with pool_mode = \
         transaction or statement), where prepared statements, settings, locks, temporary tables and LISTEN do not hold; nothing \
         was stored or changed: set pool_mode = session for this database and user, or connect to the server itself"
    )]
    Pooled,
    #[error(
        "the server is a standby and takes no writes; what was received is kept and tried again: promote it, or name the primary \
         in database.url"
    )]
    Standby,
    #[error(
        "the database takes no writes, its sessions begin read-only (default_transaction_read_only); what was received is kept and \
         tried again: ALTER DATABASE ... SET default_transaction_read_only = off, or the same for the role or the server"
    )]
    ReadOnly,
}

impl Unfit {
    /// Whether it may pass by itself, as a failover does, so that waiting is right.
    pub fn passes(&self) -> bool {
        matches!(self, Unfit::Standby | Unfit::ReadOnly)
    }
}

/// What a session is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// A server that takes no writes now will do.
    Read,
    Write,
}

#[derive(Debug, thiserror::Error)]
pub enum ExamineError {
    #[error(transparent)]
    Unfit(#[from] Unfit),
    #[error(transparent)]
    Statement(#[from] tokio_postgres::Error),
}

/// Asks a fresh session what it leads to, and applies `settings` (statements that end with a semicolon, or nothing).
///
/// By the simple protocol: a prepared statement would need what is still to be found out, that the session stays ours. It
/// is marked, and a mark that is there already, or not there any more, shows a server session shared with others.
pub async fn examine(client: &Client, need: Need, settings: &str) -> Result<(), ExamineError> {
    let asked = client.simple_query(FACTS).await;
    let rows = match asked {
        // So old that it does not know the question.
        Err(error) if error.code() == Some(&SqlState::UNDEFINED_FUNCTION) => {
            return Err(Unfit::PostgresTooOld { found: "of before 9.6".into() }.into());
        }
        asked => asked?,
    };
    let facts = Facts::of(rows.iter().find_map(row));
    facts.judge(need)?;
    // What is acknowledged must have survived a crash, whatever the database or the role sets for others.
    let durable = if facts.asynchronous { "SET synchronous_commit = on;" } else { "" };
    let mark = format!("{:016x}", rand::random::<u64>());
    let rows = client
        .simple_query(&format!(
            "SET dieselwatch.session = '{mark}'; SET standard_conforming_strings = on; \
             SET default_transaction_isolation = 'read committed'; {durable} {settings}"
        ))
        .await;
    rows?;
    let rows = client.simple_query("SELECT current_setting('dieselwatch.session', true)").await?;
    if rows.iter().find_map(row).and_then(|row| row.get(0)) != Some(&*mark) {
        return Err(Unfit::Pooled.into());
    }
    Ok(())
}

const FACTS: &str = "SELECT current_setting('server_version_num'), current_setting('server_version'), \
    current_setting('server_encoding'), current_setting('client_encoding'), \
    coalesce((SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'), ''), \
    coalesce(current_setting('dieselwatch.session', true), ''), \
    pg_is_in_recovery(), current_setting('transaction_read_only'), current_setting('synchronous_commit')";

fn row(message: &SimpleQueryMessage) -> Option<&SimpleQueryRow> {
    match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    }
}

/// The answer to [`FACTS`].
#[derive(Clone, Debug)]
struct Facts {
    version_number: u32,
    version: String,
    encoding: String,
    client_encoding: String,
    timescale: String,
    mark: String,
    standby: bool,
    read_only: bool,
    asynchronous: bool,
}

impl Facts {
    fn of(row: Option<&SimpleQueryRow>) -> Self {
        let text = |place| row.and_then(|row| row.get(place)).unwrap_or_default().to_owned();
        Self {
            version_number: text(0).parse().unwrap_or(0),
            version: text(1),
            encoding: text(2),
            client_encoding: text(3),
            timescale: text(4),
            mark: text(5),
            standby: text(6) == "t",
            read_only: text(7) == "on",
            asynchronous: text(8) == "off",
        }
    }

    /// What no waiting mends comes first, so that it is told even while the server is read-only.
    fn judge(&self, need: Need) -> Result<(), Unfit> {
        if self.version_number < OLDEST_POSTGRES {
            return Err(Unfit::PostgresTooOld { found: self.version.clone() });
        }
        if self.encoding != "UTF8" {
            return Err(Unfit::Encoding { found: self.encoding.clone() });
        }
        if self.client_encoding != "UTF8" {
            return Err(Unfit::ClientEncoding { found: self.client_encoding.clone() });
        }
        if !self.timescale.is_empty() {
            timescale_is_new_enough(&self.timescale)?;
        }
        if !self.mark.is_empty() {
            return Err(Unfit::Pooled);
        }
        match need {
            Need::Write if self.standby => Err(Unfit::Standby),
            Need::Write if self.read_only => Err(Unfit::ReadOnly),
            _ => Ok(()),
        }
    }
}

/// Refuses a version of the extension that loses rows.
pub fn timescale_is_new_enough(version: &str) -> Result<(), Unfit> {
    if version_of(version) < OLDEST_TIMESCALE {
        return Err(Unfit::TimescaleTooOld { found: version.to_owned() });
    }
    Ok(())
}

/// `2.23.1-dev` is (2, 23, 1); a part that is no number counts as 0.
fn version_of(text: &str) -> (u32, u32, u32) {
    let mut parts = text.split(['.', '-']).map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound() -> Facts {
        Facts {
            version_number: 150_020,
            version: "15.20".into(),
            encoding: "UTF8".into(),
            client_encoding: "UTF8".into(),
            timescale: String::new(),
            mark: String::new(),
            standby: false,
            read_only: false,
            asynchronous: false,
        }
    }

    #[test]
    fn each_thing_a_server_lacks_is_named() {
        assert_eq!(sound().judge(Need::Write), Ok(()));
        let with = |change: fn(&mut Facts)| {
            let mut facts = sound();
            change(&mut facts);
            (facts.judge(Need::Write).err(), facts.judge(Need::Read).err())
        };
        let both = |unfit: Unfit| (Some(unfit.clone()), Some(unfit));
        let encoding = |found: &str| Unfit::Encoding { found: found.into() };
        assert_eq!(with(|f| f.encoding = "LATIN1".into()), both(encoding("LATIN1")));
        assert_eq!(with(|f| f.encoding = "SQL_ASCII".into()), both(encoding("SQL_ASCII")));
        assert_eq!(with(|f| f.client_encoding = "GBK".into()), both(Unfit::ClientEncoding { found: "GBK".into() }));
        let old = |f: &mut Facts| (f.version_number, f.version) = (130_022, "13.22".into());
        assert_eq!(with(old), both(Unfit::PostgresTooOld { found: "13.22".into() }));
        assert_eq!(with(|f| f.version_number = 140_000), (None, None));
        assert_eq!(with(|f| f.timescale = "2.18.0".into()), both(Unfit::TimescaleTooOld { found: "2.18.0".into() }));
        assert_eq!(with(|f| f.timescale = "2.18.1".into()), (None, None));
        assert_eq!(with(|f| f.mark = "0123".into()), both(Unfit::Pooled));
        assert_eq!(with(|f| f.standby = true), (Some(Unfit::Standby), None));
        assert_eq!(with(|f| f.read_only = true), (Some(Unfit::ReadOnly), None));
        // No answer at all is no server that may be used.
        assert!(Facts::of(None).judge(Need::Read).is_err());
    }

    #[test]
    fn a_lasting_fault_is_told_before_a_passing_one() {
        let facts = Facts { read_only: true, encoding: "LATIN1".into(), ..sound() };
        let unfit = facts.judge(Need::Write).expect_err("neither");
        assert!(!unfit.passes() && unfit.to_string().contains("LATIN1"), "{unfit}");
        assert!(Unfit::ReadOnly.passes() && Unfit::Standby.passes() && !Unfit::Pooled.passes());
    }

    #[test]
    fn versions_compare_as_numbers() {
        assert!(version_of("2.9.3") < OLDEST_TIMESCALE);
        assert!(version_of("2.18.0") < OLDEST_TIMESCALE);
        assert!(version_of("2.18.1") >= OLDEST_TIMESCALE);
        assert!(version_of("2.23.1-dev") >= OLDEST_TIMESCALE);
    }
}
