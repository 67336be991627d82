//! Imports, loading and watching against a real PostgreSQL, and swaps under readers.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use clap::Parser as _;
use tokio_util::sync::CancellationToken;

use super::{
    directory::{get_or_create_device, get_or_create_station},
    facts::{EmissionStage, ListHit, MatchKind, Vehicle},
    import::{
        apply::{Outcome, Withheld},
        offline,
    },
    knowledge::{Knowledge, KnowledgeHandle},
    lists::{ListEntry, ListsBuilder},
    registry::RegistryBuilder,
    test_pg::{Database, PATIENCE, eventually},
    watch,
};
use crate::{
    cli,
    config::{self, Config, Protocol, SourceKind},
    reading::{DeviceId, Plate, PlateColor, PlateKey, StationId, Timestamp},
    store::connect::Connector,
};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/import").join(name)
}

fn key(plate: &str, colour: PlateColor) -> PlateKey {
    PlateKey::new(Plate::parse(plate).expect("legal"), colour)
}

fn noon(year: i32, month: u32, day: u32) -> Timestamp {
    Timestamp::from_china(year, month, day, 12, 0, 0).expect("a time")
}

#[derive(clap::Parser)]
struct Command {
    #[command(flatten)]
    args: cli::import::Args,
}

/// With `--yes`: how much goes is what one of these tests is about.
async fn try_import(database: &Database, line: &[&str]) -> Result<Outcome, cli::import::CommandError> {
    try_import_unasked(database, &[line, &["--yes"]].concat()).await
}

async fn try_import_unasked(database: &Database, line: &[&str]) -> Result<Outcome, cli::import::CommandError> {
    let address = database.address();
    let line = ["import"].iter().chain(line).copied().chain(["--database", &address, "--by", "tester"]);
    let command = Command::try_parse_from(line).expect("well-formed arguments");
    cli::import::import(&command.args).await.map(|(outcome, _)| outcome)
}

async fn import(database: &Database, what: &[&str], file: &str) -> Outcome {
    let path = fixture(file).display().to_string();
    let line: Vec<&str> = what.iter().copied().chain([path.as_str()]).collect();
    try_import(database, &line).await.expect("imported")
}

fn counts(outcome: &Outcome) -> (i32, i64, i64, i64, i64, u64) {
    let Outcome { version, added, changed, removed, kept, read, .. } = outcome;
    (*version, *added, *changed, *removed, *kept, read.refusals.count())
}

async fn loaded(database: &Database) -> Arc<Knowledge> {
    let handle = KnowledgeHandle::default();
    let mut client = database.connect().await;
    watch::refresh_once(&mut client, &handle).await.expect("loaded");
    handle.load()
}

#[tokio::test]
async fn vehicles_come_in_by_versions_and_every_version_stays() {
    let database = Database::migrated().await;
    let first = import(&database, &["vehicles"], "vehicles_utf8_bom.csv").await;
    assert_eq!(counts(&first), (1, 4, 0, 0, 0, 0));
    let again = import(&database, &["vehicles"], "vehicles_gbk.csv").await;
    assert_eq!(counts(&again), (2, 0, 0, 0, 4, 0), "the same content in another encoding");

    let knowledge = loaded(&database).await;
    let found = knowledge.match_vehicle(key("鲁C12345", PlateColor::Yellow), noon(2026, 7, 1));
    let vehicle = found.vehicle.expect("in the register");
    assert_eq!((found.kind, found.registry_version), (MatchKind::Exact, 2));
    assert_eq!(
        (vehicle.stage, vehicle.is_diesel(), vehicle.is_truck()),
        (EmissionStage::from_code(3), Some(true), true)
    );
    assert_eq!((vehicle.reference_torque_nm, vehicle.local), (Some(1_850), Some(true)));
    let by_vin = knowledge.match_vin("lgdcha1g8ma900002", noon(2026, 7, 1));
    assert_eq!(by_vin.vehicle, Some(vehicle));
    assert_eq!(knowledge.plate_of_vin("LGDCHA1G8MA900002"), Some(key("鲁C12345", PlateColor::Yellow)));

    let third = import(&database, &["vehicles"], "vehicles_bad_rows.csv").await;
    assert_eq!(counts(&third), (3, 4, 0, 4, 0, 7));
    let client = database.connect().await;
    let count = async |condition: &str| {
        let statement = format!("SELECT count(*) FROM vehicles WHERE {condition}");
        client.query_one(&statement, &[]).await.expect("counted").get::<_, i64>(0)
    };
    assert_eq!(count("to_version IS NULL").await, 4);
    assert_eq!(count("from_version <= 2 AND (to_version IS NULL OR to_version > 2)").await, 4);
    let audit = client
        .query("SELECT version, state, imported_by, rows_refused, file_encoding FROM imports ORDER BY version", &[])
        .await
        .expect("audited");
    let audit: Vec<(i32, String, String, i64, String)> =
        audit.iter().map(|r| (r.get(0), r.get(1), r.get(2), r.get(3), r.get(4))).collect();
    assert_eq!(audit[1], (2, "superseded".into(), "tester".into(), 0, "GBK".into()));
    assert_eq!(audit[2], (3, "in_force".into(), "tester".into(), 7, "UTF-8".into()));
    let kept = client.query("SELECT row_number FROM import_refusals ORDER BY row_number", &[]).await.expect("kept");
    assert_eq!(kept.iter().map(|r| r.get(0)).collect::<Vec<i64>>(), [3, 4, 5, 6, 7, 8, 10, 11, 12]);
}

