//! What the history says: findings that depend on more than one reading, made after the commit and kept in step with it.
//!
//! An evaluator claims durable tasks ([`tasks`]), reads the stored facts of each subject, computes with a pure function the
//! complete set of findings that should exist, and reconciles it with the set that does ([`reconcile`]). Run twice it
//! changes nothing; a late reading is just another task, and so is a late report of an inspection ([`recheck`]).
//! [`rejudge`] goes the other way round: corrected limits and lists over what is stored. What a terminal's records say
//! together has tasks and an evaluator of its own ([`terminal`]), because it can wait and comes in other amounts.

pub mod cloned;
pub mod episode;
pub mod evaluator;
pub mod nox;
pub mod recheck;
pub mod reconcile;
pub mod rejudge;
pub mod tasks;
pub mod terminal;
pub mod vehicle;
pub mod window;
