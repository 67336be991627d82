//! A vehicle of the register.

use tokio_postgres::types::{ToSql, Type};

use super::{Column, Exclusive, Row, Stored, column};
use crate::{
    reading::{PlateKey, Vin},
    vehicle::{
        facts::{EmissionStage, Fuel, Vehicle},
        fuel::{code_of, excludes_itself, reconciled, stage_fits},
        import::{
            fields::{self, Day},
            sheet::{Cells, Columns},
        },
    },
};

#[derive(Clone, Debug, PartialEq)]
pub struct VehicleRow {
    pub key: PlateKey,
    plate_key: i64,
    plate: String,
    plate_color: &'static str,
    vin: Option<String>,
    fuel: Option<String>,
    emission_stage: Option<i16>,
    vehicle_kind: Option<String>,
    use_nature: Option<String>,
    state: Option<String>,
    registered_on: Option<Day>,
    owner_unit: Option<Box<str>>,
    local: Option<bool>,
    retrofit: bool,
    reference_torque_nm: Option<i32>,
    contradictory: bool,
}

impl Row for VehicleRow {
    const HEADER: Columns = Columns {
        required: &["plate", "plate_color", "fuel", "emission_stage"],
        optional: &[
            "vin",
            "vehicle_kind",
            "use_nature",
            "state",
            "registered_on",
            "owner_unit",
            "local",
            "retrofit",
            "reference_torque_nm",
        ],
    };

    fn parse(cells: &Cells) -> Result<Self, String> {
        let key = fields::plate_key(cells)?;
        let fuel = code_of(cells.get("fuel")).ok_or("fuel: is neither a letter of GA/T 16.9 nor a name of a fuel")?;
        let stage = |cell: &str| EmissionStage::from_code(cell.parse().ok()?);
        let vin = |cell: &str| Vin::parse(&cell.to_ascii_uppercase()).map(|vin| vin.to_string());
        let emission_stage = fields::optional(cells, "emission_stage", "0 to 6, 99 or empty", stage)?;
        Ok(Self {
            key,
            plate_key: key.as_i64(),
            plate: key.plate().to_string(),
            plate_color: key.colour().name(),
            vin: fields::optional(cells, "vin", "17 characters without spaces", vin)?,
            fuel: letters(&fuel),
            emission_stage: emission_stage.map(|stage| stage.code().into()),
            vehicle_kind: fields::optional(cells, "vehicle_kind", "a code of GA/T 16.4 such as H12", vehicle_kind)?,
            use_nature: fields::optional(cells, "use_nature", "a letter of GA/T 16.3", use_nature)?,
            state: fields::optional(cells, "state", "letters of the vehicle state of GA/T 16", states)?,
            registered_on: fields::day(cells, "registered_on")?,
            owner_unit: fields::text(cells, "owner_unit")?,
            local: fields::boolean(cells, "local")?,
            retrofit: fields::boolean(cells, "retrofit")?.unwrap_or(false),
            reference_torque_nm: fields::torque(cells)?,
            contradictory: excludes_itself(fuel) || !stage_fits(emission_stage, fuel),
        })
    }
}

impl VehicleRow {
    /// What the register in memory keeps of the row.
    pub fn facts(&self) -> Vehicle {
        let stored = StoredVehicle {
            vin: self.vin.as_deref(),
            fuel: self.fuel.as_deref(),
            emission_stage: self.emission_stage,
            vehicle_kind: self.vehicle_kind.as_deref(),
            use_nature: self.use_nature.as_deref(),
            state: self.state.as_deref(),
            registered_on: self.registered_on.map(|day| day.0),
            local: self.local,
            retrofit: self.retrofit,
            reference_torque_nm: self.reference_torque_nm,
            contradictory: self.contradictory,
        };
        stored.facts()
    }
}

/// A vehicle in the forms in which the database and a row hold it alike.
#[derive(Clone, Copy, Debug)]
pub struct StoredVehicle<'a> {
    pub vin: Option<&'a str>,
    pub fuel: Option<&'a str>,
    pub emission_stage: Option<i16>,
    pub vehicle_kind: Option<&'a str>,
    pub use_nature: Option<&'a str>,
    pub state: Option<&'a str>,
    /// Days since 1970-01-01.
    pub registered_on: Option<i32>,
    pub local: Option<bool>,
    pub retrofit: bool,
    pub reference_torque_nm: Option<i32>,
    pub contradictory: bool,
}

impl StoredVehicle<'_> {
    pub fn facts(&self) -> Vehicle {
        let stage = self.emission_stage.and_then(|stage| EmissionStage::from_code(stage.try_into().ok()?));
        let (fuel_code, stage) = reconciled(padded(self.fuel), stage);
        Vehicle {
            fuel: Fuel::of_code(fuel_code),
            fuel_code,
            stage,
            kind: padded(self.vehicle_kind),
            use_nature: padded::<1>(self.use_nature)[0],
            states: self
                .state
                .unwrap_or_default()
                .bytes()
                .filter(u8::is_ascii_uppercase)
                .fold(0, |s, b| s | 1 << (b - b'A')),
            registered_on: self.registered_on,
            local: self.local,
            retrofit: self.retrofit,
            reference_torque_nm: self.reference_torque_nm.and_then(|torque| u16::try_from(torque).ok()),
            vin: self.vin.and_then(Vin::parse),
            contradictory: self.contradictory,
        }
    }
}