/// The reasons are the same with and without a database, whoever finds them.
#[tokio::test]
async fn bad_rows_are_named_alike_offline_and_online() {
    let database = Database::migrated().await;
    let online = import(&database, &["vehicles"], "vehicles_bad_rows.csv").await;
    let (registry, offline) = offline::vehicles(&fixture("vehicles_bad_rows.csv")).expect("read");
    assert_eq!(online.read, offline);
    assert_eq!(registry.len(), 4);
    let reasons: Vec<(u64, &str)> = offline.refusals.rows().iter().map(|r| (r.row, r.reason.as_str())).collect();
    assert_eq!(
        reasons,
        [
            (3, "plate: plate is of no kind that GA 36 knows"),
            (4, "emission_stage: is not 0 to 6, 99 or empty"),
            (5, "plate_color: is none of blue, yellow, green, yellow_green, white, black, other, unknown"),
            (6, "fuel: is neither a letter of GA/T 16.9 nor a name of a fuel"),
            (7, "registered_on: is not a date from 1970-01-02 to 2149-06-06, such as 2016-09-30"),
            (8, "4 cells where the header has 5"),
            (10, "repeats row 9"),
        ]
    );
    let kept: Vec<u64> = offline.contradictions.rows().iter().map(|r| r.row).collect();
    assert_eq!(kept, [11, 12]);
}

#[tokio::test]
async fn what_is_withheld_changes_nothing() {
    let database = Database::migrated().await;
    import(&database, &["vehicles"], "vehicles_gbk.csv").await;
    let dry = import(&database, &["--dry-run", "vehicles"], "vehicles_bad_rows.csv").await;
    assert_eq!((dry.withheld, counts(&dry)), (Some(Withheld::DryRun), (2, 4, 0, 4, 0, 7)));
    let strict = import(&database, &["--strict", "vehicles"], "vehicles_bad_rows.csv").await;
    assert_eq!(strict.withheld, Some(Withheld::Strict));
    let folder = tempfile::tempdir().expect("a scratch folder");
    let file = folder.path().join("empty.csv");
    std::fs::write(&file, "plate,plate_color,fuel,emission_stage\n").expect("written");
    let path = file.display().to_string();
    let empty = try_import(&database, &["vehicles", &path]).await.expect("read");
    assert_eq!(empty.withheld, Some(Withheld::NothingTaken));
    assert_eq!(loaded(&database).await.registry.len(), 4);
    let emptied = try_import(&database, &["vehicles", &path, "--allow-empty"]).await.expect("read");
    assert_eq!((emptied.withheld, counts(&emptied)), (None, (2, 0, 0, 4, 0, 0)));
    assert_eq!(loaded(&database).await.registry.len(), 0);
}

#[tokio::test]
async fn wrong_files_and_places_are_told_in_a_sentence() {
    let database = Database::migrated().await;
    let sentence = async |line: &[&str]| {
        let error = try_import(&database, line).await.expect_err("refused");
        let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
        (error.exit_code(), causes.map(ToString::to_string).collect::<Vec<_>>().join(": "))
    };
    let stations = fixture("stations.csv").display().to_string();
    let (code, text) = sentence(&["vehicles", &stations]).await;
    assert_eq!(code, 1);
    assert!(text.contains("missing columns `plate`, `plate_color`, `fuel`, `emission_stage`"), "{text}");
    let (code, text) = sentence(&["zones", &stations]).await;
    assert_eq!(code, 1);
    assert!(text.contains("is not a GeoJSON feature collection"), "{text}");
    assert_eq!(sentence(&["vehicles", "/nonexistent.csv"]).await, (2, "/nonexistent.csv is not a file".into()));
    let bare = Database::empty().await;
    let error = try_import(&bare, &["stations", &stations]).await.expect_err("no tables");
    assert!(std::error::Error::source(&error).is_some_and(|e| e.to_string().contains("dieselwatch migrate")));
}

