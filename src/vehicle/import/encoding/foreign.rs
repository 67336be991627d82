//! Files that operators take for tables and that are none, by their first bytes, each with what to do about it.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

/// Bytes of the beginning that are looked at.
pub(super) const START: usize = 1_024;

/// What a file is that no table can be read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Foreign {
    OldWorkbook,
    EncryptedWorkbook,
    Utf32,
    Pdf,
    Html,
    XmlSpreadsheet,
    RichText,
    Compressed,
}

impl Foreign {
    pub const fn what(self) -> &'static str {
        match self {
            Foreign::OldWorkbook => "a workbook of the old form (.xls)",
            Foreign::EncryptedWorkbook => "a workbook protected by a password",
            Foreign::Utf32 => "a text in UTF-32",
            Foreign::Pdf => "a PDF",
            Foreign::Html => "a web page (HTML), whatever its name ends in",
            Foreign::XmlSpreadsheet => "an XML spreadsheet of 2003, whatever its name ends in",
            Foreign::RichText => "a rich text (RTF)",
            Foreign::Compressed => "a compressed archive",
        }
    }

    pub const fn advice(self) -> &'static str {
        match self {
            Foreign::EncryptedWorkbook => {
                "open it with the password, remove the password (File, Info, Protect Workbook), and save it as .xlsx again"
            }
            Foreign::Utf32 => "save it as CSV in UTF-8",
            Foreign::Pdf | Foreign::RichText => "ask for the table itself, as .xlsx or CSV",
            Foreign::Compressed => "unpack it and import the table in it",
            Foreign::OldWorkbook | Foreign::Html | Foreign::XmlSpreadsheet => {
                "open it in a spreadsheet program and save it as .xlsx or as CSV in UTF-8"
            }
        }
    }
}

/// What the first bytes name; an OLE container is asked what it holds.
pub(super) fn by_start(start: &[u8], is_encrypted: impl FnOnce() -> io::Result<bool>) -> io::Result<Option<Foreign>> {
    let text = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start).trim_ascii_start().to_ascii_lowercase();
    let holds = |needle: &[u8]| text.windows(needle.len()).any(|window| window == needle);
    Ok(Some(match () {
        () if start.starts_with(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1") => {
            if is_encrypted()? {
                Foreign::EncryptedWorkbook
            } else {
                Foreign::OldWorkbook
            }
        }
        () if start.starts_with(b"\xff\xfe\0\0") || start.starts_with(b"\0\0\xfe\xff") => Foreign::Utf32,
        () if start.starts_with(b"%PDF-") => Foreign::Pdf,
        () if start.starts_with(b"{\\rtf") => Foreign::RichText,
        () if [
            &b"\x1f\x8b"[..],
            b"7z\xbc\xaf\x27\x1c",
            b"Rar!\x1a\x07",
            b"BZh",
            b"\xfd7zXZ\0",
            b"\x28\xb5\x2f\xfd",
        ]
        .iter()
        .any(|magic| start.starts_with(magic)) =>
        {
            Foreign::Compressed
        }
        () if text.starts_with(b"<?xml") && holds(b"urn:schemas-microsoft-com:office:spreadsheet") => {
            Foreign::XmlSpreadsheet
        }
        () if [&b"<html"[..], b"<!doctype html", b"<table", b"<meta", b"<head"]
            .iter()
            .any(|tag| text.starts_with(tag))
            || text.starts_with(b"<?xml") && holds(b"<html") =>
        {
            Foreign::Html
        }
        () => return Ok(None),
    }))
}

/// Whether an OLE container holds a workbook under a password: its directory then names a stream `EncryptedPackage`.
pub(super) fn is_encrypted_workbook(path: &Path) -> io::Result<bool> {
    let name: Vec<u8> = "EncryptedPackage".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut file = File::open(path)?;
    let mut block = vec![0; 64 * 1024];
    let mut kept = 0;
    loop {
        let length = file.read(block.get_mut(kept..).unwrap_or_default())?;
        if length == 0 {
            return Ok(false);
        }
        let seen = kept + length;
        // The directory stands in sectors of 512 bytes, its entries begin at multiples of 128.
        if block.get(..seen).unwrap_or_default().windows(name.len()).any(|window| window == name) {
            return Ok(true);
        }
        kept = seen.min(name.len());
        block.copy_within(seen - kept..seen, 0);
    }
}
