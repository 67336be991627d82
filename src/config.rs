//! Typed configuration: an annotated TOML file, then environment variables, checked whole before anything starts.

pub mod sections;

pub use sections::*;
