//! What the history says: findings that depend on more than one reading, made after the commit and kept in step with it.
//!
//! An evaluator claims durable tasks ([`tasks`]), reads the stored facts of each subject, computes with a pure function the
//! complete set of findings that should exist, and reconciles it with the set that does ([`reconcile`]). Run twice it
//! changes nothing; a late reading is just another task.

pub mod episode;
pub mod evaluator;
pub mod nox;
pub mod reconcile;
pub mod tasks;
pub mod vehicle;
pub mod window;
