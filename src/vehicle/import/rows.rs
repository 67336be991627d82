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
    /// The table that keeps rows of one key that contradict each other. The dataset then has a column `contradictory`.
    const CONTRADICTIONS: Option<&'static str> = None;
    /// Whether what such rows agree on is taken in their place, as [`agreed`](Stored::agreed) says it.
    const AGREES: bool = Self::CONTRADICTIONS.is_some();
    /// What two rows in use cannot both have, as [`exclusive`](Stored::exclusive) in SQL.
    const EXCLUSIVE: Option<Exclusive> = None;

    fn values(&self) -> Vec<&(dyn ToSql + Sync)>;

    /// Whether the row cannot be true by itself.
    fn contradicts_itself(&self) -> bool {
        false
    }

    /// What this row has and, being in use, has alone.
    fn exclusive(&self) -> Option<&str> {
        None
    }

    /// Marks the row as contradictory, where the dataset has such a mark.
    fn flag(&mut self) {}

    /// What rows of one key agree on, marked as contradictory where there is such a mark, and the columns in which they do
    /// not. `None` where such rows are not kept.
    fn agreed(_rows: &[&Self]) -> Option<(Self, Vec<&'static str>)>
    where
        Self: Sized,
    {
        None
    }
}

/// A column whose value belongs to one row in use.
#[derive(Clone, Copy, Debug)]
pub struct Exclusive {
    pub column: &'static str,
    /// Whether a row is in use and its value means something; `@` is the table's alias.
    pub in_use: &'static str,
}

/// How a row is reported that cannot be true by itself.
pub const CONTRADICTS_ITSELF: &str = "fuel and emission_stage cannot both be true: kept and flagged";

/// How a row is reported that another contradicts, both being taken as what they agree on.
pub fn contradicts<E: Stored>(other: u64, columns: &[&str]) -> String {
    let kept = if E::CONTRADICTIONS.is_some() { "kept and flagged" } else { "kept as what they agree on" };
    format!("contradicts row {other} in {}: {kept}", columns.join(", "))
}

/// How a row in use is reported that shares what only one vehicle has.
pub fn shares(other: u64, column: &str) -> String {
    format!("has the {column} of row {other}, and both are in use: kept and flagged")
}

/// A row of a CSV file.
pub trait Row: Stored + Sized {
    const HEADER: Columns;

    /// The reason of a refusal names the column.
    fn parse(cells: &Cells) -> Result<Self, String>;
}
