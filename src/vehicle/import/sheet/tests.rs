use std::io::Write as _;

use super::*;

const COLUMNS: Columns = Columns { required: &["plate", "plate_color"], optional: &["reason", "valid_from"] };

fn header(line: &str) -> Result<Header, HeaderError> {
    Header::parse(&line.split(',').collect::<Vec<_>>().into(), COLUMNS)
}

type Numbered = Vec<(u64, String)>;

/// Rows taken and rows refused.
fn rows(text: &str) -> (Numbered, Numbered) {
    let mut file = tempfile::NamedTempFile::new().expect("a scratch file");
    file.write_all(text.as_bytes()).expect("written");
    let mut sheet =
        Sheet::open(file.path(), Form::Text(TextEncoding::Utf8), &Reading::default(), COLUMNS).expect("a sheet");
    let (mut taken, mut read) = (Vec::new(), ReadSummary::default());
    let parse = |cells: &Cells| match cells.get("plate") {
        "" => Err("no plate".to_owned()),
        plate => Ok(format!("{plate}/{}/{}", cells.get("plate_color"), cells.get("reason"))),
    };
    let keep = |row, entry| {
        taken.push((row, entry));
        true
    };
    sheet.read(parse, &mut read, keep).expect("rows");
    assert!(read.balance(taken.len() as u64).is_ok());
    (taken, read.refusals.rows().iter().map(|r| (r.row, r.reason.clone())).collect())
}

#[test]
fn columns_in_any_order_with_extras() {
    let found = header("note, Plate_Color ,PLATE").expect("a header");
    assert_eq!(found.places, [("plate_color", 1), ("plate", 2)]);
    assert_eq!((found.ignored, found.absent), (vec!["note".to_owned()], vec!["reason", "valid_from"]));
}

#[test]
fn a_wrong_header_names_what_is_missing_and_what_is_near() {
    let wrong = header("plate,plate_colour").expect_err("wrong");
    assert_eq!(
        wrong.to_string(),
        "missing column `plate_color` (did you mean it by `plate_colour`?) in the header, the first row that is not blank"
    );
    let wrong = header("a,b").expect_err("wrong");
    assert_eq!(
        wrong.to_string(),
        "missing columns `plate`, `plate_color` in the header, the first row that is not blank"
    );
    let twice = header("plate,plate_color,Plate").expect_err("twice").to_string();
    assert!(twice.starts_with("column `plate` stands in the header twice, as column 1 and 3;"), "{twice}");
    assert_eq!(header(" ,"), Err(HeaderError::Empty));
    let wrong = header("plate,plate_color,valid_form").expect_err("misspelt");
    assert_eq!(wrong, HeaderError::Misspelt { found: "valid_form".into(), meant: "valid_from".into() });
}

#[test]
fn a_similar_name_is_a_column_of_its_own_and_a_slip_is_refused() {
    const VEHICLES: Columns = Columns {
        required: &["plate", "emission_stage"],
        optional: &["vin", "state", "retrofit", "calibrated_at", "valid_to"],
    };
    let parse = |line: &str| Header::parse(&line.split(',').collect::<Vec<_>>().into(), VEHICLES);
    let further = parse("plate,emission_stage,stage,retrofit_date,calibrated_by,vni,note").expect("extras");
    let named = ["stage", "retrofit_date (did you mean `retrofit`?)", "calibrated_by (did you mean `calibrated_at`?)"];
    assert_eq!(further.ignored[..3], named);
    assert_eq!(further.ignored[3..], ["vni", "note"]);
    for (found, meant) in [("valid_too", "valid_to"), ("statee", "state"), ("retorfit", "retrofit")] {
        let wrong = parse(&format!("plate,emission_stage,{found}")).expect_err(found);
        assert_eq!(wrong, HeaderError::Misspelt { found: found.into(), meant: meant.into() });
    }
    let without = parse("plate,stage").expect_err("a required column is missing");
    assert!(matches!(without, HeaderError::Missing(_)), "{without}");
}

#[test]
fn rows_are_numbered_by_line_and_refused_alone() {
    let text = "plate,plate_color,reason\n\n鲁C1,blue,\"two\nlines, one cell\"\n鲁C2,blue\n,blue,x\n , ,\n鲁C3,blue,a\u{fffd}\n鲁C4,yellow,z";
    assert_eq!(rows(text), rows(&text.replace('\n', "\r\n")));
    let (taken, refused) = rows(text);
    assert_eq!(taken, [(3, "鲁C1/blue/two\nlines, one cell".to_owned()), (9, "鲁C4/yellow/z".to_owned())]);
    let numbers: Vec<u64> = refused.iter().map(|(row, _)| *row).collect();
    assert_eq!(numbers, [5, 6, 8]);
    assert_eq!(refused[0].1, "2 cells where the header has 3");
}
