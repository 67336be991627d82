//! Logs, metrics and the two books.

pub mod books;
pub mod logs;
pub mod meters;
pub mod metrics;
pub mod process;

pub use books::Books;
pub use meters::Meters;