/// The bytes of a short ASCII code, NUL-padded.
fn padded<const N: usize>(text: Option<&str>) -> [u8; N] {
    let mut bytes = [0; N];
    for (byte, source) in bytes.iter_mut().zip(text.unwrap_or_default().bytes()) {
        *byte = source;
    }
    bytes
}

fn letters(code: &[u8]) -> Option<String> {
    let text: String = code.iter().filter(|&&letter| letter != 0).map(|&letter| char::from(letter)).collect();
    (!text.is_empty()).then_some(text)
}

/// A letter and two digits.
fn vehicle_kind(cell: &str) -> Option<String> {
    let upper = cell.to_ascii_uppercase();
    match upper.as_bytes() {
        [letter, a, b] if letter.is_ascii_uppercase() && a.is_ascii_digit() && b.is_ascii_digit() => Some(upper),
        _ => None,
    }
}

fn use_nature(cell: &str) -> Option<String> {
    let upper = cell.to_ascii_uppercase();
    matches!(upper.as_bytes(), [letter] if letter.is_ascii_uppercase()).then_some(upper)
}

/// Each letter once, sorted, so that the order in the file makes no difference.
fn states(cell: &str) -> Option<String> {
    let mut letters: Vec<char> = Vec::new();
    for character in cell.chars().filter(|c| !matches!(c, ' ' | ',' | ';' | '/' | '|')) {
        letters.push(Some(character.to_ascii_uppercase()).filter(char::is_ascii_uppercase)?);
    }
    letters.sort_unstable();
    letters.dedup();
    (!letters.is_empty()).then(|| letters.into_iter().collect())
}

/// Moved out, deregistered, forced deregistration, plate void: the plate is no longer this vehicle's, so that another one
/// may carry the same VIN. A VIN of one character throughout stands for none.
const OUT_OF_USE: [char; 4] = ['B', 'E', 'M', 'P'];

impl Stored for VehicleRow {
    const TABLE: &'static str = "vehicles";
    const KEY: &'static [&'static str] = &["@.plate_key"];
    const KEY_WORDS: &'static str = "plate and colour";
    const COLUMNS: &'static [Column] = &[
        column("plate_key", Type::INT8),
        column("plate", Type::TEXT),
        column("plate_color", Type::TEXT),
        column("vin", Type::TEXT),
        column("fuel", Type::TEXT),
        column("emission_stage", Type::INT2),
        column("vehicle_kind", Type::TEXT),
        column("use_nature", Type::TEXT),
        column("state", Type::TEXT),
        column("registered_on", Type::DATE),
        column("owner_unit", Type::TEXT),
        column("local", Type::BOOL),
        column("retrofit", Type::BOOL),
        column("reference_torque_nm", Type::INT4),
        column("contradictory", Type::BOOL),
    ];
    const CONTRADICTIONS: Option<&'static str> = Some("vehicle_contradictions");
    const EXCLUSIVE: Option<Exclusive> = Some(Exclusive {
        column: "vin",
        in_use: "@.vin IS NOT NULL AND @.vin <> repeat(left(@.vin, 1), 17) AND (@.state IS NULL OR @.state !~ '[BEMP]')",
    });

    fn values(&self) -> Vec<&(dyn ToSql + Sync)> {
        vec![
            &self.plate_key,
            &self.plate,
            &self.plate_color,
            &self.vin,
            &self.fuel,
            &self.emission_stage,
            &self.vehicle_kind,
            &self.use_nature,
            &self.state,
            &self.registered_on,
            &self.owner_unit,
            &self.local,
            &self.retrofit,
            &self.reference_torque_nm,
            &self.contradictory,
        ]
    }

    fn contradicts_itself(&self) -> bool {
        self.contradictory
    }

    fn exclusive(&self) -> Option<&str> {
        let vin = self.vin.as_deref()?;
        let mut characters = vin.chars();
        let first = characters.next()?;
        let gone = self.state.as_deref().is_some_and(|state| state.contains(OUT_OF_USE));
        (!gone && characters.any(|other| other != first)).then_some(vin)
    }

    fn flag(&mut self) {
        self.contradictory = true;
    }

    fn agreed(rows: &[&Self]) -> Option<(Self, Vec<&'static str>)> {
        let (first, rest) = rows.split_first()?;
        let mut agreed = Self { contradictory: true, ..(*first).clone() };
        let mut disputed = Vec::new();
        // A field that is not the same in every row is unknown; a retrofit in dispute is none.
        macro_rules! agree {
            ($($field:ident)*) => {
                $(if rest.iter().any(|row| row.$field != first.$field) {
                    agreed.$field = Default::default();
                    disputed.push(stringify!($field));
                })*
            };
        }
        agree!(vin fuel emission_stage vehicle_kind use_nature state registered_on owner_unit local retrofit reference_torque_nm);
        Some((agreed, disputed))
    }
}
