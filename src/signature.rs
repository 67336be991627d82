//! Whether the SM2 signature of a terminal's packet holds: verified after the commit, from what is stored.
//!
//! The storing transaction leaves a row in `signature_task` for every packet that may be signed, and that is all that
//! ingest knows of it. A verifier ([`verifier`]) claims rows, reads packets and keys, has a pool of threads of its own do
//! the arithmetic ([`pool`]), and writes results, keys and findings in one transaction. When verification is slower than
//! the packets come, the queue grows and the lag shows; nothing else waits.
//!
//! Decisions:
//!
//! - **A stored packet never changes.** Its flag `signature_unverified` says what decoding knew. What came of it later is the
//!   packet's row in `signature_check`: `ok`, `failed`, `no_key`, `malformed`, `skipped`, `unsigned` or `unsupported`.
//! - **The key in force when the packet was sent** decides, so a key that arrives late changes earlier results: its packets
//!   are put back into the queue by the transaction that takes the key in. A key comes from an activation whose own
//!   signature holds, or from the register (`devices.csv`, column `public_key`); what the register names outranks what a
//!   terminal says of itself.
//! - **A sample is chosen by hash**, of the packet and a secret of the database: the same packets on every replica and after
//!   every resend, whatever the load, and nobody outside can make a packet that the sample passes over. Activations are
//!   always verified.
//! - **A failed signature waits for a person.** Which bytes are signed is in no public text; a wrong guess in the
//!   configuration must not accuse a whole fleet.
//! - **Nothing is bridged.** Several signatures in one packet (dialect 3) are `unsupported`, because what each of them covers
//!   is not known; an `unsigned` packet is stated and accuses nobody, because no rule says who must sign.
//!
//! Rejected: verification between decode and commit (0.3 ms a packet would be ten times everything else, and a reading
//! would wait for a verdict about its envelope); a scan by time (rows come in any order of time, so a watermark misses some).

pub mod check;
pub mod key;
pub mod pool;
pub mod report;
pub mod store;
pub mod verifier;

pub use check::{Outcome, Rules};
pub use key::PublicKey;