#[tokio::test]
async fn lists_zones_stations_and_devices_arrive_as_they_were_written() {
    let database = Database::migrated().await;
    import(&database, &["vehicles"], "vehicles_gbk.csv").await;
    assert_eq!(counts(&import(&database, &["list", "retire_n3"], "retire_n3.csv").await), (1, 2, 0, 0, 0, 0));
    import(&database, &["list", "scrapped"], "scrapped.csv").await;
    let bumped = import(&database, &["list", "scrapped"], "scrapped.csv").await;
    assert_eq!(counts(&bumped), (2, 0, 0, 0, 1, 0), "lists do not disturb each other");
    import(&database, &["stations"], "stations.csv").await;
    import(&database, &["devices"], "devices.csv").await;
    let zones = import(&database, &["zones"], "zones.geojson").await;
    assert_eq!(counts(&zones), (1, 2, 0, 0, 0, 1));
    let [bow_tie] = zones.read.refusals.rows() else { panic!("one refusal") };
    assert_eq!((bow_tie.row, bow_tie.reason.contains("crosses or touches ring 0 at 117.85")), (3, true), "{bow_tie:?}");

    let knowledge = loaded(&database).await;
    let labels = |plate, at| {
        let found = knowledge.match_vehicle(key(plate, PlateColor::Yellow), at);
        (found.kind, found.lists.iter().map(ListHit::label).collect::<Vec<_>>())
    };
    assert_eq!(labels("鲁C12345", noon(2026, 12, 31)), (MatchKind::Exact, vec!["retire_n3@v1".to_owned()]));
    assert_eq!(labels("鲁C12345", noon(2027, 1, 1)), (MatchKind::Exact, vec![]), "the last day is over");
    assert_eq!(labels("鲁C99999", noon(2026, 1, 1)), (MatchKind::Exact, vec!["scrapped@v2".to_owned()]));
    assert_eq!(labels("鲁C88888", noon(2026, 1, 1)), (MatchKind::None, vec![]));

    let north = knowledge.stations.find("370306-01").expect("known");
    assert_eq!((north.known, north.slope_deg, north.lon, north.lat), (true, Some(1.2), Some(117.87), Some(36.80)));
    assert_eq!(north.certificate_until, Timestamp::from_china(2027, 6, 1, 0, 0, 0), "the last day counts whole");
    let machine = knowledge.devices.find(SourceKind::Nonroad, "JX000000000000001").expect("known");
    assert_eq!((machine.emission_stage, machine.protocol, machine.known), (Some(2), Some(Protocol::Hj1014), true));
    let retrofit = knowledge.devices.find(SourceKind::Retrofit, "R-0001").expect("known");
    assert_eq!(
        knowledge.match_bound(retrofit, noon(2026, 1, 1)).vehicle.and_then(|v| v.stage).map(EmissionStage::code),
        Some(4)
    );

    let names = |lon, lat, at| knowledge.zones.containing(lon, lat, at).map(|z| z.name.to_string()).collect::<Vec<_>>();
    assert_eq!(names(117.90, 36.80, noon(2026, 1, 1)), ["core"]);
    assert_eq!(names(117.90, 36.80, noon(2024, 1, 1)), [""; 0]);
    let midnight = Timestamp::from_china(2026, 1, 1, 0, 30, 0).expect("a time");
    assert_eq!(names(118.0, 36.80, midnight), ["night"]);
    assert_eq!(names(118.0, 36.80, noon(2026, 1, 1)), [""; 0]);

    let area = crate::judge::TerminalTable::built_in().bounds().area;
    let (zones, read) = offline::zones(&fixture("zones.geojson"), crate::zone::Datum::Wgs84, &area).expect("read");
    assert_eq!(zones.iter().collect::<Vec<_>>(), knowledge.zones.iter().collect::<Vec<_>>());
    assert_eq!(read.refusals.rows(), std::slice::from_ref(bow_tie));
    let (offline_stations, _) = offline::stations(&fixture("stations.csv"), &area).expect("read");
    let same = |id: &str| (offline_stations.find(id).cloned(), knowledge.stations.find(id).cloned());
    let (a, b) = same("370306-02");
    assert_eq!(a.map(|s| super::stations::Station { id: 0, ..s }), b.map(|s| super::stations::Station { id: 0, ..s }));
}

#[tokio::test]
async fn a_new_calibration_does_not_hide_the_one_a_late_passage_was_measured_by() {
    let database = Database::migrated().await;
    let folder = tempfile::tempdir().expect("a scratch folder");
    let file = folder.path().join("stations.csv");
    for calibrated in ["2025-06-01", "2026-03-05"] {
        let text = format!("station_id,kind,calibrated_at\n370306-01,fixed_vertical,{calibrated}\n");
        std::fs::write(&file, text).expect("written");
        try_import(&database, &["stations", &file.display().to_string()]).await.expect("imported");
    }
    let knowledge = loaded(&database).await;
    let station = knowledge.stations.find("370306-01").expect("known");
    let midnight = |year, month, day| Timestamp::from_china(year, month, day, 0, 0, 0);
    assert_eq!(station.calibrated_before(noon(2026, 3, 1)), midnight(2025, 6, 1));
    assert_eq!(station.calibrated_before(noon(2026, 3, 6)), midnight(2026, 3, 5));
    assert_eq!(station.calibrated_before(noon(2025, 5, 1)), None);
}

#[tokio::test]
async fn newcomers_get_one_key_whoever_asks_and_keep_it_when_they_become_known() {
    let database = Database::migrated().await;
    let station = StationId::parse("370306-02").expect("legal");
    let device = DeviceId::parse("R-0001").expect("legal");
    let mut askers = tokio::task::JoinSet::new();
    for _ in 0..12 {
        let (client, station, device) = (database.connect().await, station.clone(), device.clone());
        askers.spawn(async move {
            let station = get_or_create_station(&client, &station).await.expect("a key");
            (station, get_or_create_device(&client, SourceKind::Retrofit, &device).await.expect("a key"))
        });
    }
    let keys = askers.join_all().await;
    assert!(keys.iter().all(|key| *key == keys[0]), "{keys:?}");
    let client = database.connect().await;
    let other = get_or_create_device(&client, SourceKind::Nonroad, &device).await.expect("a key");
    assert_ne!(other, keys[0].1, "kinds are kept apart");
    assert!(get_or_create_device(&client, SourceKind::Rs, &device).await.is_err());

    import(&database, &["stations"], "stations.csv").await;
    let found = loaded(&database).await.stations.find("370306-02").cloned().expect("known");
    assert_eq!((found.id, found.known), (keys[0].0, true));
    let folder = tempfile::tempdir().expect("a scratch folder");
    let file = folder.path().join("one.csv");
    std::fs::write(&file, "station_id,kind\nelsewhere,mobile\n").expect("written");
    try_import(&database, &["stations", &file.display().to_string()]).await.expect("imported");
    let gone = loaded(&database).await.stations.find("370306-02").cloned().expect("its identity stays");
    assert_eq!((gone.id, gone.known, gone.kind), (keys[0].0, false, None));
}

