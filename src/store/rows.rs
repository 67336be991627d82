//! Rows in PostgreSQL's binary COPY form, encoded once as readings arrive.
//!
//! A row is kept as bytes with its end, so that any part of a batch can be sent again (to a staging table, or without
//! the rows that were duplicates) without encoding anything twice.

use bytes::{BufMut, Bytes, BytesMut};

use crate::reading::Timestamp;

/// Signature, flags and header extension length of binary COPY.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
const TRAILER: [u8; 2] = (-1_i16).to_be_bytes();

/// Encoded rows of one table.
#[derive(Debug, Default)]
pub struct CopyRows {
    bytes: BytesMut,
    ends: Vec<usize>,
}

impl CopyRows {
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Encoded size, bytes.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Starts a row of `columns` fields; the row ends when the returned writer drops.
    pub fn row(&mut self, columns: i16) -> RowWriter<'_> {
        self.bytes.put_i16(columns);
        RowWriter { rows: self, left: columns }
    }

    fn encoded(&self, row: usize) -> &[u8] {
        let start = match row {
            0 => 0,
            _ => self.ends.get(row - 1).copied().unwrap_or(self.bytes.len()),
        };
        let end = self.ends.get(row).copied().unwrap_or(start);
        self.bytes.get(start..end).unwrap_or_default()
    }

    /// The whole table as one COPY stream.
    pub fn stream(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(HEADER.len() + self.bytes.len() + TRAILER.len());
        out.put_slice(HEADER);
        out.put_slice(&self.bytes);
        out.put_slice(&TRAILER);
        out.freeze()
    }

    /// A COPY stream of the rows that `keep` names, in order.
    pub fn stream_of(&self, keep: impl Iterator<Item = usize>) -> Bytes {
        let mut out = BytesMut::with_capacity(HEADER.len() + self.bytes.len() + TRAILER.len());
        out.put_slice(HEADER);
        keep.for_each(|row| out.put_slice(self.encoded(row)));
        out.put_slice(&TRAILER);
        out.freeze()
    }

    /// All rows with their number as one more `int4` column at the end, for a staging table.
    pub fn numbered_stream(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(HEADER.len() + self.bytes.len() + self.len() * 8 + TRAILER.len());
        out.put_slice(HEADER);
        for row in 0..self.len() {
            if let Some((columns, fields)) = self.encoded(row).split_first_chunk::<2>() {
                out.put_i16(i16::from_be_bytes(*columns) + 1);
                out.put_slice(fields);
                out.put_i32(4);
                out.put_i32(row as i32);
            }
        }
        out.put_slice(&TRAILER);
        out.freeze()
    }
}

/// Writes the fields of one row in column order.
pub struct RowWriter<'a> {
    rows: &'a mut CopyRows,
    left: i16,
}

impl RowWriter<'_> {
    fn field(&mut self, bytes: &[u8]) {
        debug_assert!(self.left > 0, "more fields than columns");
        self.left -= 1;
        self.rows.bytes.put_i32(bytes.len() as i32);
        self.rows.bytes.put_slice(bytes);
    }

    pub fn null(&mut self) {
        debug_assert!(self.left > 0, "more fields than columns");
        self.left -= 1;
        self.rows.bytes.put_i32(-1);
    }

    pub fn bool(&mut self, value: bool) {
        self.field(&[u8::from(value)]);
    }

    pub fn int2(&mut self, value: i16) {
        self.field(&value.to_be_bytes());
    }

    pub fn int4(&mut self, value: i32) {
        self.field(&value.to_be_bytes());
    }

    pub fn int8(&mut self, value: i64) {
        self.field(&value.to_be_bytes());
    }

    pub fn real(&mut self, value: Option<f32>) {
        match value {
            Some(value) => self.field(&value.to_be_bytes()),
            None => self.null(),
        }
    }

    pub fn float8(&mut self, value: Option<f64>) {
        match value {
            Some(value) => self.field(&value.to_be_bytes()),
            None => self.null(),
        }
    }

    pub fn time(&mut self, value: Timestamp) {
        self.field(&value.postgres_micros().to_be_bytes());
    }

    pub fn text(&mut self, value: &str) {
        self.field(value.as_bytes());
    }

    pub fn bytea(&mut self, value: &[u8]) {
        self.field(value);
    }

    /// `jsonb` in binary form: a version byte, then the text.
    pub fn jsonb(&mut self, text: &[u8]) {
        debug_assert!(self.left > 0, "more fields than columns");
        self.left -= 1;
        self.rows.bytes.put_i32(text.len() as i32 + 1);
        self.rows.bytes.put_u8(1);
        self.rows.bytes.put_slice(text);
    }

    /// `text[]` without nulls.
    pub fn text_array<'t>(&mut self, values: impl ExactSizeIterator<Item = &'t str>) {
        const TEXT_OID: i32 = 25;
        debug_assert!(self.left > 0, "more fields than columns");
        self.left -= 1;
        let length_at = self.rows.bytes.len();
        let bytes = &mut self.rows.bytes;
        bytes.put_i32(0);
        let dimensions = i32::from(values.len() > 0);
        bytes.put_i32(dimensions);
        bytes.put_i32(0);
        bytes.put_i32(TEXT_OID);
        if dimensions == 1 {
            bytes.put_i32(values.len() as i32);
            bytes.put_i32(1);
        }
        for value in values {
            bytes.put_i32(value.len() as i32);
            bytes.put_slice(value.as_bytes());
        }
        let length = (bytes.len() - length_at - 4) as i32;
        if let Some(place) = bytes.get_mut(length_at..length_at + 4) {
            place.copy_from_slice(&length.to_be_bytes());
        }
    }
}

impl Drop for RowWriter<'_> {
    fn drop(&mut self) {
        debug_assert!(self.left == 0 || std::thread::panicking(), "fewer fields than columns");
        self.rows.ends.push(self.rows.bytes.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_rows() -> CopyRows {
        let mut rows = CopyRows::default();
        for value in [7, 8] {
            let mut row = rows.row(2);
            row.int4(value);
            row.text("ab");
        }
        rows
    }

    #[test]
    fn parts_of_a_stream_are_whole_rows() {
        let rows = two_rows();
        let row = |value: u8| vec![0, 2, 0, 0, 0, 4, 0, 0, 0, value, 0, 0, 0, 2, b'a', b'b'];
        let expected = |parts: &[Vec<u8>]| [HEADER, &parts.concat(), &TRAILER].concat();
        assert_eq!(rows.stream(), expected(&[row(7), row(8)]));
        assert_eq!(rows.stream_of([1].into_iter()), expected(&[row(8)]));
        assert_eq!(rows.stream_of(std::iter::empty()), expected(&[]));
    }

    #[test]
    fn numbering_adds_a_column() {
        let mut expected = vec![0, 3, 0, 0, 0, 4, 0, 0, 0, 8, 0, 0, 0, 2, b'a', b'b', 0, 0, 0, 4, 0, 0, 0, 1];
        expected.extend(TRAILER);
        assert!(two_rows().numbered_stream().ends_with(&expected));
    }
}
