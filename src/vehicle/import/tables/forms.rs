//! One content written in every form that an operator may send, read to the same entries.

use std::io::Write as _;

use chrono::NaiveDate;
use encoding_rs::GB18030;
use proptest::prelude::*;
use tempfile::NamedTempFile;

use super::*;
use crate::vehicle::import::{
    inspections::InspectionRow,
    rows::{DeviceRow, ListRow, Row, StationRow, VehicleRow},
    workbook_tests::archive,
};

/// A cell as its author means it.
#[derive(Clone, Debug)]
enum Cell {
    Text(String),
    Number(String),
    Day(NaiveDate),
}

impl Cell {
    fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }
}

#[derive(Clone, Debug)]
struct Table {
    header: Vec<&'static str>,
    /// A row without cells is blank.
    rows: Vec<Vec<Cell>>,
}

/// How a day is spelled in a text.
const DAYS: [&str; 5] = ["%Y-%m-%d", "%Y/%-m/%-d", "%Y-%m-%d 00:00:00", "%Y/%-m/%-d 0:00", "%Y-%m-%dT00:00:00+08:00"];

#[derive(Clone, Debug)]
struct Csv {
    encoding: &'static str,
    end: &'static str,
    delimiter: char,
    quoted: bool,
    days: &'static str,
}

