//! A line of a list.
//!
//! Lines that name one plate, colour and beginning are one entry. Where they differ in the rest, the entry holds what none of
//! them denies: it ends with the earliest end that any gives, and a reason or document in dispute is none. To take neither
//! would let a listed vehicle drop off the list because somebody typed a document's number twice.

use tokio_postgres::types::{ToSql, Type};

use super::{Column, Row, Stored, column};
use crate::{
    reading::PlateKey,
    vehicle::{
        import::{
            fields,
            sheet::{Cells, Columns},
        },
        lists::ListEntry,
    },
};

#[derive(Clone, Debug, PartialEq)]
pub struct ListRow {
    pub key: PlateKey,
    pub entry: ListEntry,
    plate_key: i64,
    plate: String,
    plate_color: &'static str,
}

impl Row for ListRow {
    const HEADER: Columns =
        Columns { required: &["plate", "plate_color"], optional: &["valid_from", "valid_to", "reason", "document_no"] };

    fn parse(cells: &Cells) -> Result<Self, String> {
        let key = fields::plate_key(cells)?;
        let (valid_from, valid_to) = fields::interval(cells)?;
        let reason = fields::text(cells, "reason")?;
        let document_no = fields::text(cells, "document_no")?;
        Ok(Self {
            key,
            entry: ListEntry { valid_from, valid_to, reason, document_no },
            plate_key: key.as_i64(),
            plate: key.plate().to_string(),
            plate_color: key.colour().name(),
        })
    }
}

impl Stored for ListRow {
    const TABLE: &'static str = "list_entries";
    const KEY: &'static [&'static str] = &["@.plate_key", "COALESCE(@.valid_from, '-infinity'::timestamptz)"];
    const KEY_WORDS: &'static str = "plate, colour and valid_from";
    const AGREES: bool = true;
    const COLUMNS: &'static [Column] = &[
        column("plate_key", Type::INT8),
        column("plate", Type::TEXT),
        column("plate_color", Type::TEXT),
        column("valid_from", Type::TIMESTAMPTZ),
        column("valid_to", Type::TIMESTAMPTZ),
        column("reason", Type::TEXT),
        column("document_no", Type::TEXT),
    ];

    fn values(&self) -> Vec<&(dyn ToSql + Sync)> {
        let ListEntry { valid_from, valid_to, reason, document_no } = &self.entry;
        vec![&self.plate_key, &self.plate, &self.plate_color, valid_from, valid_to, reason, document_no]
    }

    fn agreed(rows: &[&Self]) -> Option<(Self, Vec<&'static str>)> {
        let (first, rest) = rows.split_first()?;
        let mut agreed = (*first).clone();
        let mut disputed = Vec::new();
        if rest.iter().any(|row| row.entry.valid_to != first.entry.valid_to) {
            agreed.entry.valid_to = rows.iter().filter_map(|row| row.entry.valid_to).min();
            disputed.push("valid_to");
        }
        if rest.iter().any(|row| row.entry.reason != first.entry.reason) {
            agreed.entry.reason = None;
            disputed.push("reason");
        }
        if rest.iter().any(|row| row.entry.document_no != first.entry.document_no) {
            agreed.entry.document_no = None;
            disputed.push("document_no");
        }
        Some((agreed, disputed))
    }
}
