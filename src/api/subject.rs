//! Whom a finding is about, taken apart again from the text that keys it.

use serde::Serialize;

/// A vehicle by plate and colour, a terminal by the VIN it reports under, a machine by its code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Subject {
    Vehicle { plate: String, plate_color: String },
    Terminal { device_id: String },
    Machine { device_id: String },
}

impl Subject {
    /// `kind` and `text` as the finding table holds them: `鲁C12345:yellow` for a vehicle.
    pub fn read(kind: i16, text: String) -> Self {
        match kind {
            0 => {
                let (plate, colour) = text.rsplit_once(':').unwrap_or((&text, "unknown"));
                Self::Vehicle { plate: plate.to_owned(), plate_color: colour.to_owned() }
            }
            1 => Self::Terminal { device_id: text },
            _ => Self::Machine { device_id: text },
        }
    }
}
