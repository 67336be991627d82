//! Client-id slots, leased in the database.
//!
//! A broker keeps a session for every client id that was ever in the shared group, and deals messages to it whether
//! anybody is connected or not. So ids must not be invented: they are `{prefix}-{slot}` with the lowest slots that are
//! free, leased in `ingest_slot` under the database's clock.
//!
//! - A replica holds as many slots as it has connections: first those already in its own name (it was killed and came
//!   back under the same name), then the lowest that are free (released, or their lease has run out), then new ones.
//! - A slot that has been free for [`LeaseArgs::orphan_after`] and that nobody wanted has a session behind it with
//!   messages that would be stranded. A living replica takes it as an additional connection, leaves the group with it,
//!   takes what the session holds, and deletes the slot. It is not handed to the next replica that appears: that one
//!   makes a slot of its own, and sessions do not multiply, because those of the dead are emptied and left to expire.
//! - Lost is a lease when the database says that somebody else has it; the connection then ends. While the database
//!   cannot be asked nobody is cut off: others could not take the slot without it either, and a client that is cut off
//!   from the database alone is thrown out by the broker when its successor connects with the same client id, after
//!   which none of its acknowledgements counts. So a restart of the database costs no redelivery.

use std::{collections::BTreeSet, time::Duration};

use tokio_postgres::Client;

use crate::store::{
    connect::{ConnectError, Connector},
    error::describe,
};

/// Where client-id slots come from.
pub enum Slots {
    /// These and no others, without a database; for tests and tools.
    Fixed(Vec<u16>),
    Leased(Box<LeaseArgs>),
}

/// How slots are leased.
#[derive(Clone)]
pub struct LeaseArgs {
    pub database: Connector,
    /// Names this process in the table; unique among those that run.
    pub holder: String,
    /// How long a slot stays ours without a sign of life; renewed three times in that.
    pub lease: Duration,
    /// How long a slot must have been free before its session is emptied; longer than a replica takes to restart.
    pub orphan_after: Duration,
}

impl LeaseArgs {
    /// A lease of 15 seconds, sessions emptied 10 seconds after it ran out.
    pub fn new(database: Connector, holder: impl Into<String>) -> Self {
        let (lease, orphan_after) = (Duration::from_secs(15), Duration::from_secs(10));
        Self { database, holder: holder.into(), lease, orphan_after }
    }
}

/// Sessions of others that one replica empties at a time, so that a survivor is not flooded with connections.
const MAX_ORPHANS: usize = 4;

/// Longest time for one look at the table, connecting included.
const TICK_TIMEOUT: Duration = Duration::from_secs(5);

/// A row of the table as this replica sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Row {
    slot: u16,
    ours: bool,
    free: bool,
    orphaned: bool,
}

/// What to take.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Granted {
    /// To read with, for as long as we run.
    pub own: Vec<u16>,
    /// To empty and give up.
    pub orphans: Vec<u16>,
}

/// What changed at one look at the table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Change {
    pub granted: Granted,
    pub lost: Vec<u16>,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum LeaseError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("{}", describe(.0))]
    Database(#[from] tokio_postgres::Error),
    #[error("no answer from the database within {} s", TICK_TIMEOUT.as_secs())]
    Timeout,
}

/// This replica's leases.
pub(super) struct Leases {
    args: Box<LeaseArgs>,
    prefix: String,
    wanted: usize,
    client: Option<Client>,
    own: BTreeSet<u16>,
    orphans: BTreeSet<u16>,
}

impl Leases {
    pub fn new(args: Box<LeaseArgs>, prefix: String, wanted: usize) -> Self {
        Self { args, prefix, wanted, client: None, own: BTreeSet::new(), orphans: BTreeSet::new() }
    }

    /// How often to call [`Leases::tick`].
    pub fn interval(&self) -> Duration {
        (self.args.lease / 3).max(Duration::from_millis(50))
    }

    /// Renews what is held and takes what is missing, in one transaction.
    ///
    /// # Cancel safety
    /// Dropping the future drops the database connection and with it the transaction; should it have been committed
    /// already, the slots are found under our own name at the next tick.
    pub async fn tick(&mut self, acquire: bool) -> Result<Change, LeaseError> {
        let mut client = match self.client.take() {
            Some(client) if !client.is_closed() => client,
            _ => within(self.args.database.connect("slots")).await?,
        };
        let change = within(self.transact(&mut client, acquire)).await?;
        // Not reached after an error or when dropped: the next tick begins with a new connection.
        self.client = Some(client);
        for slot in &change.lost {
            self.own.remove(slot);
            self.orphans.remove(slot);
        }
        self.own.extend(&change.granted.own);
        self.orphans.extend(&change.granted.orphans);
        Ok(change)
    }