#[tokio::test]
async fn the_watch_hears_of_imports_and_finds_its_way_back() {
    let database = Database::migrated().await;
    let handle = KnowledgeHandle::default();
    let stop = CancellationToken::new();
    let settings = Config::built_in().expect("the default").database;
    let settings = config::Database { url: database.address(), ..settings };
    let connector = Connector::new(&settings).expect("an address");
    // The poll is out of reach, so that what is seen is seen by notification or after reconnecting.
    let watching = tokio::spawn(watch::run(connector, handle.clone(), Duration::from_secs(86_400), stop.clone()));
    let version = |of: &'static str| {
        let handle = handle.clone();
        async move { handle.load().versions().get(of).copied() }
    };
    let client = database.connect().await;
    let listening = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'
                     UNION SELECT pid FROM pg_stat_activity WHERE datname = current_database()
                     AND application_name = 'knowledge' AND query LIKE 'COMMIT%'";
    let pid: i32 =
        eventually("the watch listens", async || client.query_opt(listening, &[]).await.ok()?.map(|r| r.get(0))).await;
    import(&database, &["vehicles"], "vehicles_gbk.csv").await;
    eventually("version 1", async || version("vehicles").await.filter(|v| *v == 1)).await;

    client.execute("SELECT pg_terminate_backend($1)", &[&pid]).await.expect("ended");
    import(&database, &["list", "scrapped"], "scrapped.csv").await;
    import(&database, &["vehicles"], "vehicles_utf8_bom.csv").await;
    eventually("version 2", async || version("vehicles").await.filter(|v| *v == 2)).await;
    eventually("the list", async || version("list:scrapped").await.filter(|v| *v == 1)).await;
    stop.cancel();
    tokio::time::timeout(PATIENCE, watching).await.expect("stops").expect("without a panic");
}

#[tokio::test]
async fn only_what_changed_is_loaded_again() {
    let database = Database::migrated().await;
    import(&database, &["vehicles"], "vehicles_gbk.csv").await;
    let handle = KnowledgeHandle::default();
    let mut client = database.connect().await;
    watch::refresh_once(&mut client, &handle).await.expect("loaded");
    let before = handle.load();
    assert_eq!(watch::refresh_once(&mut client, &handle).await.expect("compared"), None);
    import(&database, &["list", "scrapped"], "scrapped.csv").await;
    let versions = watch::refresh_once(&mut client, &handle).await.expect("loaded").expect("changed");
    assert_eq!(versions.into_iter().collect::<Vec<_>>(), [("list:scrapped".to_owned(), 1), ("vehicles".to_owned(), 1)]);
    let after = handle.load();
    assert!(Arc::ptr_eq(&before.registry, &after.registry), "the register is shared");
    assert!(!Arc::ptr_eq(&before.lists, &after.lists));
}

#[tokio::test]
async fn imports_of_one_dataset_at_once_follow_each_other() {
    let database = Database::migrated().await;
    let files = ["vehicles_gbk.csv", "vehicles_bad_rows.csv", "vehicles_utf8_bom.csv"];
    let outcomes = futures_util::future::join_all(files.map(|file| import(&database, &["vehicles"], file))).await;
    let mut versions: Vec<i32> = outcomes.iter().map(|outcome| outcome.version).collect();
    versions.sort_unstable();
    assert_eq!(versions, [1, 2, 3]);
    let last = outcomes.iter().find(|outcome| outcome.version == 3).expect("a last one");
    let rows = (last.added + last.changed + last.kept) as usize;
    assert_eq!(loaded(&database).await.registry.len(), rows);
}

/// Each version puts the vehicle's stage and the list's version to the same number; no reader may ever see two.
#[test]
fn a_reader_sees_one_version_throughout() {
    let plate = key("鲁C12345", PlateColor::Yellow);
    let version = |number: u8| {
        let mut registry = RegistryBuilder::default();
        let vehicle = Vehicle {
            fuel: super::facts::Fuel::Diesel,
            fuel_code: *b"B\0",
            stage: EmissionStage::from_code(number % 7),
            kind: *b"H12",
            use_nature: b'F',
            states: 1,
            registered_on: None,
            local: None,
            retrofit: false,
            reference_torque_nm: None,
            vin: None,
            contradictory: false,
        };
        registry.push(plate, &vehicle);
        let mut lists = ListsBuilder::default();
        let list = lists.list("retire_n3", number.into());
        lists.push(list, plate, &ListEntry::default());
        Knowledge {
            registry: registry.build(number.into()).into(),
            lists: lists.build().into(),
            ..Knowledge::default()
        }
    };
    let handle = KnowledgeHandle::new(version(1));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut looks = 0u64;
                    while !done.load(Ordering::Relaxed) || looks == 0 {
                        let found = handle.load().match_vehicle(plate, Timestamp::EPOCH);
                        let version = found.registry_version;
                        assert_eq!(found.lists[0].version, version);
                        assert_eq!(
                            found.vehicle.and_then(|v| v.stage).map(EmissionStage::code),
                            Some((version % 7) as u8)
                        );
                        looks += 1;
                    }
                    looks
                })
            })
            .collect();
        for round in 0..2_000u32 {
            handle.swap(version(1 + (round % 200) as u8));
        }
        done.store(true, Ordering::Relaxed);
        for reader in readers {
            assert!(reader.join().expect("no panic") > 0);
        }
    });
}

