//! The real service, as its own process, against a real PostgreSQL and a real broker.

#[path = "service/alarms.rs"]
mod alarms;
#[path = "service/bad_input.rs"]
mod bad_input;
#[path = "service/carriers.rs"]
mod carriers;
#[path = "service/conflicts.rs"]
mod conflicts;
#[path = "service/crash.rs"]
mod crash;
#[path = "service/evaluation.rs"]
mod evaluation;
#[path = "service/every_byte.rs"]
mod every_byte;
#[path = "service/outage.rs"]
mod outage;
#[path = "service/plates.rs"]
mod plates;
#[path = "service/recalculation.rs"]
mod recalculation;
#[path = "service/refused_start.rs"]
mod refused_start;
#[path = "service/repeats.rs"]
mod repeats;
#[path = "service/replicas.rs"]
mod replicas;
#[path = "service/rules.rs"]
mod rules;
#[path = "service/sick_servers.rs"]
mod sick_servers;
#[path = "service/signatures.rs"]
mod signatures;
#[path = "service/sources.rs"]
mod sources;
#[path = "service/tables.rs"]
mod tables;
#[path = "service/terminals.rs"]
mod terminals;
#[path = "service/warnings.rs"]
mod warnings;
#[path = "service/year.rs"]
mod year;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use dieselwatch::simulate::{self, Broker, Mix, Scenario, SimulateOptions, Summary};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_postgres::Client;

use crate::support::{
    self,
    http::metric,
    mosquitto::Mosquitto,
    postgres::{self, TestDatabase},
    service::{Service, Setting},
};

/// Broker, database and a folder for one test; the service is the test's to start.
struct World {
    setting: Setting,
    client: Client,
    broker: Mosquitto,
    // Last, because the service's database is dropped with it.
    _database: TestDatabase,
    folder: TempDir,
}

impl World {
    /// `None` where a server is not installed.
    async fn new() -> Option<Self> {
        let broker = Mosquitto::start().await?;
        let database = postgres::database().await?;
        let folder = support::scratch();
        let setting = Setting::new(folder.path(), &broker.url(), database.url());
        setting.succeed(&["migrate"]).await;
        let client = database.client().await;
        Some(Self { setting, client, broker, _database: database, folder })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Imports a table of the test's own.
    async fn import(&self, what: &[&str], name: &str, text: &str) {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        import_file(&self.setting, what, &path).await;
    }

    async fn count(&self, sql: &str) -> i64 {
        count(&self.client, sql).await
    }

    async fn until_count(&self, sql: &str, wanted: i64) {
        support::until(sql, async || (self.count(sql).await == wanted).then_some(())).await;
    }

    /// Rules of the findings in force, or revoked ones, in order.
    async fn rules(&self, state: i16) -> Vec<String> {
        let rows = self.client.query("SELECT rule FROM finding WHERE state = $1 ORDER BY rule", &[&state]).await;
        rows.unwrap().iter().map(|row| row.get(0)).collect()
    }

    /// Bodies of the events for Kafka, whoever sends them.
    async fn events(&self) -> Vec<Value> {
        let rows = self.client.query("SELECT payload FROM outbox ORDER BY id", &[]).await.unwrap();
        rows.iter().map(|row| serde_json::from_slice(row.get(0)).unwrap()).collect()
    }
}

async fn count(client: &Client, sql: &str) -> i64 {
    client.query_one(sql, &[]).await.unwrap().get(0)
}

async fn import_file(setting: &Setting, what: &[&str], path: &Path) {
    let mut arguments = vec!["import"];
    arguments.extend(what);
    arguments.push(path.to_str().unwrap());
    // Lists here are replaced as their tests need it.
    arguments.push("--yes");
    setting.succeed(&arguments).await;
}

/// Register, lists, stations, devices and zones of the simulated district.
async fn import_district(setting: &Setting) {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/demo");
    for (what, file) in [
        (&["vehicles"][..], "vehicles.csv"),
        (&["list", "scrapped"], "list-scrapped.csv"),
        (&["stations"], "stations.csv"),
        (&["devices"], "devices.csv"),
        (&["zones"], "zones.geojson"),
    ] {
        import_file(setting, what, &demo.join(file)).await;
    }
}

/// A run of the fleet beside the test, with a ledger.
struct Fleet {
    broker: String,
    rate: f64,
    seconds: u64,
    seed: u64,
    scenario: Scenario,
    ledger: PathBuf,
}

impl Fleet {
    fn new(world: &World, rate: f64, seconds: u64) -> Self {
        let ledger = world.path("ledger.jsonl");
        Self { broker: world.broker.url(), rate, seconds, seed: 1, scenario: Scenario::calm(), ledger }
    }

