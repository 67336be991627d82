//! The rechecks that vehicles passed, as the inspection stations report them.
//!
//! Of each report the highest revision holds, whichever vehicle it names: a correction that moves a report to another
//! vehicle takes the reset away from the first. That happens by a person's decision only: as long as two reports under one
//! number contradict each other, both count for both vehicles (see `vehicle::import::inspections`). Which kinds of
//! inspection reset a series is said by the table of limits; an inspection that was failed resets nothing, and neither does
//! one of another kind.

use std::collections::HashMap;

use tokio_postgres::Transaction;

use super::episode::Recheck;
use crate::{judge::RuleBook, reading::Timestamp, vehicle::import::inspections::InspectionRow};

/// One inspection as it holds now, or as it may hold once somebody decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passed {
    station: String,
    report_no: String,
    at: Timestamp,
    whole_day: bool,
    undecided: bool,
}

impl Passed {
    /// A report that was passed, out of a file.
    pub fn of(row: &InspectionRow) -> Self {
        let InspectionRow { station, report_no, inspected_at, whole_day, .. } = row;
        let (station, report_no) = ((**station).into(), (**report_no).into());
        Self { station, report_no, at: *inspected_at, whole_day: *whole_day, undecided: false }
    }

    /// A report that was passed, of this vehicle or of another one.
    pub fn undecided(row: &InspectionRow) -> Self {
        Self { undecided: true, ..Self::of(row) }
    }

    pub fn recheck(&self) -> Recheck<'_> {
        let Self { station, report_no, at, whole_day, undecided } = self;
        Recheck { at: *at, station, report_no, whole_day: *whole_day, undecided: *undecided }
    }
}

/// Behind UNION ALL: the two reports of each open conflict, for both vehicles, but for what holds anyway.
const HELD_AND_UNDECIDED: &str = "\
    SELECT plate_key, station, report_no, inspected_at, whole_day, false FROM inspection i \
    WHERE plate_key = ANY($1) AND passed AND kind = ANY($2) AND NOT withdrawn AND NOT EXISTS ( \
      SELECT FROM inspection later WHERE later.station = i.station AND later.report_no = i.report_no \
      AND later.edition = i.edition AND later.revision > i.revision) \
    UNION ALL \
    SELECT p.plate_key, v.station, c.report_no, v.inspected_at, v.whole_day, true \
    FROM (SELECT id FROM inspection_conflict WHERE plate_key = ANY($1) \
      UNION SELECT o.id FROM inspection h JOIN inspection_conflict o ON (o.first_station, o.report_no, o.edition) \
        = (h.station, h.report_no, h.edition) WHERE h.plate_key = ANY($1)) AS of_vehicle \
    JOIN inspection_conflict c USING (id) \
    CROSS JOIN LATERAL (SELECT * FROM inspection i WHERE (i.station, i.report_no, i.edition) \
      = (c.first_station, c.report_no, c.edition) ORDER BY i.revision DESC LIMIT 1) AS f \
    CROSS JOIN LATERAL (VALUES \
      (1, c.station, c.inspected_at, c.whole_day, c.kind, c.passed), \
      (2, f.station, f.inspected_at, f.whole_day, f.kind, f.passed AND NOT f.withdrawn)) \
      AS v (which, station, inspected_at, whole_day, kind, passed) \
    CROSS JOIN LATERAL (SELECT DISTINCT k FROM (VALUES (c.plate_key), (f.plate_key)) AS b (k)) AS p (plate_key) \
    WHERE p.plate_key = ANY($1) AND v.passed AND v.kind = ANY($2) \
      AND NOT (v.which = 2 AND p.plate_key = f.plate_key) \
      AND NOT EXISTS (SELECT FROM inspection_decision d WHERE d.conflict = c.id)";

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
    let rows = transaction.query(HELD_AND_UNDECIDED, &[&plate_keys, &kinds]).await?;
    let mut by_vehicle: HashMap<i64, Vec<Passed>> = HashMap::new();
    for row in &rows {
        by_vehicle.entry(row.get(0)).or_default().push(Passed {
            station: row.get(1),
            report_no: row.get(2),
            at: row.get(3),
            whole_day: row.get(4),
            undecided: row.get(5),
        });
    }
    Ok(by_vehicle)
}
