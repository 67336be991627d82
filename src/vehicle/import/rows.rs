//! One type per dataset: what a row holds once every cell was checked, and which columns of the database it fills.

mod device;
mod list;
mod station;
mod vehicle;
mod zone;

use tokio_postgres::types::{ToSql, Type};

pub use device::{DeviceRow, protocol_of};
pub use list::ListRow;
pub use station::StationRow;
pub use vehicle::{StoredVehicle, VehicleRow};
pub use zone::ZoneRow;

use super::sheet::{Cells, Columns};

/// A column of a table.
#[derive(Clone, Debug)]
pub struct Column {
    pub name: &'static str,
    pub of: Type,
}

/// Shape of the constant tables below.
const fn column(name: &'static str, of: Type) -> Column {
    Column { name, of }
}

/// A row that `apply` can store.
pub trait Stored: Send + 'static {
    /// The table that keeps every version.
    const TABLE: &'static str;
    /// SQL expressions of what tells rows apart, with `@` for the table's alias.
    const KEY: &'static [&'static str];
    /// What the key is in words: "plate and colour".
    const KEY_WORDS: &'static str;
    /// In the order of [`Stored::values`]. The key columns are among them.
    const COLUMNS: &'static [Column];

    fn values(&self) -> Vec<&(dyn ToSql + Sync)>;
}

/// A row of a CSV file.
pub trait Row: Stored + Sized {
    const HEADER: Columns;

    /// The reason of a refusal names the column.
    fn parse(cells: &Cells) -> Result<Self, String>;
}