/// Rows of one vehicle that say different things are all kept; what is in force is what they agree on, flagged.
#[tokio::test]
async fn contradictions_are_kept_flagged_and_brought_back() {
    let database = Database::migrated().await;
    let folder = tempfile::tempdir().expect("a scratch folder");
    let write = |name: &str, rows: &str| {
        let file = folder.path().join(name);
        let header = "plate,plate_color,vin,fuel,emission_stage,owner_unit,local,retrofit\n";
        std::fs::write(&file, format!("{header}{rows}")).expect("written");
        file.display().to_string()
    };
    let vin = ["LGDCHA1G8MA900002", "LGDCHA1G8MA900003"];
    let clean =
        write("clean.csv", &format!("鲁C00001,yellow,{},B,3,一队,true,true\n鲁C00002,yellow,,B,4,,,\n", vin[0]));
    let first = try_import(&database, &["vehicles", &clean]).await.expect("imported");
    assert_eq!(counts(&first), (1, 2, 0, 0, 0, 0));
    let rows = format!(
        "鲁C00001,yellow,{0},B,3,一队,true,true\n鲁C00001,yellow,{0},A,,一队,true,\n鲁C00002,yellow,{0},B,4,二队,,\n\
         鲁C00002,yellow,{1},B,4,三队,,\n鲁C00003,blue,,AB,3,,,\n鲁C00004,green,,C,99,,,\n鲁C00005,yellow,,B,99,,,\n",
        vin[0], vin[1]
    );
    let disputed = write("disputed.csv", &rows);
    let report = folder.path().join("report.jsonl").display().to_string();
    let line = ["vehicles", &disputed, "--report", &report];
    let strict = try_import(&database, &[&line[..], &["--strict"]].concat()).await.expect("read");
    assert_eq!(strict.withheld, Some(Withheld::Strict));
    let second = try_import(&database, &line).await.expect("imported");
    assert_eq!(counts(&second), (2, 3, 2, 0, 0, 0));
    assert_eq!(
        second.by_column,
        [("vin", 0), ("fuel", 1), ("emission_stage", 1), ("owner_unit", 0), ("retrofit", 1), ("contradictory", 2)]
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .collect::<Vec<_>>()
    );
    let told: Vec<(u64, &str)> = second.read.contradictions.rows().iter().map(|r| (r.row, r.reason.as_str())).collect();
    assert_eq!(
        told,
        [
            (2, "contradicts row 3 in fuel, emission_stage, retrofit: kept and flagged"),
            (3, "contradicts row 2 in fuel, emission_stage, retrofit: kept and flagged"),
            (4, "contradicts row 5 in vin, owner_unit: kept and flagged"),
            (5, "contradicts row 4 in vin, owner_unit: kept and flagged"),
            (6, super::import::rows::CONTRADICTS_ITSELF),
            (8, super::import::rows::CONTRADICTS_ITSELF),
        ]
    );
    let (registry, offline) = offline::vehicles(Path::new(&disputed)).expect("read");
    assert_eq!(offline, second.read, "the same without a database");

    let knowledge = loaded(&database).await;
    for plate in ["鲁C00001", "鲁C00002", "鲁C00005"] {
        let key = key(plate, PlateColor::Yellow);
        let vehicle = knowledge.registry.find(key).expect("kept");
        assert_eq!(Some(vehicle), registry.find(key), "{plate}: the same without a database");
        assert!(vehicle.contradictory, "{plate}");
    }
    let find = |plate, colour| knowledge.registry.find(key(plate, colour)).expect("kept");
    let first = find("鲁C00001", PlateColor::Yellow);
    assert_eq!(
        (first.fuel, first.stage, first.retrofit, first.local),
        (super::facts::Fuel::Unknown, None, false, Some(true))
    );
    assert_eq!(first.vin.map(|vin| vin.to_string()).as_deref(), Some(vin[0]), "what both say stands");
    let second = find("鲁C00002", PlateColor::Yellow);
    assert_eq!((second.is_diesel(), second.vin), (Some(true), None));
    assert_eq!(find("鲁C00003", PlateColor::Blue).fuel, super::facts::Fuel::Unknown);
    assert!(find("鲁C00003", PlateColor::Blue).contradictory && !find("鲁C00004", PlateColor::Green).contradictory);

    let client = database.connect().await;
    let count = async |condition: &str| {
        let statement = format!("SELECT count(*) FROM vehicle_contradictions WHERE {condition}");
        client.query_one(&statement, &[]).await.expect("counted").get::<_, i64>(0)
    };
    assert_eq!(count("to_version IS NULL").await, 4);
    let text = std::fs::read_to_string(&report).expect("a report");
    let entries: Vec<serde_json::Value> = text.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
    let of = |change: &str| entries.iter().filter(|entry| entry["change"] == change).count();
    assert_eq!((of("added"), of("changed"), of("removed"), of("contradictory"), of("counts")), (3, 2, 0, 6, 1));
    let changed =
        entries.iter().find(|e| e["change"] == "changed" && e["old"]["plate"] == "鲁C00001").expect("changed");
    assert_eq!(changed["columns"], serde_json::json!(["fuel", "emission_stage", "retrofit", "contradictory"]));
    assert_eq!((changed["row"].as_i64(), &changed["new"]["fuel"]), (Some(2), &serde_json::Value::Null));

    let clean_again = try_import(&database, &["vehicles", &clean]).await.expect("imported");
    assert_eq!(counts(&clean_again), (3, 0, 2, 3, 0, 0));
    assert_eq!(count("to_version IS NULL").await, 0);
    let dry = try_import(&database, &["rollback", "vehicles", "--to", "2", "--dry-run"]).await.expect("compared");
    assert_eq!((dry.withheld, counts(&dry)), (Some(Withheld::DryRun), (4, 3, 2, 0, 0, 0)));
    let back = try_import(&database, &["rollback", "vehicles", "--to", "2"]).await.expect("rolled back");
    assert_eq!((back.withheld, counts(&back)), (None, (4, 3, 2, 0, 0, 0)));
    let restored = loaded(&database).await;
    assert_eq!(restored.registry.find(key("鲁C00001", PlateColor::Yellow)), Some(first));
    assert_eq!((restored.registry.len(), count("to_version IS NULL").await), (5, 4));
    let error = try_import(&database, &["rollback", "vehicles", "--to", "9"]).await.expect_err("no such version");
    assert_eq!((error.exit_code(), error.to_string()), (1, "roll back vehicles".into()));
    let history = cli::import::history_text(&client, None).await.expect("a history");
    assert_eq!(history.lines().count(), 4);
    let last = history.lines().last().expect("a line");
    assert!(
        last.starts_with("vehicles version 4 (in force) ")
            && last.contains(" by tester, back to version 2: disputed.csv"),
        "{last}"
    );
    assert!(last.contains("added 3, changed 2, removed 0, unchanged 0, refused 0, contradictory 6"), "{last}");
}

