//! What the fuzz targets call, apart from the fuzzer, so that ordinary tests replay the corpus through the same functions.

pub use dieselwatch;

pub mod targets;
