//! Workbooks made by hand, good ones and hostile ones.

use std::io::Write as _;

use tempfile::NamedTempFile;
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use super::*;

const TYPES: &str =
    r#"<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"/>"#;
const RELS: &str = r#"<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" Target="xl/workbook.xml"/></Relationships>"#;
/// Style 1 is a date.
const STYLES: &str = r#"<?xml version="1.0"?><styleSheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><cellXfs count="2"><xf numFmtId="0"/><xf numFmtId="14"/></cellXfs></styleSheet>"#;

/// An archive of those parts.
pub fn archive(parts: &[(&str, &str)]) -> NamedTempFile {
    let mut file = NamedTempFile::new().expect("a scratch file");
    let mut zip = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    for (name, text) in parts {
        zip.start_file(*name, options).expect("a part");
        zip.write_all(text.as_bytes()).expect("written");
    }
    file.write_all(&zip.finish().expect("an archive").into_inner()).expect("written");
    file
}

/// A workbook of sheets by name and XML of their rows, with shared texts.
pub fn workbook(sheets: &[(&str, &str)], texts: &str) -> NamedTempFile {
    workbook_with(sheets, texts, "")
}

/// The same with more to say of the book.
fn workbook_with(sheets: &[(&str, &str)], texts: &str, more: &str) -> NamedTempFile {
    let main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main";
    let mut names = String::new();
    let mut rels = String::new();
    let mut parts: Vec<(String, String)> = Vec::new();
    for (place, (name, rows)) in (1..).zip(sheets) {
        names += &format!(r#"<sheet name="{name}" sheetId="{place}" r:id="rId{place}"/>"#);
        rels += &format!(
            r#"<Relationship Id="rId{place}" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet" Target="worksheets/sheet{place}.xml"/>"#
        );
        let sheet = format!(
            r#"<?xml version="1.0"?><worksheet xmlns="{main}"><dimension ref="A1:XFD1048576"/><sheetData>{rows}</sheetData></worksheet>"#
        );
        parts.push((format!("xl/worksheets/sheet{place}.xml"), sheet));
    }
    let book = format!(
        r#"<?xml version="1.0"?><workbook xmlns="{main}" xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"><sheets>{names}</sheets>{more}</workbook>"#
    );
    for (id, part) in [("rIdT", "sharedStrings"), ("rIdS", "styles")] {
        rels += &format!(
            r#"<Relationship Id="{id}" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/{part}" Target="{part}.xml"/>"#
        );
    }
    let rels = format!(
        r#"<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">{rels}</Relationships>"#
    );
    let texts = format!(r#"<?xml version="1.0"?><sst xmlns="{main}" {texts}</sst>"#);
    let mut all = vec![
        ("[Content_Types].xml", TYPES),
        ("_rels/.rels", RELS),
        ("xl/workbook.xml", &*book),
        ("xl/_rels/workbook.xml.rels", &*rels),
        ("xl/styles.xml", STYLES),
        ("xl/sharedStrings.xml", &*texts),
    ];
    all.extend(parts.iter().map(|(name, text)| (name.as_str(), text.as_str())));
    archive(&all)
}

/// Cells of a row in which every text stands inline.
pub fn row(number: u32, cells: &[&str]) -> String {
    let cells = cells.iter().zip('A'..).filter(|(cell, _)| !cell.is_empty()).map(|(cell, column)| {
        let at = format!("{column}{number}");
        match cell.strip_prefix('#') {
            // Given as XML: attributes, and what stands inside.
            Some(raw) => {
                let (attributes, inside) = raw.split_once('|').unwrap_or_default();
                format!(r#"<c r="{at}" {attributes}>{inside}</c>"#)
            }
            None => format!(r#"<c r="{at}" t="inlineStr"><is><t>{cell}</t></is></c>"#),
        }
    });
    format!(r#"<row r="{number}">{}</row>"#, cells.collect::<String>())
}

type Rows = Vec<(u64, Result<Vec<String>, String>)>;

fn read(file: &NamedTempFile, sheet: Option<&str>) -> Result<Rows, WorkbookError> {
    let mut rows = Vec::new();
    Workbook::open(file.path(), sheet)?.rows(|SheetRow { number, record, faults, .. }| {
        let cells = record.iter().map(str::to_owned).collect();
        let fault = faults.first().map(|(column, why)| format!("column {}: {why}", column + 1));
        rows.push((number, fault.map_or(Ok(cells), Err)));
        true
    })?;
    Ok(rows)
}

fn refusal(file: &NamedTempFile) -> String {
    let error = read(file, None).expect_err("refused");
    assert!(!error.to_string().contains('\n'));
    error.to_string()
}

#[test]
fn cells_come_out_as_text_and_gaps_stay() {
    let rows = [
        row(1, &["plate", "stage", "on", "flag"]),
        row(3, &[r#"#t="s"|<v>0</v>"#, "#|<v>3</v>", r#"#s="1"|<v>42643</v>"#, r#"#t="b"|<v>1</v>"#]),
        row(4, &["鲁C1", "", r#"#s="1"|<v>42643.5</v>"#]),
        row(5, &["#|<v>12345678901234567</v>", "#|<v>0.25</v>"]),
        row(6, &[r#"#t="e"|<v>#N/A</v>"#]),
        row(
            7,
            &[
                r#"#t="str"|<f>A1</f><v/>"#,
                r#"#|<v><![CDATA[5]]></v>"#,
                r#"#|<v>&#53;</v>"#,
                r#"#t="d"|<v>2026-06-30T00:00:00</v>"#,
            ],
        ),
        row(8, &["#|<f>A1</f><v/>"]),
        row(9, &["", r#"#t="s"|<v>7</v>"#]),
        row(
            10,
            &["", "", r#"#t="inlineStr"|<is><r><t>鲁</t></r><r><t>C1</t></r><rPh sb="0" eb="1"><t>lu</t></rPh></is>"#],
        ),
        row(11, &[r#"#t="s"|<v>x</v>"#]),
    ];
    let file = workbook(&[("Sheet1", &rows.concat()), ("other", "")], r#"uniqueCount="1"><si><t>鲁C12345</t></si>"#);
    let found = read(&file, None).expect("rows");
    let text = |cells: &[&str]| Ok(cells.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>());
    assert_eq!(found[0], (1, text(&["plate", "stage", "on", "flag"])));
    assert_eq!(found[1], (3, text(&["鲁C12345", "3", "2016-09-30", "true"])));
    assert_eq!(found[2], (4, text(&["鲁C1", "", "2016-09-30 12:00:00"])));
    let why = |place: usize| found[place].1.clone().expect_err("refused");
    assert!(why(3).starts_with("column 1: a number of more than 15 digits"), "{}", why(3));
    assert!(why(4).starts_with("column 1: an error value"), "{}", why(4));
    assert_eq!(found[5], (7, text(&["", "5", "5", "2026-06-30T00:00:00"])), "a formula may compute an empty text");
    assert!(why(6).starts_with("column 1: a formula whose value nobody computed"), "{}", why(6));
    assert!(why(7).starts_with("column 2: it names a text that the workbook does not hold"), "{}", why(7));
    assert_eq!(found[8], (10, text(&["", "", "鲁C1"])));
    assert!(why(9).starts_with("column 1: it names a text"), "no number is not the first text: {}", why(9));
    assert_eq!(Workbook::open(file.path(), None).expect("open").passed_over, ["other (empty)"]);
    assert_eq!(read(&file, Some("other")).expect("empty"), []);
    let missing = read(&file, Some("third")).expect_err("no such sheet").to_string();
    assert_eq!(missing, "the workbook has no sheet `third`; it has Sheet1, other");
}

#[test]
fn several_sheets_with_content_are_not_chosen_from() {
    let one = row(1, &["plate"]);
    let both = workbook(&[("a", &one), ("b", &one)], ">");
    assert_eq!(
        refusal(&both),
        "the workbook shows 2 sheets with content (a, b); name the one to read with --sheet, or hide or delete the others"
    );
    assert_eq!(read(&both, Some("b")).expect("named").len(), 1);
    assert_eq!(Workbook::open(both.path(), Some("b")).expect("open").passed_over, ["a"]);
    let hidden = workbook(&[("a\" state=\"veryHidden", &one), ("b", "")], ">");
    assert_eq!(
        refusal(&hidden),
        "no sheet that the workbook shows has content; not read are a (hidden), b (empty) (--sheet names one)"
    );
}

#[test]
fn hidden_rows_merged_cells_and_hidden_columns_are_told() {
    let rows = [
        row(1, &["plate", "plate_color", "reason"]),
        row(2, &["鲁C10001", "yellow", "a"]),
        row(3, &["鲁C10002", "yellow"]),
        row(4, &["鲁C10003", "yellow", "c"]).replace("<row ", r#"<row hidden="1" "#),
        row(6, &["鲁C10004", "yellow", "d"]),
    ];
    let after = r#"</sheetData><mergeCells><mergeCell ref="C2:C3"/></mergeCells><sheetData>"#;
    let file = workbook(&[("S", &(rows.concat() + after))], ">");
    let mut book = Workbook::open(file.path(), None).expect("open");
    let mut seen = Vec::new();
    book.rows(|row| {
        seen.push((row.number, row.hidden, (0..3).filter(|&column| (row.merged)(column)).collect::<Vec<_>>()));
        true
    })
    .expect("rows");
    assert_eq!(
        seen,
        [(1, false, vec![]), (2, false, vec![]), (3, false, vec![2]), (4, true, vec![]), (6, false, vec![])]
    );
    assert!(!book.hides_column(1));
}

#[test]
fn a_workbook_to_be_computed_on_opening_has_no_values_of_formulas() {
    let rows = [
        row(1, &["plate", "stage"]),
        row(2, &["鲁C10001", "#|<f>1+2</f><v>0</v>"]),
        row(3, &["鲁C10002", "#|<v>3</v>"]),
    ];
    let plain = workbook(&[("S", &rows.concat())], ">");
    assert!(read(&plain, None).expect("rows").iter().all(|(_, cells)| cells.is_ok()));
    // As XlsxWriter writes: a zero beside every formula.
    let filler = workbook_with(&[("S", &rows.concat())], ">", r#"<calcPr calcId="1" fullCalcOnLoad="1"/>"#);
    let found = read(&filler, None).expect("rows");
    assert!(found[1].1.is_err() && found[2].1.is_ok(), "{found:?}");
}

#[test]
fn hostile_files_are_refused_in_a_sentence() {
    let again = "; open it in a spreadsheet program and save it again";
    let one = row(1, &["plate"]);
    // Two kilobytes that claim room for a thousand billion texts.
    let claims = workbook(&[("S", &one)], r#"uniqueCount="1000000000000"><si><t>a</t></si>"#);
    assert_eq!(refusal(&claims), "open the workbook: the archive claims more texts than it holds");
    let far = workbook(&[("S", r#"<row r="1048576"><c r="XFD1048576"><v>1</v></c></row>"#)], ">");
    assert_eq!(refusal(&far), "the workbook holds a value beyond column 1000");
    let bomb = workbook(&[("S", &" ".repeat(64 << 20))], ">");
    assert_eq!(refusal(&bomb), "open the workbook: the archive unpacks to more than 200 times its size");
    let styles = archive(&[("_rels/.rels", RELS), ("xl/styles.xml", &"<a/>".repeat(9 << 20))]);
    assert_eq!(refusal(&styles), "open the workbook: the archive unpacks to more than a workbook holds");
    let backwards = workbook(&[("S", &(row(2, &["a"]) + &row(1, &["b"])))], ">");
    assert_eq!(refusal(&backwards), format!("read the workbook: its rows are out of order{again}"));
    let crossed = workbook(&[("S", r#"<row r="1"><c r="B1"><v>1</v></c><c r="A1"><v>1</v></c></row>"#)], ">");
    assert_eq!(refusal(&crossed), format!("read the workbook: its cells are out of order{again}"));
    let elsewhere = workbook(&[("S", r#"<row r="1"><c r="A2"><v>1</v></c></row>"#)], ">");
    assert_eq!(refusal(&elsewhere), format!("read the workbook: a cell stands in another row than it says{again}"));
    let cut = workbook(&[("S", "<row><c")], ">");
    assert_eq!(refusal(&cut), format!("read the workbook: {XML}{again}"));
    let no_book = archive(&[("a.xml", "<a/>")]);
    let other = "; open it in a spreadsheet program and save it as .xlsx or as CSV in UTF-8";
    assert_eq!(refusal(&no_book), format!("the file is an archive without a workbook{other}"));
    let open_document = archive(&[("content.xml", "<a/>"), ("META-INF/manifest.xml", "<a/>")]);
    assert_eq!(refusal(&open_document), format!("the file is an OpenDocument table or text (.ods, .odt){other}"));
    let mut no_zip = NamedTempFile::new().expect("a scratch file");
    no_zip.write_all(b"PK\x03\x04 and nothing").expect("written");
    assert_eq!(
        refusal(&no_zip),
        "open the workbook: the file is no readable archive; it may be cut short: save it again"
    );
}
