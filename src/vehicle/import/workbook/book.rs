//! What a workbook says of itself: its sheets, which of them are shown, and where its texts and styles stand.

use quick_xml::events::Event;

use super::{
    WorkbookError,
    xml::{self, Archive, XML, attribute, is_set},
};

/// What a sheet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Table,
    Chart,
    /// Dialogs and macros of times past.
    Other,
}

#[derive(Clone, Debug)]
pub(super) struct SheetInfo {
    pub name: String,
    pub path: String,
    pub kind: Kind,
    pub shown: bool,
}

#[derive(Debug, Default)]
pub(super) struct Book {
    pub sheets: Vec<SheetInfo>,
    pub texts: Option<String>,
    pub styles: Option<String>,
    /// Days count from 1904-01-01 instead of 1900.
    pub from_1904: bool,
    /// Formulas are to be computed on opening: what stands beside them is a filler of the program that wrote the file.
    pub uncomputed: bool,
}

/// Target and last word of the type, by id.
type Relations = Vec<(String, String, String)>;

const SHEETS: usize = 10_000;

impl Book {
    pub fn read(archive: &mut Archive) -> Result<Self, WorkbookError> {
        let package = relations(archive, "_rels/.rels", "")?;
        let target = |kind: &str| package.iter().find(|(_, _, of)| of == kind).map(|(_, target, _)| target.clone());
        let path = match target("officeDocument") {
            Some(path) if xml::has(archive, &path) => path,
            _ if xml::has(archive, "xl/workbook.xml") => "xl/workbook.xml".to_owned(),
            _ => return Err(WorkbookError::NoWorkbook(foreign(archive))),
        };
        if path.ends_with(".bin") {
            return Err(WorkbookError::NoWorkbook(BINARY));
        }
        if !xml::has(archive, &path) || foreign(archive) != UNKNOWN {
            return Err(WorkbookError::NoWorkbook(foreign(archive)));
        }
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", &path));
        let parts = relations(archive, &format!("{folder}/_rels/{name}.rels"), folder)?;
        let part = |kind: &str| parts.iter().find(|(_, _, of)| of == kind).map(|(_, target, _)| target.clone());
        let mut book = Self { texts: part("sharedStrings"), styles: part("styles"), ..Self::default() };
        let Some(mut xml) = xml::part(archive, &path)? else { return Err(WorkbookError::NoWorkbook(UNKNOWN)) };
        let mut buffer = Vec::new();
        loop {
            buffer.clear();
            let element = match xml.read_event_into(&mut buffer).map_err(|_| WorkbookError::Broken(XML))? {
                Event::Start(element) => element,
                Event::Eof => break,
                _ => continue,
            };
            match element.local_name().as_ref() {
                "workbookPr" => book.from_1904 = is_set(&element, "date1904")?,
                "calcPr" => book.uncomputed = is_set(&element, "fullCalcOnLoad")?,
                "sheet" => {
                    if book.sheets.len() == SHEETS {
                        return Err(WorkbookError::TooLarge("more than 10000 sheets"));
                    }
                    let id = attribute(&element, "id")?.unwrap_or_default();
                    let found = parts.iter().find(|(known, _, _)| *known == id);
                    let (path, kind) = found.map_or((String::new(), Kind::Other), |(_, target, of)| {
                        let kind = match of.as_str() {
                            "worksheet" => Kind::Table,
                            "chartsheet" => Kind::Chart,
                            _ => Kind::Other,
                        };
                        (target.clone(), kind)
                    });
                    let state = attribute(&element, "state")?;
                    book.sheets.push(SheetInfo {
                        name: attribute(&element, "name")?.unwrap_or_default(),
                        path,
                        kind,
                        shown: state.is_none_or(|state| state == "visible"),
                    });
                }
                _ => {}
            }
        }
        Ok(book)
    }
}

/// Relations of a part, their targets as paths in the archive; none where there is no such part.
fn relations(archive: &mut Archive, path: &str, folder: &str) -> Result<Relations, WorkbookError> {
    let mut found = Relations::new();
    let Some(mut xml) = xml::part(archive, path)? else { return Ok(found) };
    let mut buffer = Vec::new();
    loop {
        buffer.clear();
        match xml.read_event_into(&mut buffer).map_err(|_| WorkbookError::Broken(XML))? {
            Event::Start(element) if element.local_name().as_ref() == "Relationship" => {
                let kind = attribute(&element, "Type")?.unwrap_or_default();
                let kind = kind.rsplit('/').next().unwrap_or_default().to_owned();
                let target = attribute(&element, "Target")?.unwrap_or_default();
                found.push((attribute(&element, "Id")?.unwrap_or_default(), xml::resolve(folder, &target), kind));
            }
            Event::Eof => return Ok(found),
            _ => {}
        }
    }
}

const UNKNOWN: &str = "an archive without a workbook";
const BINARY: &str = "a workbook of the binary form (.xlsb)";

/// What an archive is that holds no workbook.
fn foreign(archive: &Archive) -> &'static str {
    let table = [
        ("xl/workbook.bin", BINARY),
        ("content.xml", "an OpenDocument table or text (.ods, .odt)"),
        ("word/document.xml", "a document of Word"),
        ("ppt/presentation.xml", "a presentation"),
        ("Index/Document.iwa", "a table of Numbers"),
    ];
    table.iter().find(|(path, _)| xml::has(archive, path)).map_or(UNKNOWN, |(_, what)| what)
}
