//! What a sheet shows besides its cells: merged areas and hidden columns.

use quick_xml::events::Event;

use super::{
    WorkbookError,
    cells::place,
    xml::{XML, Xml, attribute, is_set},
};

/// Merged areas of one sheet; more are no table.
const MERGED: usize = 100_000;

/// Rows from 1 and columns from 0, inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Area {
    top: u64,
    bottom: u64,
    left: usize,
    right: usize,
}

#[derive(Debug, Default)]
pub(super) struct Survey {
    /// By their top.
    merged: Vec<Area>,
    hidden: Vec<(usize, usize)>,
}

impl Survey {
    pub fn of(mut xml: Xml<'_>) -> Result<Self, WorkbookError> {
        let mut survey = Self::default();
        let mut buffer = Vec::with_capacity(1_024);
        loop {
            buffer.clear();
            match xml.read_event_into(&mut buffer).map_err(|_| WorkbookError::Broken(XML))? {
                Event::Start(element) => match element.local_name().as_ref() {
                    "mergeCell" => {
                        let area = attribute(&element, "ref")?;
                        let area = area.as_deref().and_then(area_of);
                        survey.merged.push(area.ok_or(WorkbookError::Broken("a merged area has no place"))?);
                        if survey.merged.len() > MERGED {
                            return Err(WorkbookError::TooLarge("more than 100000 merged areas"));
                        }
                    }
                    "col" if is_set(&element, "hidden")? => {
                        let number = |text: Option<String>| text.and_then(|text| text.parse::<usize>().ok());
                        let (min, max) = (number(attribute(&element, "min")?), number(attribute(&element, "max")?));
                        if let (Some(min), Some(max)) = (min, max) {
                            survey.hidden.push((min.saturating_sub(1), max.saturating_sub(1)));
                        }
                    }
                    _ => {}
                },
                Event::Eof => break,
                _ => {}
            }
        }
        survey.merged.sort_by_key(|area| area.top);
        Ok(survey)
    }

    pub fn hides(&self, column: usize) -> bool {
        self.hidden.iter().any(|&(first, last)| (first..=last).contains(&column))
    }

    pub fn sweep(&self) -> Sweep<'_> {
        Sweep { coming: &self.merged, here: Vec::new(), row: 0 }
    }
}

fn area_of(reference: &str) -> Option<Area> {
    let (from, to) = reference.split_once(':').unwrap_or((reference, reference));
    let ((top, left), (bottom, right)) = (place(from)?, place(to)?);
    (top <= bottom && left <= right).then_some(Area { top, bottom, left, right })
}

/// The merged areas of each row, row by row downwards.
pub(super) struct Sweep<'a> {
    coming: &'a [Area],
    here: Vec<Area>,
    row: u64,
}

impl Sweep<'_> {
    pub fn go_to(&mut self, row: u64) {
        self.row = row;
        self.here.retain(|area| area.bottom >= row);
        while let Some((area, later)) = self.coming.split_first().filter(|(area, _)| area.top <= row) {
            if area.bottom >= row {
                self.here.push(*area);
            }
            self.coming = later;
        }
    }

    /// Whether a cell is covered by another one that goes over it.
    pub fn covers(&self, column: usize) -> bool {
        let covered =
            |area: &Area| (area.left..=area.right).contains(&column) && (self.row, column) != (area.top, area.left);
        self.here.iter().any(covered)
    }
}
