//! Files that once were read otherwise than their operator saw them.

use std::io::Write as _;

use super::*;
use crate::{
    reading::Timestamp,
    vehicle::import::{
        encoding::TextEncoding,
        inspections::InspectionRow,
        rows::{ListRow, Row as _, StationRow, VehicleRow},
    },
};

fn list(path: &Path) -> Result<Read<ListRow>, ImportError> {
    read(path, &Reading::default(), ListRow::HEADER, ListRow::parse)
}

fn vehicles(path: &Path) -> Result<Read<VehicleRow>, ImportError> {
    read(path, &Reading::default(), VehicleRow::HEADER, VehicleRow::parse)
}

fn inspections(path: &Path) -> Result<Read<InspectionRow>, ImportError> {
    read(path, &Reading::default(), InspectionRow::HEADER, InspectionRow::parse)
}

fn plates(taken: &[(u64, ListRow)]) -> Vec<String> {
    taken.iter().map(|(_, row)| row.key.plate().to_string()).collect()
}

fn written(bytes: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().expect("a scratch file");
    file.write_all(bytes).expect("written");
    file
}

#[test]
fn a_gbk_list_of_this_province_is_one() {
    let (gbk, read) = list(&fixture("gbk-lu-only/list.gbk.csv")).expect("read");
    let (utf8, _) = list(&fixture("gbk-lu-only/list.utf8.csv")).expect("read");
    assert_eq!((gbk.len(), read.refusals.count()), (20, 0));
    assert_eq!(gbk, utf8);
    assert_eq!(vehicles(&fixture("gbk-lu-only/vehicles.gbk.csv")).expect("read").0.len(), 20);
    assert_eq!(inspections(&fixture("gbk-lu-only/insp.gbk.csv")).expect("read").0.len(), 1);
}

/// 豫 as well, with any number of the rows damaged, and UTF-8 with plain characters of two bytes beside it.
#[test]
fn the_plates_tell_the_encoding() {
    let gbk = |text: &str| encoding_rs::GB18030.encode(text).0.into_owned();
    let table = "plate,plate_color,reason\n豫A10001,黄,5 m³\n鲁C10002,yellow,\n鲁C10003,yellow,x\n";
    // GB 18030 has the cubed sign, in four bytes.
    let (from_gbk, _) = list(written(&gbk(table)).path()).expect("read");
    let (from_utf8, read) = list(written(table.as_bytes()).path()).expect("read");
    assert_eq!((from_gbk.len(), read.refusals.count()), (3, 0));
    assert_eq!(from_gbk, from_utf8);
    // One damaged plate among twenty good sequences once made the whole file UTF-8.
    let mut damaged = gbk(&format!("plate,plate_color\n{}", "鲁C10001,yellow\n".repeat(20)));
    let at = damaged.len() - "鲁C10001,yellow\n".len() + 1;
    damaged[at] = 0xff;
    let (taken, read) = list(written(&damaged).path()).expect("read");
    assert_eq!((taken.len(), read.refusals.count()), (19, 1));
}

#[test]
fn what_nothing_tells_is_not_guessed() {
    // 鲁山 in GBK, or four letters of other alphabets.
    let bytes =
        [b"station_id,kind,name\ns1,mobile,".as_slice(), &encoding_rs::GB18030.encode("鲁山").0, b"\n"].concat();
    let file = written(&bytes);
    let stations = |encoding| {
        let reading = Reading { encoding, ..Reading::default() };
        read(file.path(), &reading, StationRow::HEADER, StationRow::parse)
    };
    let error = told(&stations(None).expect_err("undecided"));
    insta::assert_snapshot!("undecided", error);
    assert_eq!(stations(Some(TextEncoding::Gbk)).expect("read").0.len(), 1);
    let half = ["plate,plate_color\n鲁C10001,yellow\n".as_bytes(), &encoding_rs::GB18030.encode("鲁C10002,yellow\n").0];
    insta::assert_snapshot!("mixed", told(&list(written(&half.concat()).path()).expect_err("undecided")));
}

#[test]
fn an_open_quotation_mark_takes_no_row_with_it() {
    let (taken, read) = list(&fixture("open-quote/list-remark.csv")).expect("read");
    assert_eq!((read.rows, taken.len(), read.refusals.count()), (200, 149, 51), "every row is taken or named");
    let (taken, read) = list(&fixture("open-quote/list.csv")).expect("read");
    assert_eq!(plates(&taken), ["鲁C11111", "鲁C33333", "鲁C44444", "鲁C66666"]);
    insta::assert_snapshot!("open_quote", refusals(&read));
    let (taken, read) = list(&fixture("open-quote/list3.csv")).expect("read");
    assert_eq!(plates(&taken), ["鲁C11111", "鲁C33333", "鲁C44444"]);
    assert_eq!(read.refusals.count(), 1);
}

#[test]
fn midnight_is_the_day_in_every_spelling() {
    let noon = |day| Timestamp::from_china(2026, 6, day, 15, 0, 0).expect("a time");
    let of = |name: &str| list(&fixture(name)).expect("read").0;
    let day = of("midnight/list-date.csv");
    for name in ["midnight/list-midnight.csv", "midnight/list-excel.csv"] {
        assert_eq!(of(name), day, "{name}");
    }
    let entry = &day[0].1.entry;
    assert!(entry.valid_to.is_some_and(|end| noon(30) < end) && entry.valid_from.is_some_and(|from| from < noon(1)));
    let of = |name: &str| inspections(&fixture(name)).expect("read").0;
    let day = of("midnight/insp-date.csv");
    assert!(day[0].1.whole_day);
    for name in ["midnight/insp-midnight.csv", "midnight/insp-excel.csv"] {
        assert_eq!(of(name), day, "{name}");
    }
    let (vehicles, read) = vehicles(&fixture("midnight/vehicles-midnight.csv")).expect("read");
    assert_eq!((vehicles.len(), read.refusals.count()), (1, 0), "a day of registration");
}

