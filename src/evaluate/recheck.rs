//! The rechecks that vehicles passed, as the inspection stations report them.
//!
//! Of each report the highest revision holds, whichever vehicle it names: a correction that moves a report to another
//! vehicle takes the reset away from the first. Which kinds of inspection reset a series is said by the table of limits;
//! an inspection that was failed resets nothing, and neither does one of another kind.

use std::collections::HashMap;

use tokio_postgres::Transaction;

use super::episode::Recheck;
use crate::{judge::RuleBook, reading::Timestamp, vehicle::import::inspections::InspectionRow};

/// One inspection as it holds now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passed {
    station: String,
    report_no: String,
    at: Timestamp,
    whole_day: bool,
}

impl Passed {
    /// A report that was passed, out of a file.
    pub fn of(row: &InspectionRow) -> Self {
        let InspectionRow { station, report_no, inspected_at, whole_day, .. } = row;
        Self { station: (**station).into(), report_no: (**report_no).into(), at: *inspected_at, whole_day: *whole_day }
    }

    pub fn recheck(&self) -> Recheck<'_> {
        Recheck { at: self.at, station: &self.station, report_no: &self.report_no, whole_day: self.whole_day }
    }
}

/// The rechecks of each vehicle, in no order.
pub async fn load(
    transaction: &Transaction<'_>,
    plate_keys: &[i64],
    book: &RuleBook,
) -> Result<HashMap<i64, Vec<Passed>>, tokio_postgres::Error> {
    let kinds: Vec<&str> = book.limits.episode().reset_kinds().map(|kind| kind.name()).collect();
    if kinds.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = transaction
        .query(
            "SELECT plate_key, station, report_no, inspected_at, whole_day FROM inspection i \
             WHERE plate_key = ANY($1) AND passed AND kind = ANY($2) AND NOT EXISTS (SELECT FROM inspection later \
               WHERE later.station = i.station AND later.report_no = i.report_no AND later.revision > i.revision)",
            &[&plate_keys, &kinds],
        )
        .await?;
    let mut by_vehicle: HashMap<i64, Vec<Passed>> = HashMap::new();
    for row in &rows {
        by_vehicle.entry(row.get(0)).or_default().push(Passed {
            station: row.get(1),
            report_no: row.get(2),
            at: row.get(3),
            whole_day: row.get(4),
        });
    }
    Ok(by_vehicle)
}
