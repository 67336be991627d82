//! The arguments of `import`, and the help that names every column.

use std::path::{Path, PathBuf};

use crate::{
    cli::ConfigArgs,
    mapping::{BuiltIn, Target},
    vehicle::import::{Dataset, ListName, encoding::TextEncoding},
    zone::Datum,
};

const AFTER_HELP: &str = "\
Examples:
  dieselwatch import vehicles vehicles.csv --database postgres://dieselwatch@localhost/dieselwatch
  dieselwatch import vehicles export.xlsx --mapping ga-vehicles --dry-run --report difference.jsonl
  dieselwatch import list retire_n3 retire_n3.csv --dry-run
  dieselwatch import zones zones.geojson --strict
  dieselwatch import devices devices.csv --config /etc/dieselwatch.toml
  dieselwatch import inspections inspections.csv
  dieselwatch import history vehicles
  dieselwatch import rollback vehicles --to 3

A file is a whole version: what it does not name is gone from the next one; where that is more than a
tenth of what is in force (import.max_removed_share), it is done only with --yes. Rows that cannot be
taken are named with their line and never stop the others, unless --strict is given. Vehicles of
which rows say different things are kept and flagged; what is found about them waits for a person.
Lines of a list that differ beyond plate, colour and valid_from are one entry: what they agree on,
with the earliest valid_to.

Columns (any order; further ones are passed over and named; dates are of Asia/Shanghai, and midnight
exactly is the day; CSV in UTF-8, GBK or UTF-16 with commas, semicolons or tabs, or XLSX):
  vehicles  plate plate_color fuel emission_stage [vin vehicle_kind use_nature state registered_on
            owner_unit local retrofit reference_torque_nm]
  list      plate plate_color [valid_from valid_to reason document_no]
  stations  station_id kind [name longitude latitude lane_count slope_deg calibrated_at certificate_until]
  devices   device_id kind [protocol bound_to installed_on emission_stage power_kw]
  zones     GeoJSON (Multi)Polygons with properties name kind rule [valid_from valid_to hours vehicle_classes
            permits datum]: vehicle_classes are beginnings of GA/T 16.4 kinds (H,Q1), permits names a list
  inspections  plate plate_color station_id (or inspection_station) inspected_at kind result report_no
            A journal: rows are added, never removed; a report with another result or time is kept as a correction.
            A number that comes again for another vehicle, kind, year or station is kept as a conflict that
            `dieselwatch inspections` decides; numbers such as - or 3.7E+18 identify no report and are refused.

Exit codes: 0 in force (or a dry run without refusals), 1 some rows or the whole file refused or --yes
needed, 2 usage.";

/// The help with the mappings that are built in.
fn after_help() -> String {
    format!(
        "{AFTER_HELP}\n\nBuilt-in mappings for --mapping, and for `mapping` of a [[source]] where they make passages; a file of\n\
         the same form (schemas/mappings/) may be given instead:\n{}",
        BuiltIn::described()
    )
}

/// Import an operator's file as the next version of a dataset
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = after_help())]
pub struct Args {
    #[command(subcommand)]
    pub what: What,
    /// Say what would change and change nothing
    #[arg(long, global = true)]
    pub dry_run: bool,
    /// Take the whole file or nothing: one refused row refuses it
    #[arg(long, global = true)]
    pub strict: bool,
    /// Accept a file without rows, which empties the dataset; what is in force goes only with --yes as well
    #[arg(long, global = true)]
    pub allow_empty: bool,
    /// Accept that more of what is in force goes than `import.max_removed_share` of the configuration
    #[arg(long, global = true)]
    pub yes: bool,
    /// Address of the database, over the configuration's
    #[arg(long, value_name = "URL", global = true)]
    pub database: Option<String>,
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Foreign names, codes, dates and units: a built-in mapping or a file in TOML
    #[arg(long, value_name = "NAME|FILE", global = true)]
    pub mapping: Option<String>,
    /// The sheet of a workbook to read; the one with content that it shows where not given
    #[arg(long, value_name = "NAME", global = true)]
    pub sheet: Option<String>,
    /// The encoding of a CSV; found out where not given
    #[arg(long, value_enum, value_name = "NAME", global = true)]
    pub encoding: Option<TextEncoding>,
    /// Write every row that differs, with its contents, into this file as JSON lines
    #[arg(long, value_name = "FILE", global = true)]
    pub report: Option<PathBuf>,
    /// Who imports, for the record; the name of the user where not given
    #[arg(long, value_name = "NAME", global = true)]
    pub by: Option<String>,
}