/// A vehicle does not drop off a list because two lines of it disagree about the end or the document.
#[tokio::test]
async fn lines_of_a_list_that_disagree_are_one_entry() {
    let database = Database::migrated().await;
    let folder = tempfile::tempdir().expect("a scratch folder");
    let file = folder.path().join("scrapped.csv");
    let rows = "plate,plate_color,valid_from,valid_to,reason,document_no\n\
                鲁C00001,yellow,2026-01-01,,art. 4,2026-7\n鲁C00001,yellow,2026-01-01,2026-06-30,art. 4,2026-8\n\
                鲁C00002,yellow,,,art. 4,2026-7\n鲁C00002,yellow,,,art. 5,\n\
                鲁C00003,yellow,2026-01-01,2026-06-30,,2026-7\n鲁C00003,yellow,2026-07-01,,,2026-8\n\
                鲁C00004,yellow,2026-01-01,,,\n鲁C00004,yellow,2026-01-01,,,\n";
    std::fs::write(&file, rows).expect("written");
    let line = ["list", "scrapped", &file.display().to_string()].map(str::to_owned);
    let line: Vec<&str> = line.iter().map(String::as_str).collect();
    let strict = try_import(&database, &[&line[..], &["--strict"]].concat()).await.expect("read");
    assert_eq!(strict.withheld, Some(Withheld::Strict));
    let online = try_import(&database, &line).await.expect("imported");
    assert_eq!(counts(&online), (1, 5, 0, 0, 0, 1));
    let told: Vec<(u64, &str)> = online.read.contradictions.rows().iter().map(|r| (r.row, r.reason.as_str())).collect();
    assert_eq!(
        told,
        [
            (2, "contradicts row 3 in valid_to, document_no: kept as what they agree on"),
            (3, "contradicts row 2 in valid_to, document_no: kept as what they agree on"),
            (4, "contradicts row 5 in reason, document_no: kept as what they agree on"),
            (5, "contradicts row 4 in reason, document_no: kept as what they agree on"),
        ]
    );
    let mut builder = ListsBuilder::default();
    let read = offline::list("scrapped", &file, &mut builder).expect("read");
    assert_eq!(read, online.read, "the same without a database");
    let (offline, knowledge) = (builder.build(), loaded(&database).await);
    let midnight = |year, month, day| Timestamp::from_china(year, month, day, 0, 0, 0);
    let hit = |plate: &str, at: Timestamp| {
        let key = key(plate, PlateColor::Yellow);
        let found = knowledge.lists.find(key, at);
        assert_eq!(found, offline.find(key, at), "{plate}: the same without a database");
        found.first().map(|hit| (hit.valid_to, hit.reason.as_deref().map(str::to_owned), hit.document_no.clone()))
    };
    let shorter = (midnight(2026, 7, 1), Some("art. 4".to_owned()), None);
    assert_eq!(hit("鲁C00001", noon(2026, 6, 30)), Some(shorter));
    assert_eq!(hit("鲁C00001", noon(2026, 7, 1)), None);
    assert_eq!(hit("鲁C00002", noon(2026, 7, 1)), Some((None, None, None)));
    assert!(hit("鲁C00003", noon(2026, 7, 1)).is_some_and(|(_, _, document)| document.as_deref() == Some("2026-8")));
    assert!(hit("鲁C00004", noon(2026, 7, 1)).is_some());
    let again = try_import(&database, &line).await.expect("imported");
    assert_eq!(counts(&again), (2, 0, 0, 0, 5, 1), "the same file changes nothing");
    let back = try_import(&database, &["rollback", "list:scrapped", "--to", "1"]).await.expect("rolled back");
    assert_eq!((back.withheld, back.kept), (None, 5));
}