impl Csv {
    fn write(&self, table: &Table) -> NamedTempFile {
        let cell = |text: &str| {
            let needed = text.contains([self.delimiter, '"', '\n']);
            if self.quoted || needed { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
        };
        let line = |cells: Vec<String>| cells.join(&self.delimiter.to_string()) + self.end;
        let mut text = line(table.header.iter().map(|name| cell(name)).collect());
        for row in &table.rows {
            let cells = row.iter().map(|value| match value {
                Cell::Text(text) | Cell::Number(text) => cell(text),
                Cell::Day(day) => cell(&day.format(self.days).to_string()),
            });
            text += &line(cells.collect());
        }
        let units = |big: bool, mark: bool| {
            let unit = move |unit: u16| if big { unit.to_be_bytes() } else { unit.to_le_bytes() };
            mark.then_some(0xfeff).into_iter().chain(text.encode_utf16()).flat_map(unit).collect::<Vec<u8>>()
        };
        let bytes = match self.encoding {
            "UTF-8" => text.into_bytes(),
            "UTF-8 BOM" => [b"\xef\xbb\xbf", text.as_bytes()].concat(),
            // GBK and GB 2312 are parts of it; what is written here is in all three.
            "GB18030" => GB18030.encode(&text).0.into_owned(),
            "UTF-16LE" => units(false, true),
            "UTF-16BE" => units(true, true),
            _ => units(false, false),
        };
        let mut file = NamedTempFile::new().expect("a scratch file");
        file.write_all(&bytes).expect("written");
        file
    }
}

#[derive(Clone, Copy, Debug)]
struct Xlsx {
    strict: bool,
    /// Every element with a prefix.
    prefix: bool,
    shared: bool,
    from_1904: bool,
    /// How a day is spelled where it is a text; `None`: a date.
    days: Option<&'static str>,
}

impl Xlsx {
    fn write(self, table: &Table) -> NamedTempFile {
        let base = if self.strict { "http://purl.oclc.org/ooxml" } else { "http://schemas.openxmlformats.org" };
        let version = if self.strict { "" } else { "/2006" };
        let rel = format!("{base}/officeDocument{version}/relationships");
        let main =
            if self.strict { format!("{base}/spreadsheetml/main") } else { format!("{base}/spreadsheetml/2006/main") };
        let (x, ns) =
            if self.prefix { ("x:", format!("xmlns:x=\"{main}\"")) } else { ("", format!("xmlns=\"{main}\"")) };
        let escape = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('\n', "_x000A_");
        let mut shared: Vec<String> = Vec::new();
        let mut rows = String::new();
        let header = table.header.iter().map(|name| Cell::text(*name)).collect::<Vec<_>>();
        for (number, row) in (1..).zip(std::iter::once(&header).chain(&table.rows)) {
            let mut cells = String::new();
            for (column, value) in ('A'..).zip(row) {
                let mut text = |text: &str| {
                    if self.shared {
                        shared.push(format!("<{x}si><{x}t xml:space=\"preserve\">{}</{x}t></{x}si>", escape(text)));
                        format!("<{x}c r=\"{column}{number}\" t=\"s\"><{x}v>{}</{x}v></{x}c>", shared.len() - 1)
                    } else {
                        let text = escape(text);
                        format!(
                            "<{x}c r=\"{column}{number}\" t=\"inlineStr\"><{x}is><{x}r><{x}t>{text}</{x}t></{x}r></{x}is></{x}c>"
                        )
                    }
                };
                cells += &match (value, self.days) {
                    (Cell::Text(content), _) if content.is_empty() => format!("<{x}c r=\"{column}{number}\"/>"),
                    (Cell::Text(content), _) => text(content),
                    (Cell::Number(number_text), _) => {
                        format!("<{x}c r=\"{column}{number}\"><{x}v>{number_text}</{x}v></{x}c>")
                    }
                    (Cell::Day(day), Some(form)) => text(&day.format(form).to_string()),
                    (Cell::Day(day), None) => {
                        let first = if self.from_1904 { (1904, 1, 1) } else { (1899, 12, 30) };
                        let first = NaiveDate::from_ymd_opt(first.0, first.1, first.2).expect("a day");
                        let days = day.signed_duration_since(first).num_days();
                        format!("<{x}c r=\"{column}{number}\" s=\"1\"><{x}v>{days}</{x}v></{x}c>")
                    }
                };
            }
            if !row.is_empty() {
                rows += &format!("<{x}row r=\"{number}\">{cells}</{x}row>");
            }
        }
        let decl = "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>";
        let book = format!(
            "{decl}<{x}workbook {ns} xmlns:r=\"{rel}\"><{x}workbookPr date1904=\"{}\"/><{x}sheets><{x}sheet name=\"表\" \
             sheetId=\"1\" r:id=\"rId7\"/></{x}sheets></{x}workbook>",
            self.from_1904
        );
        let package = "http://schemas.openxmlformats.org/package/2006/relationships";
        let rels = |entries: &[(&str, &str, &str)]| {
            let entries = entries.iter().map(|(id, kind, target)| {
                format!("<Relationship Id=\"{id}\" Type=\"{rel}/{kind}\" Target=\"{target}\"/>")
            });
            format!("{decl}<Relationships xmlns=\"{package}\">{}</Relationships>", entries.collect::<String>())
        };
        let root = rels(&[("rId1", "officeDocument", "/xl/workbook.xml")]);
        let parts = rels(&[
            ("rId7", "worksheet", "worksheets/data.xml"),
            ("rId8", "styles", "/xl/styles.xml"),
            ("rId9", "sharedStrings", "texts.xml"),
        ]);
        let styles = format!(
            "{decl}<{x}styleSheet {ns}><{x}numFmts count=\"1\"><{x}numFmt numFmtId=\"164\" formatCode=\"yyyy&quot;年&quot;m&quot;月&quot;d&quot;日&quot;\"/></{x}numFmts>\
             <{x}cellXfs count=\"2\"><{x}xf numFmtId=\"0\"/><{x}xf numFmtId=\"164\"/></{x}cellXfs></{x}styleSheet>"
        );
        let sheet = format!("{decl}<{x}worksheet {ns}><{x}sheetData>{rows}</{x}sheetData></{x}worksheet>");
        let texts = format!("{decl}<{x}sst {ns}>{}</{x}sst>", shared.concat());
        archive(&[
            ("_rels/.rels", &root),
            ("xl/workbook.xml", &book),
            ("xl/_rels/workbook.xml.rels", &parts),
            ("xl/styles.xml", &styles),
            ("xl/texts.xml", &texts),
            ("xl/worksheets/data.xml", &sheet),
        ])
    }
}

/// Reads a table in every form and asserts one result, and that every row is accounted for.
fn alike<E: PartialEq + std::fmt::Debug>(
    table: &Table,
    columns: Columns,
    parse: impl Fn(&Cells) -> Result<E, String> + Copy,
) {
    let mut first: Option<(Vec<E>, String)> = None;
    let mut same = |form: String, file: &NamedTempFile| {
        let (taken, summary) = match read(file.path(), &Reading::default(), columns, parse) {
            Ok(read) => read,
            Err(error) => panic!("{form}: {}", told(&error)),
        };
        assert_eq!(summary.rows, table.rows.len() as u64, "{form}");
        // Numbers differ where a cell of several lines stands above.
        let why = summary.refusals.rows().iter().map(|refused| refused.reason.clone() + "\n").collect::<String>();
        let found: (Vec<E>, String) = (taken.into_iter().map(|(_, row)| row).collect(), why);
        match &first {
            None => first = Some(found),
            Some(first) => assert_eq!(&found, first, "{form}"),
        }
    };
    for (place, encoding) in
        ["UTF-8", "UTF-8 BOM", "GB18030", "UTF-16LE", "UTF-16BE", "UTF-16LE without mark"].into_iter().enumerate()
    {
        for (other, end) in ["\n", "\r\n", "\r"].into_iter().enumerate() {
            let csv = Csv {
                encoding,
                end,
                delimiter: [',', ';', '\t'][(place + other) % 3],
                quoted: (place + other) % 2 == 0,
                days: DAYS[(place * 3 + other) % DAYS.len()],
            };
            same(format!("{csv:?}"), &csv.write(table));
        }
    }
    for number in 0..16 {
        let bit = |place: u32| number >> place & 1 == 1;
        let days = [None, Some(DAYS[number % DAYS.len()])][usize::from(number >= 8)];
        let xlsx = Xlsx { strict: bit(0), prefix: bit(1), shared: bit(2), from_1904: bit(0), days };
        same(format!("{xlsx:?}"), &xlsx.write(table));
    }
}

fn plate() -> impl Strategy<Value = Cell> {
    ("[鲁豫京粤]", "[A-HJ-NP-Z]", "[0-9A-HJ-NP-Z]{5}")
        .prop_map(|(province, letter, rest)| Cell::Text(province + &letter + &rest))
}

fn colour() -> impl Strategy<Value = Cell> {
    prop::sample::select(vec!["yellow", "blue", "黄", "绿色", "WHITE"]).prop_map(Cell::text)
}

fn day() -> impl Strategy<Value = Cell> {
    (2000..2100, 1u32..13, 1u32..29)
        .prop_map(|(year, month, day)| Cell::Day(NaiveDate::from_ymd_opt(year, month, day).expect("a day")))
}

fn maybe(cell: impl Strategy<Value = Cell>) -> impl Strategy<Value = Cell> {
    prop::option::of(cell).prop_map(|cell| cell.unwrap_or(Cell::text("")))
}

/// Remarks with everything that a delimited text has to put between quotation marks, and what no row may hold.
fn remark() -> impl Strategy<Value = Cell> {
    prop_oneof![
        "[a-z鲁C1 ,;\"']{0,12}".prop_map(|text| Cell::Text(text.trim().to_owned())),
        Just(Cell::text("两行\nof one remark")),
        Just(Cell::text("3.70306E+18")),
        Just(Cell::text("#N/A")),
        Just(Cell::text("370306202600000123")),
    ]
}

fn number(range: std::ops::Range<u32>) -> impl Strategy<Value = Cell> {
    range.prop_map(|number| Cell::Number(number.to_string()))
}

/// Rows of a dataset, with blank ones in between.
fn table(
    header: Vec<&'static str>,
    row: impl Strategy<Value = Vec<Cell>> + 'static,
    first: Vec<Cell>,
) -> impl Strategy<Value = Table> {
    let rows = prop::collection::vec((row, prop::bool::weighted(0.1)), 1..6);
    rows.prop_map(move |rows| {
        let mut all = vec![first.clone()];
        for (row, blank) in rows {
            if blank {
                all.push(Vec::new());
            }
            all.push(row);
        }
        Table { header: header.clone(), rows: all }
    })
}

fn texts<const N: usize>(cells: [&str; N]) -> Vec<Cell> {
    cells.into_iter().map(Cell::text).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    #[test]
    fn a_list(table in table(
        vec!["plate", "plate_color", "valid_from", "valid_to", "reason", "备注"],
        (plate(), colour(), maybe(day()), maybe(day()), remark(), remark()).prop_map(|(a, b, c, d, e, f)| vec![a, b, c, d, e, f]),
        texts(["鲁C12345", "yellow", "", "", "", ""]),
    )) {
        alike(&table, ListRow::HEADER, ListRow::parse);
    }

    #[test]
    fn a_register(table in table(
        vec!["plate", "plate_color", "fuel", "emission_stage", "registered_on", "owner_unit", "reference_torque_nm"],
        (plate(), colour(), Just(Cell::text("柴油")), number(0..9), maybe(day()), remark(), maybe(number(1..3_000)))
            .prop_map(|(a, b, c, d, e, f, g)| vec![a, b, c, d, e, f, g]),
        texts(["豫A12345", "yellow", "B", "3", "", "", ""]),
    )) {
        alike(&table, VehicleRow::HEADER, VehicleRow::parse);
    }

    #[test]
    fn stations(table in table(
        vec!["station_id", "kind", "name", "longitude", "latitude", "certificate_until"],
        ("[a-z0-9]{1,8}", remark(), maybe(day())).prop_map(|(id, name, until)| {
            let place = |text: &str| Cell::Number(text.into());
            vec![Cell::Text(id), Cell::text("mobile"), name, place("117.87"), place("36.8"), until]
        }),
        texts(["first", "mobile", "周村站", "", "", ""]),
    )) {
        alike(&table, StationRow::HEADER, StationRow::parse);
    }

    #[test]
    fn devices(table in table(
        vec!["device_id", "kind", "bound_to", "installed_on"],
        ("[A-Z0-9]{3,17}", day()).prop_map(|(id, on)| vec![Cell::Text(id), Cell::text("obd"), Cell::text("鲁C54321:yellow"), on]),
        texts(["first", "obd", "", ""]),
    )) {
        alike(&table, DeviceRow::HEADER, DeviceRow::parse);
    }

    #[test]
    fn inspections(table in table(
        vec!["plate", "plate_color", "station_id", "inspected_at", "kind", "result", "report_no"],
        (plate(), colour(), day(), remark()).prop_map(|(plate, colour, at, report)| {
            vec![plate, colour, Cell::text("I1"), at, Cell::text("recheck"), Cell::text("合格"), report]
        }),
        texts(["鲁C12345", "yellow", "I1", "2026-01-01", "recheck", "pass", "R1"]),
    )) {
        alike(&table, InspectionRow::HEADER, InspectionRow::parse);
    }
}