#[derive(Clone, Debug, clap::Subcommand)]
pub enum What {
    /// The vehicle register, CSV or XLSX
    #[command(after_help = "Example:\n  dieselwatch import vehicles vehicles.csv --dry-run")]
    Vehicles { file: PathBuf },
    /// A list of vehicles, CSV or XLSX
    #[command(after_help = "Example:\n  dieselwatch import list retire_n3 retire_n3.csv")]
    List {
        /// Such as retire_n3: lower-case letters, digits, underscores
        #[arg(value_parser = ListName::parse)]
        name: ListName,
        file: PathBuf,
    },
    /// Zones, GeoJSON
    #[command(after_help = "Examples:\n  dieselwatch import zones zones.geojson\n  \
        dieselwatch import zones --datum gcj02 drawn-on-a-chinese-map.geojson")]
    Zones {
        file: PathBuf,
        /// What the coordinates are in; GCJ-02 is converted, nothing is guessed
        #[arg(long, value_enum, default_value_t)]
        datum: Datum,
    },
    /// Roadside stations, CSV or XLSX
    #[command(after_help = "Example:\n  dieselwatch import stations stations.csv")]
    Stations { file: PathBuf },
    /// Terminals and machine trackers, CSV or XLSX
    #[command(after_help = "Example:\n  dieselwatch import devices devices.csv --strict")]
    Devices { file: PathBuf },
    /// Reports of inspection stations, CSV or XLSX
    #[command(after_help = "Example:\n  dieselwatch import inspections inspections.csv --dry-run")]
    Inspections { file: PathBuf },
    /// Bring back the content of an earlier version, as a new one
    #[command(after_help = "Examples:\n  dieselwatch import rollback vehicles --to 3 --dry-run\n  \
        dieselwatch import rollback list:retire_n3 --to 7")]
    Rollback {
        /// vehicles, zones, stations, devices or list:NAME
        dataset: Dataset,
        /// The version to bring back; `import history` shows them
        #[arg(long, value_name = "VERSION")]
        to: i32,
    },
    /// Show who imported what, when, from which file
    #[command(after_help = "Examples:\n  dieselwatch import history\n  dieselwatch import history list:retire_n3")]
    History {
        /// vehicles, zones, stations, devices or list:NAME; all where not given
        dataset: Option<Dataset>,
    },
}

impl What {
    pub(super) fn dataset(&self) -> Option<Dataset> {
        Some(match self {
            What::Vehicles { .. } => Dataset::Vehicles,
            What::List { name, .. } => Dataset::List(name.clone()),
            What::Zones { .. } => Dataset::Zones,
            What::Stations { .. } => Dataset::Stations,
            What::Devices { .. } => Dataset::Devices,
            What::Inspections { .. } => Dataset::Inspections,
            What::Rollback { dataset, .. } => dataset.clone(),
            What::History { dataset } => return dataset.clone(),
        })
    }

    pub(super) fn file(&self) -> Option<&Path> {
        match self {
            What::Vehicles { file } | What::List { file, .. } | What::Zones { file, .. } => Some(file),
            What::Stations { file } | What::Devices { file } | What::Inspections { file } => Some(file),
            What::Rollback { .. } | What::History { .. } => None,
        }
    }

    /// What a mapping has to make; zones have none.
    pub(super) fn target(&self) -> Option<Target> {
        match self {
            What::Vehicles { .. } => Some(Target::Vehicles),
            What::List { .. } => Some(Target::List),
            What::Stations { .. } => Some(Target::Stations),
            What::Devices { .. } => Some(Target::Devices),
            What::Zones { .. } | What::Inspections { .. } | What::Rollback { .. } | What::History { .. } => None,
        }
    }
}
