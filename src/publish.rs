//! Events: from a finding to the police's Kafka topics, each once and in one order.
//!
//! # The protocol
//!
//! 1. The transaction that makes a finding inserts its events ([`outbox::insert`]). They are committed together or not at
//!    all, so an event is never lost and never invented.
//! 2. One replica leads: it holds an advisory lock in the database session in which it runs *every* statement of the
//!    relay. If the session is lost, the lock is lost and no further statement is possible.
//! 3. The leader gives committed rows a `position`, counting up, in a statement that commits by itself (`outbox::step`).
//!    Only rows whose position is committed are sent.
//! 4. Batches go to Kafka in the order of positions, one transaction after the other, over all topics and partitions, with
//!    a `transactional.id` that all replicas share. Each record carries `position` and `origin` (the database's id) as
//!    headers.
//! 5. After a Kafka commit the next statement of the leader notes how far it came. The note may be lost; it only says where
//!    to look.
//! 6. Whoever opens a line to Kafka first calls `init_transactions`, then reads the committed end of every partition from
//!    the noted offsets on, takes the highest position found as the point reached, and reads what follows from the table.
//!
//! # Why nothing is repeated and nothing left out
//!
//! *What is in Kafka is always all positions up to some `S`* (but for events of which not even a stand-in goes, which are
//! marked as such before anything after them is sent): a transaction is all or nothing, holds consecutive positions, and begins only
//! after the one before it was committed. So the highest position in any partition is `S`, and sending `S + 1` and what
//! follows neither repeats nor skips. It remains that `S` is read correctly and that nobody sends from an older one:
//!
//! | case | why it holds |
//! |---|---|
//! | crash before the Kafka commit | `init_transactions` rolls the open transaction back; it is not below `S` |
//! | crash after it, before the note | the records are found in step 6 |
//! | commit whose answer is lost | the line is dropped; `init_transactions` returns only after the coordinator has finished or rolled back the transaction, then step 6 finds which |
//! | a leader that lost its session but not its process | what it sends before the successor's `init_transactions` is seen by the successor's reading, which comes later; what it sends after that is refused, because its producer is fenced |
//! | such a leader opens a new line and fences its successor | it cannot fill it: a new line is filled by a statement in the session with the lock. The successor fails, opens again and reads again |
//! | another producer's open transaction | hides what we committed behind it; the reading waits until the read-committed end has passed the end of the log as it was after fencing |
//! | other databases in the same topics | `origin` tells the records apart |
//! | partitions added | unknown partitions are read from their start |
//! | topic deleted and made again, records expired | noted offsets outside the partition are ignored; the note in the database is a lower bound of `S` |
//! | database restored from a backup | `S` is beyond the counter: it is moved there before new positions are given to Kafka |
//!
//! Not covered: a failover to a replica that has not got the last commits (`synchronous_commit` with synchronous standbys
//! prevents it), and a restore from before the first use of Kafka. Both can send an event a second time under another
//! position; its `id` is the same.
//!
//! Order: per key the order in which revisions were written; over everything, the order of positions, which the records
//! of each partition follow.
//!
//! # What does not fit
//!
//! An event that is larger than its topic takes is found before it is sent ([`kafka`] asks what that is) and marked in the
//! table; a small event goes in its place, with the same key, headers and position, that names where to fetch the whole
//! ([`event::stand_in`]). What is marked stays marked, so that a crash sends the same again. [`refused`] keeps it until it
//! is sent again.
//!
//! # Who waits for whom
//!
//! Nobody who stores waits for the relay: a commit is followed by [`Relay::nudge`], which sets a flag. A replica that does
//! not lead passes the nudge on with `NOTIFY`; the storing transactions do not notify, because PostgreSQL makes the
//! commits of notifying transactions wait for one another. Without Kafka, or while it is away, positions are given all the
//! same and [`feed`] serves the events.
//!
//! # Why not
//!
//! * Position = the identity column: a transaction that commits late would be passed over.
//! * Reading `pg_snapshot_xmin` to find a safe horizon: one long transaction anywhere would hold up all events.
//! * An idempotent producer without transactions: a predecessor that is not quite dead could not be fenced.
//! * Logical decoding: needs a replication slot, which fills the disk when nobody reads it.

pub mod event;
pub mod feed;
mod floor;
pub mod kafka;
mod leader;
mod link;
pub mod outbox;
mod queue;
pub mod refused;
mod relay;
mod session;
pub mod status;

pub use event::Event;
pub use feed::Feed;
pub use relay::{Relay, start};
pub use session::{OnMessage, SETTINGS, Sessions};
pub use status::Status;