#[test]
fn a_formula_without_a_value_refuses_its_row() {
    let (taken, read) = list(&fixture("formula/list.xlsx")).expect("read");
    assert_eq!((plates(&taken), taken[0].0), (vec!["鲁C22222".to_owned()], 3));
    let (vehicles, of_vehicles) = vehicles(&fixture("formula/vehicles-stage.xlsx")).expect("read");
    assert_eq!(vehicles.len(), 0);
    insta::assert_snapshot!("formula", refusals(&read) + &refusals(&of_vehicles));
}

#[test]
fn a_number_that_lost_digits_refuses_its_row() {
    let mut told = String::new();
    for name in ["scientific/live-june.csv", "scientific/live-july.csv"] {
        let (taken, read) = inspections(&fixture(name)).expect("read");
        assert_eq!(taken.len(), 0, "{name}");
        told += &refusals(&read);
    }
    let (taken, read) = list(&fixture("scientific/list.csv")).expect("read");
    assert_eq!(taken.len(), 0);
    insta::assert_snapshot!("scientific", told + &refusals(&read));
    let rounded =
        "plate,plate_color,document_no\n鲁C12345,yellow,370306202600000000\n鲁C22222,yellow,370306202600000012\n";
    let (taken, read) = list(written(rounded.as_bytes()).path()).expect("read");
    assert_eq!(taken.len(), 2);
    let doubts: Vec<_> = read.doubts.rows().iter().map(|doubt| (doubt.row, doubt.reason.as_str())).collect();
    insta::assert_debug_snapshot!("rounded", doubts);
}

#[test]
fn the_sheet_read_is_the_one_shown() {
    let (taken, _) = list(&fixture("hidden/hidden-sheet.xlsx")).expect("read");
    assert_eq!(plates(&taken), ["鲁C12345", "鲁C22222"]);
    let sheet = |name: &str, sheet: &str| {
        let reading = Reading { sheet: Some(sheet.into()), ..Reading::default() };
        read(&fixture(name), &reading, ListRow::HEADER, ListRow::parse)
    };
    let (hidden, _) = sheet("hidden/hidden-sheet.xlsx", "old 2024").expect("read");
    assert_eq!(plates(&hidden), ["鲁C99999"], "named, it is read");
    let (taken, _) = list(&fixture("xlsx-more/chartsheet-first.xlsx")).expect("read");
    assert_eq!(plates(&taken), ["鲁C12345"]);
    let chart = sheet("xlsx-more/chartsheet-first.xlsx", "chart").expect_err("no table");
    insta::assert_snapshot!("chart", told(&chart));
}

#[test]
fn an_encrypted_workbook_is_called_one() {
    let error = list(&fixture("foreign-forms/encrypted.xlsx")).expect_err("refused");
    let ImportError::Encoding(EncodingError::Foreign(Foreign::EncryptedWorkbook)) = error else { panic!("{error}") };
    insta::assert_snapshot!("encrypted", told(&error));
}

/// Delimiters of other countries, line ends of other programs, and what spreadsheet programs write besides.
#[test]
fn csv_of_any_program_is_read() {
    let plain = "plate,plate_color,reason\n鲁C10001,yellow,a\n鲁C10002,yellow,b\n";
    let (expected, _) = list(written(plain.as_bytes()).path()).expect("read");
    for (name, text) in [
        ("semicolons", plain.replace(',', ";")),
        ("tabs", plain.replace(',', "\t")),
        ("sep", format!("sep=;\n{}", plain.replace(',', ";"))),
        ("returns", plain.replace('\n', "\r")),
        ("trailing", plain.replace('\n', ",\n")),
        ("marks", format!("\u{feff}\u{feff}{plain}")),
        ("blank first", format!("\n,,\n{plain}")),
    ] {
        let (taken, read) = list(written(text.as_bytes()).path()).expect(name);
        let rows = |taken: &[(u64, ListRow)]| taken.iter().map(|(_, row)| row.clone()).collect::<Vec<_>>();
        assert_eq!(rows(&taken), rows(&expected), "{name}");
        assert_eq!(read.refusals.count(), 0, "{name}");
    }
    let odd = "plate,plate_color,reason\n鲁C10001,yellow,#N/A\n鲁C10002,yellow\n鲁C10003,yellow,a,\n\n,,\n鲁C10004,yellow,=A1\n\
               鲁C10005,yellow,a\0\n鲁C10006,yellow,########\n";
    let (taken, read) = list(written(odd.as_bytes()).path()).expect("read");
    assert_eq!((taken.len(), read.rows, read.blank.count()), (0, 8, 2));
    insta::assert_snapshot!("odd_cells", refusals(&read) + &read.line());
    let twice = "plate,plate_color,plate\n鲁C10001,yellow,鲁C10001\n";
    let mut open = String::from("plate,plate_color,\"reason\n鲁C10001,yellow,a\n");
    let errors = told(&list(written(twice.as_bytes()).path()).expect_err("twice"))
        + "\n"
        + &told(&list(written(open.as_bytes()).path()).expect_err("open"));
    open.push_str("鲁C10002,yellow,b\"\n");
    let swallowed = told(&list(written(open.as_bytes()).path()).expect_err("rows in the header"));
    insta::assert_snapshot!("headers", errors + "\n" + &swallowed);
}