    async fn transact(&self, client: &mut Client, acquire: bool) -> Result<Change, tokio_postgres::Error> {
        let Self { args, prefix, .. } = self;
        let LeaseArgs { holder, lease, orphan_after, .. } = &**args;
        let held: Vec<i32> = self.own.union(&self.orphans).map(|slot| i32::from(*slot)).collect();
        let transaction = client.transaction().await?;
        // One replica at a time: which slot is the lowest free one is not a question of single rows.
        transaction.batch_execute("LOCK TABLE ingest_slot IN SHARE ROW EXCLUSIVE MODE").await?;
        let renewed = transaction
            .query(
                "UPDATE ingest_slot SET lease_until = now() + make_interval(secs => $4)
                 WHERE prefix = $1 AND holder = $2 AND slot = ANY($3) RETURNING slot",
                &[prefix, holder, &held, &lease.as_secs_f64()],
            )
            .await?;
        let kept: BTreeSet<i32> = renewed.iter().map(|row| row.get(0)).collect();
        let is_kept = |slot: &u16| kept.contains(&i32::from(*slot));
        let lost = self.own.union(&self.orphans).filter(|slot| !is_kept(slot)).copied().collect();
        let mut granted = Granted::default();
        if acquire {
            let rows = transaction
                .query(
                    "SELECT slot, holder = $2, lease_until < now(),
                            lease_until + make_interval(secs => $3) < now()
                     FROM ingest_slot WHERE prefix = $1 ORDER BY slot",
                    &[prefix, holder, &orphan_after.as_secs_f64()],
                )
                .await?;
            let rows: Vec<Row> = rows
                .iter()
                .filter_map(|row| {
                    let slot = u16::try_from(row.get::<_, i32>(0)).ok()?;
                    Some(Row { slot, ours: row.get(1), free: row.get(2), orphaned: row.get(3) })
                })
                .collect();
            let own = self.own.iter().copied().filter(is_kept).collect();
            let orphans = self.orphans.iter().copied().filter(is_kept).collect();
            granted = plan(&rows, &own, &orphans, self.wanted);
            let taken: Vec<i32> = granted.own.iter().chain(&granted.orphans).map(|slot| i32::from(*slot)).collect();
            transaction
                .execute(
                    "INSERT INTO ingest_slot (prefix, slot, holder, lease_until)
                     SELECT $1, slot, $2, now() + make_interval(secs => $4) FROM unnest($3::integer[]) AS slot
                     ON CONFLICT (prefix, slot)
                     DO UPDATE SET holder = excluded.holder, lease_until = excluded.lease_until",
                    &[prefix, holder, &taken, &lease.as_secs_f64()],
                )
                .await?;
        }
        transaction.commit().await?;
        Ok(Change { granted, lost })
    }

    /// The session behind the slot is empty and out of the group: nobody needs the slot.
    pub async fn retire(&mut self, slot: u16) -> Result<(), LeaseError> {
        self.orphans.remove(&slot);
        let sql = "DELETE FROM ingest_slot WHERE prefix = $1 AND holder = $2 AND slot = ANY($3)";
        self.give_up(sql, vec![i32::from(slot)]).await
    }

    /// Gives up everything, to be taken at once by whoever comes.
    pub async fn release(&mut self) -> Result<(), LeaseError> {
        let sql = "UPDATE ingest_slot SET holder = '', lease_until = now()
                   WHERE prefix = $1 AND holder = $2 AND slot = ANY($3)";
        let held = self.own.union(&self.orphans).map(|slot| i32::from(*slot)).collect();
        self.give_up(sql, held).await
    }

    async fn give_up(&mut self, sql: &str, slots: Vec<i32>) -> Result<(), LeaseError> {
        let client = match self.client.take() {
            Some(client) if !client.is_closed() => client,
            _ => within(self.args.database.connect("slots")).await?,
        };
        within(client.execute(sql, &[&self.prefix, &self.args.holder, &slots])).await?;
        self.client = Some(client);
        Ok(())
    }
}

/// Which slots to take, from the table and what is held.
fn plan(rows: &[Row], own: &BTreeSet<u16>, orphans: &BTreeSet<u16>, wanted: usize) -> Granted {
    let held = |slot: u16| own.contains(&slot) || orphans.contains(&slot);
    let ours = rows.iter().filter(|row| row.ours && !held(row.slot)).map(|row| row.slot);
    let free = rows.iter().filter(|row| row.free && !row.ours).map(|row| row.slot);
    let used: BTreeSet<u16> = rows.iter().map(|row| row.slot).collect();
    let new = (0..=u16::MAX).filter(|slot| !used.contains(slot));
    let granted: Vec<u16> = ours.chain(free).chain(new).take(wanted.saturating_sub(own.len())).collect();

    // In our own name but more than we want (we ran with more connections before), or left by others.
    let stranded = rows.iter().filter(|row| (row.ours || row.orphaned) && !held(row.slot)).map(|row| row.slot);
    let room = MAX_ORPHANS.saturating_sub(orphans.len());
    let orphans = stranded.filter(|slot| !granted.contains(slot)).take(room).collect();
    Granted { own: granted, orphans }
}

async fn within<T, E: Into<LeaseError>>(work: impl Future<Output = Result<T, E>>) -> Result<T, LeaseError> {
    match tokio::time::timeout(TICK_TIMEOUT, work).await {
        Ok(result) => result.map_err(Into::into),
        Err(_) => Err(LeaseError::Timeout),
    }
}

#[cfg(test)]
#[path = "tests/slots.rs"]
mod tests;