/// What rows in force once said of a plate is read back as of any time.
#[tokio::test]
async fn the_register_tells_what_it_said_at_a_time() {
    let database = Database::migrated().await;
    let folder = tempfile::tempdir().expect("a scratch folder");
    let before = Timestamp::now();
    let mut times = Vec::new();
    for (number, rows) in
        ["鲁C00001,yellow,B,3,A\n", "鲁C00001,yellow,B,3,E\n鲁C00002,yellow,A,5,A\n"].iter().enumerate()
    {
        let file = folder.path().join(format!("{number}.csv"));
        std::fs::write(&file, format!("plate,plate_color,fuel,emission_stage,state\n{rows}")).expect("written");
        try_import(&database, &["vehicles", &file.display().to_string()]).await.expect("imported");
        times.push(Timestamp::now());
    }
    let mut client = database.connect().await;
    let transaction = client.transaction().await.expect("begun");
    let key = |plate| key(plate, PlateColor::Yellow).as_i64();
    let asked = [
        (key("鲁C00001"), times[1]),
        (key("鲁C00001"), times[0]),
        (key("鲁C00002"), times[0]),
        (key("鲁C00002"), times[1]),
        (key("鲁C00001"), before),
    ];
    let found = super::past::load(&transaction, &asked).await.expect("read");
    let said: Vec<_> = found
        .iter()
        .map(|then| then.as_ref().map(|then| (then.version, then.vehicle.map(|v| (v.fuel, v.has_state(b'E'))))))
        .collect();
    use super::facts::Fuel;
    assert_eq!(
        said,
        [
            Some((2, Some((Fuel::Diesel, true)))),
            Some((1, Some((Fuel::Diesel, false)))),
            Some((1, None)),
            Some((2, Some((Fuel::Petrol, false)))),
            None,
        ]
    );
}

/// A row of a fuel and a stage that exclude each other says neither, in memory as in the row.
#[tokio::test]
async fn a_row_that_contradicts_itself_does_not_acquit() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let file = folder.path().join("vehicles.csv");
    let rows =
        "plate,plate_color,fuel,emission_stage\n鲁C00001,yellow,C,3\n鲁C00002,yellow,B,99\n鲁C00003,green,C,99\n";
    std::fs::write(&file, rows).expect("written");
    let (registry, _) = offline::vehicles(&file).expect("read");
    let find = |plate, colour| registry.find(key(plate, colour)).expect("kept");
    for plate in ["鲁C00001", "鲁C00002"] {
        let vehicle = find(plate, PlateColor::Yellow);
        assert_eq!((vehicle.fuel, vehicle.stage), (super::facts::Fuel::Unknown, None), "{plate}");
        assert!(vehicle.contradictory, "{plate}");
    }
    let electric = find("鲁C00003", PlateColor::Green);
    assert_eq!((electric.fuel, electric.contradictory), (super::facts::Fuel::Electric, false));
}

/// One VIN on two plates in use: one of them is wrong or false, and nobody here can say which.
#[tokio::test]
async fn a_vin_on_two_plates_in_use_flags_both() {
    let database = Database::migrated().await;
    let folder = tempfile::tempdir().expect("a scratch folder");
    let file = folder.path().join("shared.csv");
    let (vin, none) = ("LGDCHA1G8MA900002", "00000000000000000");
    let rows = format!(
        "plate,plate_color,vin,fuel,emission_stage,state\n鲁C00001,yellow,{vin},B,3,A\n鲁C00002,yellow,{vin},B,4,\n\
         鲁C00003,yellow,{vin},B,3,EQ\n鲁C00004,yellow,{none},B,3,A\n鲁C00005,yellow,{none},B,3,A\n\
         鲁C00006,yellow,LGDCHA1G8MA900003,B,3,A\n鲁C00007,yellow,{vin},AB,3,A\n"
    );
    std::fs::write(&file, rows).expect("written");
    let online = try_import(&database, &["vehicles", &file.display().to_string()]).await.expect("imported");
    let told: Vec<(u64, &str)> = online.read.contradictions.rows().iter().map(|r| (r.row, r.reason.as_str())).collect();
    assert_eq!(
        told,
        [
            (2, "has the vin of row 8, and both are in use: kept and flagged"),
            (3, "has the vin of row 2, and both are in use: kept and flagged"),
            (8, super::import::rows::CONTRADICTS_ITSELF),
        ]
    );
    let (registry, offline) = offline::vehicles(&file).expect("read");
    assert_eq!(offline, online.read, "the same without a database");
    let knowledge = loaded(&database).await;
    for (number, flagged) in [(1, true), (2, true), (3, false), (4, false), (5, false), (6, false), (7, true)] {
        let key = key(&format!("鲁C0000{number}"), PlateColor::Yellow);
        let vehicle = knowledge.registry.find(key).expect("kept");
        assert_eq!((vehicle.contradictory, Some(vehicle)), (flagged, registry.find(key)), "鲁C0000{number}");
    }
}