    fn start(self) -> JoinHandle<Summary> {
        let mut options = SimulateOptions::new(Broker::parse(&self.broker, None, None, None).unwrap());
        options.rate = self.rate;
        options.seconds = Some(self.seconds);
        options.seed = self.seed;
        // Few terminals that speak more often than they would, so that a short run holds more than their logins.
        options.fleet = Some(Arc::new(simulate::Fleet::demo()));
        options.mix = Mix::new([0.7, 0.18, 0.06, 0.06]).unwrap();
        options.scenario = self.scenario;
        options.ledger = Some(self.ledger);
        options.drain = support::LIMIT;
        tokio::spawn(async move { simulate::run(options).await.unwrap() })
    }
}

/// Waits until everything the service received is settled and both its books balance.
async fn balanced(service: &Service) {
    support::until("both books to balance", async || {
        let text = service.metrics().await;
        let sum = |name: &str| metric(&text, name, &[]);
        let messages = sum("dieselwatch_messages_settled_total") + sum("dieselwatch_messages_returned_total");
        let readings = sum("dieselwatch_readings_stored_total")
            + sum("dieselwatch_readings_duplicate_total")
            + sum("dieselwatch_readings_conflict_total")
            + sum("dieselwatch_readings_quarantined_total");
        let received = sum("dieselwatch_messages_received_total");
        let quiet = sum("dieselwatch_messages_in_flight") == 0.0 && received > 0.0;
        (quiet && messages == received && readings == sum("dieselwatch_readings_decoded_total")).then_some(())
    })
    .await;
}

/// Waits until this many messages are acknowledged.
async fn settled(service: &Service, messages: u64) {
    support::until("the messages to be acknowledged", async || {
        (metric(&service.metrics().await, "dieselwatch_messages_settled_total", &[]) >= messages as f64).then_some(())
    })
    .await;
}

const STATION: &str = "370306-01";
const PASSAGES: &str = "dw/v1/rs/370306-01/passage";

/// A registered diesel vehicle, and nothing else.
const VEHICLES: &str = "plate,plate_color,vin,fuel,emission_stage,vehicle_kind,use_nature,state,registered_on,local\n\
    鲁C12345,yellow,LGDCHA1G8MA900002,B,3,H12,F,A,2012-05-01,true\n";

/// A valid measurement of that vehicle; 30 % is its limit.
fn passage(record: &str, passed_at: &str, opacity: f64) -> Value {
    json!({
        "station_id": STATION, "record_id": record, "passed_at": passed_at, "plate": "鲁C12345",
        "plate_color": "yellow", "lane": 1, "plate_confidence": 0.97, "speed_kmh": 42.5, "acceleration_ms2": 0.35,
        "slope_deg": 0.5, "vsp_kwt": 7.9, "co2_pct": 9.8, "co_pct": 0.05, "hc_ppm": -3.2, "no_ppm": 612.0,
        "opacity_pct": opacity, "ringelmann": 0, "wind_speed_ms": 1.8, "temperature_c": 8.5, "humidity_pct": 45,
        "pressure_kpa": 101.2, "precipitation": false
    })
}

/// An instant this long ago, as devices write it.
fn ago(seconds: i64) -> String {
    dieselwatch::reading::Timestamp::now().plus_seconds(-seconds).to_string()
}
