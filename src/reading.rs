//! Values we trust: what decoding yields after every identifier, time and unit was checked once.

pub mod area;
pub mod calendar;
pub mod ids;
pub mod passage;
pub mod plate;
pub mod time;
pub mod validate;
pub mod vin;

pub use area::Area;
pub use ids::{DeviceId, RecordId, StationId};
pub use plate::{Plate, PlateColor, PlateKey};
pub use time::Timestamp;
pub use vin::Vin;