/// A police export with names, codes and dates of its own, as CSV and as a workbook, ends in the same register.
#[tokio::test]
async fn foreign_exports_come_in_through_a_mapping() {
    use super::import::workbook_tests::{row, workbook};
    let database = Database::migrated().await;
    let folder = tempfile::tempdir().expect("a scratch folder");
    let rows = [
        ["hphm", "hpzl", "clsbdh", "rlzl", "hbdbqk", "cllx", "syxz", "zt", "ccdjrq", "syr", "clpp1", "bz"],
        ["鲁C12345", "01", "LGDCHA1G8MA900002", "B", "国三", "H12", "F", "A", "2012-05-06", "运输公司", "x", "y"],
        ["鲁CD12345", "52", "", "C", "零排放", "K33", "A", "A", "20200102", "", "", ""],
        ["鲁C99999", "07", "", "A", "国五", "", "", "", "", "", "", ""],
        ["鲁C88888", "02", "", "A", "国五", "", "", "", "2015", "", "", ""],
    ];
    let file = folder.path().join("export.csv");
    std::fs::write(&file, rows.map(|row| row.join(",")).join("\n")).expect("written");
    let line = ["vehicles", &file.display().to_string(), "--mapping", "ga-vehicles"];
    let csv = try_import(&database, &line).await.expect("imported");
    assert_eq!(counts(&csv), (1, 2, 0, 0, 0, 2));
    let told: Vec<(u64, &str)> = csv.read.refusals.rows().iter().map(|r| (r.row, r.reason.as_str())).collect();
    assert_eq!(
        told,
        [
            (4, "hpzl (plate_color): is no colour; the mapping names no table of codes"),
            (5, "ccdjrq (registered_on): is no time of the form the mapping gives"),
        ]
    );
    let knowledge = loaded(&database).await;
    let truck = knowledge.registry.find(key("鲁C12345", PlateColor::Yellow)).expect("known");
    assert_eq!((truck.stage, truck.is_truck(), truck.registered_on), (EmissionStage::from_code(3), true, Some(15_466)));
    let car = knowledge.registry.find(key("鲁CD12345", PlateColor::Green)).expect("known");
    assert_eq!((car.stage, car.contradictory), (EmissionStage::from_code(99), false));

    let mut sheet = String::new();
    for (number, cells) in (1..).zip(&rows) {
        let mut cells = *cells;
        if number == 2 {
            // A true date instead of its text: 2012-05-06.
            cells[8] = r#"#s="1"|<v>41035</v>"#;
        }
        sheet += &row(number, &cells);
    }
    let book = workbook(&[("登记", &sheet)], ">");
    let path = book.path().display().to_string();
    let again = try_import(&database, &["vehicles", &path, "--mapping", "ga-vehicles"]).await.expect("imported");
    assert_eq!(counts(&again), (2, 0, 0, 0, 2, 2), "the same content from a workbook");
    assert_eq!(again.read.refusals, csv.read.refusals);
    let wrong = try_import(&database, &["vehicles", &path, "--mapping", "rs-consumer"]).await.expect_err("passages");
    assert_eq!(
        (wrong.exit_code(), wrong.to_string()),
        (2, "the mapping rs-consumer makes passage, not vehicles".into())
    );
    let sheetless = try_import(&database, &["vehicles", &path, "--sheet", "x"]).await.expect_err("no such sheet");
    assert_eq!(sheetless.exit_code(), 1);
}

/// Half a file, or one whose rows are refused, does not let a tenth of a list drop off it without a person's yes.
#[tokio::test]
async fn what_would_remove_much_waits_for_a_yes() {
    let database = Database::migrated().await;
    let folder = tempfile::tempdir().expect("a scratch folder");
    let list = |rows: usize| {
        let file = folder.path().join(format!("{rows}.csv"));
        let rows: String = (0..rows).map(|number| format!("鲁C{:05},yellow\n", 10_000 + number)).collect();
        std::fs::write(&file, format!("plate,plate_color\n{rows}")).expect("written");
        file.display().to_string()
    };
    let unasked = async |line: &[&str]| try_import_unasked(&database, line).await.expect("read");
    let first = unasked(&["list", "scrapped", &list(20)]).await;
    assert_eq!((first.withheld, first.removes_much, first.added), (None, false, 20), "an empty list asks for nothing");
    let tenth = unasked(&["list", "scrapped", &list(18)]).await;
    assert_eq!((tenth.withheld, tenth.removed), (None, 2), "exactly the share may go");
    let more = unasked(&["list", "scrapped", &list(16)]).await;
    assert_eq!(
        (more.withheld, more.removes_much, more.removed, more.before()),
        (Some(Withheld::RemovesMuch), true, 2, 18)
    );
    let dry = unasked(&["list", "scrapped", &list(16), "--dry-run"]).await;
    assert_eq!((dry.withheld, dry.removes_much), (Some(Withheld::DryRun), true), "a rehearsal tells");
    let agreed = unasked(&["list", "scrapped", &list(16), "--yes"]).await;
    assert_eq!((agreed.withheld, agreed.version), (None, 3));
    let all = unasked(&["list", "scrapped", &list(0), "--allow-empty"]).await;
    assert_eq!((all.withheld, all.removed), (Some(Withheld::RemovesMuch), 16), "an empty file removes all");
    unasked(&["list", "scrapped", &list(20)]).await;
    let back = unasked(&["rollback", "list:scrapped", "--to", "3"]).await;
    assert_eq!((back.withheld, back.removed), (Some(Withheld::RemovesMuch), 4), "so does a rollback");
    let back = unasked(&["rollback", "list:scrapped", "--to", "3", "--yes"]).await;
    assert_eq!((back.withheld, back.version), (None, 5));
}
