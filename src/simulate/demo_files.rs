//! The import files of a fleet: what an operator would have exported from the register of vehicles and of devices.
//!
//! `schemas/demo` holds these files for [`Fleet::demo`]; a test keeps the two equal. Written by hand instead of through
//! the `csv` crate because no field here can hold a comma, a quote or a line break.

use std::{fmt::Write as _, fs, io, path::Path};

use serde_json::{Value, json};

use super::fleet::{
    Fleet, List, TerminalProtocol,
    geography::{self, Point},
};

/// File name and content of every import file, in the order to import them in.
pub fn files(fleet: &Fleet) -> Vec<(String, String)> {
    let mut files = vec![
        ("vehicles.csv".to_owned(), vehicles(fleet)),
        ("stations.csv".to_owned(), stations(fleet)),
        ("devices.csv".to_owned(), devices(fleet)),
        ("zones.geojson".to_owned(), zones()),
    ];
    files.extend(List::ALL.map(|list| (format!("list-{}.csv", list.name()), entries(fleet, list))));
    files
}

/// Writes the files into a folder, which is made when it is missing.
pub fn write(fleet: &Fleet, folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    files(fleet).into_iter().try_for_each(|(name, content)| fs::write(folder.join(name), content))
}

/// Writing to a `String` cannot fail; this keeps that in one place.
macro_rules! line {
    ($out:expr, $($argument:tt)*) => {
        writeln!($out, $($argument)*).expect("a string takes any text")
    };
}

fn vehicles(fleet: &Fleet) -> String {
    let mut out = String::from(
        "plate,plate_color,vin,fuel,emission_stage,vehicle_kind,use_nature,state,registered_on,owner_unit,local,\
         retrofit,reference_torque_nm\n",
    );
    for vehicle in &fleet.vehicles {
        let owner = match vehicle.owner {
            0 => String::new(),
            number => format!("周村第{number:02}运输队"),
        };
        line!(
            out,
            "{},{},{},{},{},{},{},{},{},{owner},{},{},{}",
            vehicle.plate.plate,
            vehicle.plate.colour,
            vehicle.vin,
            vehicle.fuel,
            vehicle.stage.map(|stage| stage.to_string()).unwrap_or_default(),
            vehicle.kind,
            vehicle.use_nature,
            vehicle.state,
            vehicle.registered_on,
            vehicle.local,
            vehicle.retrofit,
            vehicle.reference_torque_nm.map(|torque| torque.to_string()).unwrap_or_default(),
        );
    }
    out
}

fn stations(fleet: &Fleet) -> String {
    let mut out =
        String::from("station_id,name,kind,longitude,latitude,lane_count,slope_deg,calibrated_at,certificate_until\n");
    for station in &fleet.stations {
        line!(
            out,
            "{},{},{},{:.4},{:.4},{},{:.1},{}T08:00:00+08:00,{}",
            station.id,
            station.name,
            station.kind.name(),
            station.place.0,
            station.place.1,
            station.lanes,
            station.slope_deg,
            station.calibrated_on,
            station.certificate_until,
        );
    }
    out
}

fn devices(fleet: &Fleet) -> String {
    let mut out = String::from("device_id,kind,protocol,bound_to,installed_on,emission_stage\n");
    for terminal in &fleet.terminals {
        let protocol = match terminal.protocol {
            TerminalProtocol::Hj1239 => "hj1239",
            TerminalProtocol::Gb17691 => "gb17691",
        };
        line!(out, "{},obd,{protocol},{},{},", terminal.id, terminal.vin, terminal.installed_on);
    }
    for retrofit in &fleet.retrofits {
        let bound_to = retrofit.plate.map(|plate| plate.key().to_string()).unwrap_or_default();
        line!(out, "{},retrofit,hj1239,{bound_to},{},", retrofit.id, retrofit.installed_on);
    }
    for machine in &fleet.machines {
        line!(out, "{},nonroad,hj1014,,{},{}", machine.id, machine.installed_on, machine.stage);
    }
    out
}

