//! What the page shows out of the database.
//!
//! Every query ends at a limit under an index, so that a look costs the same at ten readings a second and at fifty thousand.
//! Who is on the road is gathered over several looks: one reads the newest rows only, the watcher remembers the others.

use std::{collections::HashMap, sync::Arc, time::Duration};

use deadpool_postgres::Pool;
use serde::Serialize;
use tokio::time::Instant;
use utoipa::ToSchema;

use crate::api::{
    Problem, database,
    dead_letters::{self, DeadLetter},
    violations::{self, Violation},
};
use crate::reading::Timestamp;

/// A look younger than this serves the next one who asks.
const FRESH: Duration = Duration::from_millis(900);
/// Stations and today's count change slowly; they are read this often.
const SLOW: Duration = Duration::from_secs(10);
/// Seconds after which a terminal that reports nothing leaves the map.
const GONE_SECONDS: i64 = 600;
const MAX_STATIONS: i64 = 1000;
/// Positions on the map; a map with more shows nothing but dots.
const MAX_MOVERS: usize = 500;
const FINDINGS: i64 = 20;
const DEAD_LETTERS: i64 = 20;
/// Newest rows read for positions and for the stations' activity.
const NEWEST_POSITIONS: i64 = 2000;
const NEWEST_PASSAGES: i64 = 500;
/// Counting today's findings stops here.
const COUNTED: i64 = 100_000;

#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct Board {
    /// Whether the database answered this look; if not, the rest is from the last one that it did.
    database_answers: bool,
    /// Findings that happened today (China), counted up to 100 000.
    findings_today: i64,
    stations: Vec<Station>,
    movers: Vec<Mover>,
    /// The latest, newest first.
    latest_findings: Vec<Violation>,
    latest_dead_letters: Vec<DeadLetter>,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Station {
    station_id: String,
    name: Option<String>,
    kind: Option<String>,
    longitude: Option<f64>,
    latitude: Option<f64>,
    /// Whether the register names it.
    known: bool,
    #[schema(value_type = Option<String>, format = DateTime)]
    last_passed_at: Option<Timestamp>,
    /// Its part in the newest passages of all stations (up to 500).
    recent: i64,
    #[serde(skip)]
    #[schema(ignore)]
    id: i32,
}

/// A terminal or machine with a valid position in the last ten minutes.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Mover {
    device_id: String,
    /// `obd`, `retrofit` or `nonroad`.
    kind: String,
    longitude: f64,
    latitude: f64,
    speed_kmh: Option<f32>,
    nox_downstream_ppm: Option<f32>,
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
}

#[derive(Default)]
pub struct Watcher {
    board: Arc<Board>,
    looked: Option<Instant>,
    looked_slowly: Option<Instant>,
    stations: Vec<Station>,
    /// By the station's key; outlives the reading of the register.
    last_passed_at: HashMap<i32, Timestamp>,
    findings_today: i64,
    movers: HashMap<i32, Mover>,
}

const STATIONS: &str = "
    SELECT id, station_id, name, kind, longitude, latitude, known FROM current_stations ORDER BY station_id LIMIT $1";
const TODAY: &str = "SELECT count(*) FROM (SELECT FROM finding WHERE from_at >= $1 AND state = 0 LIMIT $2) counted";
const ACTIVITY: &str = "
    SELECT station, count(*), max(passed_at)
    FROM (SELECT station, passed_at FROM passage WHERE passed_at <= $1 ORDER BY passed_at DESC LIMIT $2) newest
    GROUP BY station";
const POSITIONS: &str = "
    SELECT DISTINCT ON (n.device) n.device, d.device_id, d.kind, n.lon, n.lat, n.speed_kmh, n.nox_downstream_ppm,
           n.collected_at
    FROM (SELECT device, lon, lat, speed_kmh, nox_downstream_ppm, collected_at FROM terminal_stream
          WHERE collected_at > $1 AND collected_at <= $2 AND position_valid AND lon IS NOT NULL AND lat IS NOT NULL
          ORDER BY collected_at DESC LIMIT $3) n
    JOIN devices d ON d.id = n.device
    ORDER BY n.device, n.collected_at DESC";

