//! Whose vehicle it is and which lists it is on.

pub mod facts;