fn entries(fleet: &Fleet, list: List) -> String {
    let mut out = String::from("plate,plate_color,valid_from,valid_to,reason,document_no\n");
    let (reason, document_no) = match list {
        List::HighEmission => ("遥感监测多次超标", "周环高排〔2026〕2号"),
        List::RetireN2 => ("国二及以下柴油车淘汰", "周环淘〔2024〕1号"),
        List::RetireN3 => ("国三营运柴油货车提前淘汰", "周环淘〔2025〕4号"),
        List::Scrapped => ("达到强制报废标准", "周公报废〔2025〕7号"),
        List::InspectionOverdue => ("逾期未检验", "周公检〔2026〕3号"),
        List::Exempt => ("民生保障车辆", "周环保障〔2026〕5号"),
    };
    for vehicle in fleet.vehicles.iter().filter(|vehicle| vehicle.is_on(list)) {
        line!(out, "{},{},2025-01-01,,{reason},{document_no}", vehicle.plate.plate, vehicle.plate.colour);
    }
    out
}

/// District outline, the vehicles' low-emission zone and the machines' control zone; all in force since 2025.
fn zones() -> String {
    let feature = |name: &str, kind: &str, rule: &str, ring: &[Point]| -> Value {
        let ring: Vec<[f64; 2]> = ring.iter().map(|&(lon, lat)| [lon, lat]).collect();
        json!({
            "type": "Feature",
            "properties": {
                "name": name,
                "kind": kind,
                "rule": rule,
                "valid_from": "2025-01-01",
                "valid_to": null,
                "hours": null,
            },
            "geometry": { "type": "Polygon", "coordinates": [ring] },
        })
    };
    let collection = json!({
        "type": "FeatureCollection",
        "features": [
            feature("演示区范围", "district", "outline", &geography::DISTRICT),
            feature("城区低排放控制区", "low_emission", "diesel_truck_stage_min_4", &geography::CONTROL_ZONE),
            feature("非道路移动机械禁用区", "nonroad_control", "nonroad_stage_min_3", &geography::CONTROL_ZONE),
        ],
    });
    format!("{collection:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn committed() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/demo")
    }

    /// `UPDATE_DEMO_FILES=1 cargo test --lib simulate::demo_files` writes the files instead of comparing them.
    #[test]
    fn committed_files_are_those_of_the_demo_fleet() {
        let fleet = Fleet::demo();
        if std::env::var_os("UPDATE_DEMO_FILES").is_some() {
            write(&fleet, &committed()).expect("schemas/demo is writable");
        }
        let mut expected: Vec<_> = files(&fleet);
        expected.sort();
        let mut found: Vec<_> = fs::read_dir(committed())
            .expect("schemas/demo is there")
            .map(|entry| entry.expect("readable").path())
            .map(|path| {
                let name = path.file_name().expect("a file").to_string_lossy().into_owned();
                (name, fs::read_to_string(&path).expect("text"))
            })
            .collect();
        found.sort();
        assert_eq!(
            found.iter().map(|(name, _)| name).collect::<Vec<_>>(),
            expected.iter().map(|(name, _)| name).collect::<Vec<_>>()
        );
        for ((name, found), (_, expected)) in found.iter().zip(&expected) {
            assert!(found == expected, "schemas/demo/{name} differs from what the generator writes");
        }
    }

    #[test]
    fn rows_have_as_many_fields_as_headers() {
        for (name, content) in files(&Fleet::demo()).into_iter().filter(|(name, _)| name.ends_with(".csv")) {
            let columns = content.lines().next().expect("a header").split(',').count();
            assert!(content.lines().count() > 3, "{name} is nearly empty");
            assert!(content.lines().all(|line| line.split(',').count() == columns), "{name}");
        }
    }
}
