//! A part of a workbook as XML: elements by their local names, so that every prefix and both namespaces (transitional and
//! strict) read alike.

use std::{
    fs::File,
    io::{BufReader, Read, Seek},
};

use quick_xml::{
    Reader,
    events::{BytesStart, Event},
};
use zip::{ZipArchive, read::ZipFile};

use super::WorkbookError;

pub(super) type Archive = ZipArchive<BufReader<File>>;
pub(super) type Xml<'a> = Reader<BufReader<ZipFile<'a, BufReader<File>>>>;

/// Opens a part by its path, whatever case and slashes it is written with.
pub(super) fn part<'a>(archive: &'a mut Archive, path: &str) -> Result<Option<Xml<'a>>, WorkbookError> {
    let Some(place) = place_of(archive, path) else { return Ok(None) };
    let part = archive.by_index(place).map_err(|_| WorkbookError::Broken("its archive is damaged"))?;
    let mut xml = Reader::from_reader(BufReader::with_capacity(64 * 1024, part));
    xml.config_mut().expand_empty_elements = true;
    Ok(Some(xml))
}

pub(super) fn has(archive: &Archive, path: &str) -> bool {
    place_of(archive, path).is_some()
}

fn place_of<S: Read + Seek>(archive: &ZipArchive<S>, path: &str) -> Option<usize> {
    let path = path.trim_start_matches('/');
    archive.index_for_name(path).or_else(|| {
        let same = |name: &str| name.replace('\\', "/").eq_ignore_ascii_case(path);
        (0..archive.len())
            .find(|&place| archive.name_for_index(place).and_then(Result::ok).is_some_and(|name| same(&name)))
    })
}

/// The path of a target that a part in `folder` names.
pub(super) fn resolve(folder: &str, target: &str) -> String {
    let whole = match target.strip_prefix('/') {
        Some(absolute) => absolute.to_owned(),
        None => format!("{folder}/{target}"),
    };
    let mut parts: Vec<&str> = Vec::new();
    for part in whole.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    parts.join("/")
}

/// The value of an attribute by its local name.
pub(super) fn attribute(element: &BytesStart<'_>, name: &str) -> Result<Option<String>, WorkbookError> {
    for attribute in element.attributes().with_checks(false) {
        let attribute = attribute.map_err(|_| WorkbookError::Broken(XML))?;
        if attribute.key.local_name().as_ref() == name {
            let value = attribute.normalized_value(quick_xml::XmlVersion::Implicit1_0);
            return value.map(|value| Some(value.into_owned())).map_err(|_| WorkbookError::Broken(XML));
        }
    }
    Ok(None)
}

/// `true` and `1` of XML.
pub(super) fn is_set(element: &BytesStart<'_>, name: &str) -> Result<bool, WorkbookError> {
    Ok(attribute(element, name)?.is_some_and(|value| matches!(value.trim(), "1" | "true")))
}

pub(super) const XML: &str = "the XML of a part is damaged or cut short";

/// Appends the text of an element up to its end, whichever way it is written: plain, in CDATA, as references.
pub(super) fn text(xml: &mut Xml<'_>, buffer: &mut Vec<u8>, text: &mut String) -> Result<(), WorkbookError> {
    let mut depth = 0_usize;
    loop {
        buffer.clear();
        match xml.read_event_into(buffer).map_err(|_| WorkbookError::Broken(XML))? {
            Event::Text(part) => text.push_str(&part.xml10_content()),
            Event::CData(part) => text.push_str(&part.xml10_content()),
            Event::GeneralRef(reference) => {
                let character = match &*reference {
                    "amp" => '&',
                    "lt" => '<',
                    "gt" => '>',
                    "quot" => '"',
                    "apos" => '\'',
                    _ => match reference.resolve_char_ref() {
                        Ok(Some(character)) => character,
                        _ => return Err(WorkbookError::Broken("a part holds a reference that no workbook has")),
                    },
                };
                text.push(character);
            }
            Event::Start(_) => depth += 1,
            Event::End(_) if depth == 0 => return Ok(()),
            Event::End(_) => depth -= 1,
            Event::Eof => return Err(WorkbookError::Broken(XML)),
            _ => {}
        }
    }
}

/// Reads past an element, whose start was read.
pub(super) fn skip(xml: &mut Xml<'_>, buffer: &mut Vec<u8>) -> Result<(), WorkbookError> {
    let mut depth = 0_usize;
    loop {
        buffer.clear();
        match xml.read_event_into(buffer).map_err(|_| WorkbookError::Broken(XML))? {
            Event::Start(_) => depth += 1,
            Event::End(_) if depth == 0 => return Ok(()),
            Event::End(_) => depth -= 1,
            Event::Eof => return Err(WorkbookError::Broken(XML)),
            _ => {}
        }
    }
}

/// Takes the escapes `_x000D_` of workbooks out of a text.
pub(super) fn unescape(text: String) -> String {
    if !text.contains("_x") {
        return text;
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once("_x") {
        out.push_str(before);
        let code = after.get(..4).filter(|_| after.as_bytes().get(4) == Some(&b'_'));
        let character = code.and_then(|code| u32::from_str_radix(code, 16).ok()).and_then(char::from_u32);
        match character {
            Some(character) => {
                out.push(character);
                rest = after.get(5..).unwrap_or_default();
            }
            None => {
                out.push_str("_x");
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}
