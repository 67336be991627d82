//! What a number in a cell stands for: the number formats of a workbook's styles.

use quick_xml::events::Event;

use super::{
    WorkbookError,
    xml::{self, Archive, XML, attribute},
};

/// How a number is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Number,
    /// A date, a time or both.
    Date,
    /// Hours that go on beyond a day.
    Duration,
    /// Filled up with zeros to so many digits: `00000`.
    Digits(u8),
}

/// Styles of a workbook; a spreadsheet program keeps at most 65 490.
const STYLES: usize = 100_000;

/// The format of each style, by number.
pub(super) fn read(archive: &mut Archive, path: &str) -> Result<Vec<Format>, WorkbookError> {
    let Some(mut xml) = xml::part(archive, path)? else { return Ok(Vec::new()) };
    let (mut codes, mut formats): (Vec<(u32, Format)>, Vec<Format>) = Default::default();
    let mut in_cells = false;
    let mut buffer = Vec::new();
    loop {
        buffer.clear();
        match xml.read_event_into(&mut buffer).map_err(|_| WorkbookError::Broken(XML))? {
            Event::Start(element) => match element.local_name().as_ref() {
                "numFmt" => {
                    let id = attribute(&element, "numFmtId")?.and_then(|id| id.parse().ok());
                    if let (Some(id), Some(code)) = (id, attribute(&element, "formatCode")?)
                        && codes.len() < STYLES
                    {
                        codes.push((id, of_code(&code)));
                    }
                }
                "cellXfs" => in_cells = true,
                "xf" if in_cells && formats.len() < STYLES => {
                    let id = attribute(&element, "numFmtId")?.and_then(|id| id.parse().ok()).unwrap_or(0);
                    let own = codes.iter().find(|(known, _)| *known == id).map(|(_, format)| *format);
                    formats.push(own.unwrap_or_else(|| built_in(id)));
                }
                _ => {}
            },
            Event::End(element) if element.local_name().as_ref() == "cellXfs" => in_cells = false,
            Event::Eof => return Ok(formats),
            _ => {}
        }
    }
}

/// Formats without a code in the file: ECMA-376 part 1, 18.8.30, with those of East Asia.
fn built_in(id: u32) -> Format {
    match id {
        14..=22 | 27..=36 | 45 | 47 | 50..=58 => Format::Date,
        46 => Format::Duration,
        _ => Format::Number,
    }
}

/// Reads the first section of a code, that of positive numbers.
fn of_code(code: &str) -> Format {
    if ["general", "standard", "@"].contains(&code.to_ascii_lowercase().as_str()) {
        return Format::Number;
    }
    if (2..=20).contains(&code.len()) && code.bytes().all(|byte| byte == b'0') {
        return Format::Digits(code.len() as u8);
    }
    let mut characters = code.chars();
    let mut format = Format::Number;
    while let Some(character) = characters.next() {
        match character.to_ascii_lowercase() {
            ';' => break,
            '\\' | '_' | '*' => drop(characters.next()),
            '"' => drop(characters.by_ref().find(|&c| c == '"')),
            '[' => {
                let inside: String = characters.by_ref().take_while(|&c| c != ']').collect();
                let inside = inside.to_ascii_lowercase();
                if !inside.is_empty() && ["h", "m", "s"].iter().any(|unit| inside.replace(unit, "").is_empty()) {
                    return Format::Duration;
                }
            }
            'y' | 'm' | 'd' | 'h' | 's' => format = Format::Date,
            _ => {}
        }
    }
    format
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_told_apart() {
        for date in [
            "yyyy-mm-dd",
            "yyyy\"年\"m\"月\"d\"日\"",
            "[$-804]yyyy/m/d;@",
            "h:mm AM/PM",
            "[DBNum1]m\"月\"d\"日\"",
            "D/M/YY",
        ] {
            assert_eq!(of_code(date), Format::Date, "{date}");
        }
        for number in
            ["General", "Standard", "@", "#,##0.00_);[Red](#,##0.00)", "0.00E+00", "\"days\" 0", "0\\d", "[Yellow]0"]
        {
            assert_eq!(of_code(number), Format::Number, "{number}");
        }
        assert_eq!((of_code("[h]:mm:ss"), of_code("[mm]")), (Format::Duration, Format::Duration));
        assert_eq!((of_code("00000"), of_code("0")), (Format::Digits(5), Format::Number));
    }
}