impl Watcher {
    /// The board as of now, or of a moment ago when somebody else has just looked.
    pub async fn look(&mut self, pool: &Pool, patience: Duration) -> Arc<Board> {
        if self.looked.is_some_and(|at| at.elapsed() < FRESH) {
            return self.board.clone();
        }
        let answer = tokio::time::timeout(patience, self.read(pool)).await;
        if let Ok(Err(problem)) = &answer
            && problem.lost_session()
        {
            database::give_up_resting(pool);
        }
        self.board = match answer {
            Ok(Ok(board)) => Arc::new(board),
            Ok(Err(_)) | Err(_) => Arc::new(Board { database_answers: false, ..(*self.board).clone() }),
        };
        self.looked = Some(Instant::now());
        self.board.clone()
    }

    async fn read(&mut self, pool: &Pool) -> Result<Board, Problem> {
        let connection = database::connection(pool).await?;
        let now = Timestamp::now();
        if self.looked_slowly.is_none_or(|at| at.elapsed() >= SLOW) {
            let statement = connection.prepare_cached(STATIONS).await?;
            let rows = connection.query(&statement, &[&MAX_STATIONS]).await?;
            self.stations = rows.iter().map(read_station).collect::<Result<_, _>>()?;
            let statement = connection.prepare_cached(TODAY).await?;
            let today = Timestamp::from_china_naive(now.china_day().and_time(chrono::NaiveTime::MIN));
            self.findings_today = connection.query_one(&statement, &[&today, &COUNTED]).await?.try_get(0)?;
            self.looked_slowly = Some(Instant::now());
        }

        // Clocks of stations and terminals may be a little ahead; further ahead is not "now".
        let horizon = now.plus_seconds(60);
        let statement = connection.prepare_cached(ACTIVITY).await?;
        let rows = connection.query(&statement, &[&horizon, &NEWEST_PASSAGES]).await?;
        let mut activity = HashMap::new();
        for row in rows {
            let station: i32 = row.try_get(0)?;
            activity.insert(station, row.try_get::<_, i64>(1)?);
            self.last_passed_at.insert(station, row.try_get(2)?);
        }
        for station in &mut self.stations {
            station.recent = activity.get(&station.id).copied().unwrap_or(0);
            station.last_passed_at = self.last_passed_at.get(&station.id).copied();
        }

        let gone = now.plus_seconds(-GONE_SECONDS);
        let statement = connection.prepare_cached(POSITIONS).await?;
        for row in connection.query(&statement, &[&gone, &horizon, &NEWEST_POSITIONS]).await? {
            self.movers.insert(row.try_get(0)?, read_mover(&row)?);
        }
        self.movers.retain(|_, mover| mover.at > gone);
        let mut movers: Vec<_> = self.movers.values().cloned().collect();
        movers.sort_unstable_by(|a, b| b.at.cmp(&a.at).then_with(|| a.device_id.cmp(&b.device_id)));
        movers.truncate(MAX_MOVERS);

        let statement = connection.prepare_cached(violations::LATEST).await?;
        let rows = connection.query(&statement, &[&FINDINGS]).await?;
        let findings = rows.iter().map(violations::read).collect::<Result<_, _>>()?;
        let statement = connection.prepare_cached(dead_letters::LATEST).await?;
        let rows = connection.query(&statement, &[&DEAD_LETTERS]).await?;
        let dead_letters = rows.iter().map(dead_letters::read).collect::<Result<_, _>>()?;

        Ok(Board {
            database_answers: true,
            findings_today: self.findings_today,
            stations: self.stations.clone(),
            movers,
            latest_findings: findings,
            latest_dead_letters: dead_letters,
        })
    }
}

fn read_station(row: &tokio_postgres::Row) -> Result<Station, tokio_postgres::Error> {
    Ok(Station {
        id: row.try_get(0)?,
        station_id: row.try_get(1)?,
        name: row.try_get(2)?,
        kind: row.try_get(3)?,
        longitude: row.try_get(4)?,
        latitude: row.try_get(5)?,
        known: row.try_get(6)?,
        last_passed_at: None,
        recent: 0,
    })
}

fn read_mover(row: &tokio_postgres::Row) -> Result<Mover, tokio_postgres::Error> {
    Ok(Mover {
        device_id: row.try_get(1)?,
        kind: row.try_get(2)?,
        longitude: row.try_get(3)?,
        latitude: row.try_get(4)?,
        speed_kmh: row.try_get(5)?,
        nox_downstream_ppm: row.try_get(6)?,
        at: row.try_get(7)?,
    })
}
