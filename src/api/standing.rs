//! Whether a vehicle is barred from change, inspection or transfer: for the desks that deal with its owner.
//!
//! The plate stands in the path, so this address must never be logged; nothing here logs it.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use tokio_postgres::Client;
use utoipa::{IntoParams, ToSchema};

use super::{
    App, Problem, database,
    params::{self, Id, Params},
    problem::Kind,
    violations::{self, Violation},
};
use crate::{
    judge::{
        RuleBook,
        limits::Confidence,
        standing::{Answer, Barred, Ground, standing},
    },
    reading::{Plate, PlateColor, PlateKey, Timestamp},
    vehicle::{
        facts::ListHit,
        load::LoadError,
        lookup::{self, Found, Registered},
    },
};

/// Findings shown at most, the latest to have happened.
const FINDINGS: i64 = 100;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Filter {
    /// As of this time (RFC 3339); now where left out.
    #[serde(default, deserialize_with = "params::time")]
    #[param(value_type = Option<String>)]
    at: Option<Timestamp>,
}

/// What other desks need to know of one vehicle.
#[derive(Debug, Serialize, ToSchema)]
pub struct Standing {
    pub plate: String,
    pub plate_color: &'static str,
    /// What is answered holds for this time, by the versions in force now.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    pub change: Bar,
    pub inspection: Bar,
    pub transfer: Bar,
    /// Every list entry in force at that time, barring or not.
    pub lists: Vec<Entry>,
    /// Null when the register does not know the vehicle.
    pub register: Option<Register>,
    /// 0 when no register was ever imported.
    pub registry_version: i32,
    /// Findings in force that happened up to that time, latest first.
    pub findings: Vec<Violation>,
    /// There are more findings than are shown.
    pub more_findings: bool,
}

/// The answer for one business.
#[derive(Debug, Serialize, ToSchema)]
pub struct Bar {
    pub barred: Barred,
    /// The entries the answer rests on.
    pub grounds: Vec<Because>,
    /// Barring lists that were never imported, so that nobody can say whether the vehicle is on them.
    pub missing_lists: Vec<String>,
}

/// A list entry in force and the clause by which it bars.
#[derive(Debug, Serialize, ToSchema)]
pub struct Because {
    pub entry: Entry,
    pub standard: String,
    pub clause: String,
    pub source: String,
    #[schema(value_type = String)]
    pub confidence: Confidence,
    /// Facts of the register that contradict that the clause means this vehicle; a person must resolve them.
    pub contradicted_by: Vec<&'static str>,
}

/// A line of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct Entry {
    pub list: String,
    pub version: i32,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub valid_from: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub valid_to: Option<Timestamp>,
    pub reason: Option<String>,
    pub document_no: Option<String>,
}

/// The vehicle as registered; codes of GA/T 16.
#[derive(Debug, Serialize, ToSchema)]
pub struct Register {
    pub vin: Option<String>,
    pub fuel: Option<String>,
    pub emission_stage: Option<i16>,
    pub vehicle_kind: Option<String>,
    pub use_nature: Option<String>,
    pub state: Option<String>,
    #[schema(value_type = Option<String>, format = Date)]
    pub registered_on: Option<String>,
    pub local: Option<bool>,
    pub retrofit: bool,
}

const FINDINGS_OF: &str = concat!(
    "SELECT id, rule, subject_kind, subject, from_at, to_at, state, review::text, revision, created_at, content::text ",
    "FROM finding WHERE subject = $1 AND subject_kind = 0 AND state = 0 AND from_at <= $2 ",
    "ORDER BY from_at DESC, id DESC LIMIT $3"
);

/// Whether a vehicle is barred from change, inspection or transfer, and why.
#[utoipa::path(
    get, path = "/api/v1/vehicles/{plate}/{color}/standing", tag = "vehicles",
    params(("plate" = String, Path), ("color" = String, Path), Filter),
    responses((status = OK, body = Standing), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
pub(super) async fn show(
    State(app): State<App>,
    Id((plate, colour)): Id<(String, String)>,
    Params(filter): Params<Filter>,
) -> Result<Json<Standing>, Problem> {
    let plate = Plate::parse(&plate).map_err(|error| Problem::bad_request(error.to_string()))?;
    let colour = PlateColor::parse(&colour).ok_or_else(|| {
        Problem::bad_request(format!("color is none of {}", PlateColor::ALL.map(PlateColor::name).join(", ")))
    })?;
    let at = filter.at.unwrap_or_else(Timestamp::now);
    let mut connection = database::connection(&app.state.pool).await?;
    let standing = look_up(&mut connection, PlateKey::new(plate, colour), at, &app.state.rules).await;
    standing.map(Json).map_err(|error| match error {
        LoadError::Database(error) => error.into(),
        LoadError::Corrupt { .. } | LoadError::Build(_) => Problem::new(Kind::Internal),
    })
}

/// The answer out of the database; the command asks the same way.
pub async fn look_up(
    client: &mut Client,
    key: PlateKey,
    at: Timestamp,
    book: &RuleBook,
) -> Result<Standing, LoadError> {
    let Found { vehicle, registry_version, entries, lists } = lookup::lookup(client, key, at).await?;
    let facts = vehicle.as_ref().map(Registered::facts);
    let (bars, classes) = (book.limits.bars(), book.rules.classes());
    let answers = standing(bars, classes, facts.as_ref(), &entries, |list| lists.contains_key(list));
    let [change, inspection, transfer] = answers.map(Bar::of);
    let rows = client.query(FINDINGS_OF, &[&key.to_string(), &at, &(FINDINGS + 1)]).await?;
    let mut findings: Vec<Violation> = rows.iter().map(violations::read).collect::<Result<_, _>>()?;
    let more_findings = findings.len() as i64 > FINDINGS;
    findings.truncate(FINDINGS as usize);
    Ok(Standing {
        plate: key.plate().to_string(),
        plate_color: key.colour().name(),
        at,
        change,
        inspection,
        transfer,
        lists: entries.iter().map(Entry::of).collect(),
        register: vehicle.map(Register::of),
        registry_version,
        findings,
        more_findings,
    })
}

impl Bar {
    fn of(answer: Answer<'_>) -> Self {
        Self {
            barred: answer.barred,
            grounds: answer.grounds.iter().map(Because::of).collect(),
            missing_lists: answer.missing_lists.into_iter().map(str::to_owned).collect(),
        }
    }
}

impl Because {
    fn of(ground: &Ground<'_>) -> Self {
        let citation = &ground.bar.citation;
        Self {
            entry: Entry::of(ground.entry),
            standard: citation.standard.to_string(),
            clause: citation.clause.to_string(),
            source: citation.source.to_string(),
            confidence: citation.confidence,
            contradicted_by: ground.contradictions.clone(),
        }
    }
}

impl Entry {
    fn of(hit: &ListHit) -> Self {
        Self {
            list: hit.list.to_string(),
            version: hit.version,
            valid_from: hit.valid_from,
            valid_to: hit.valid_to,
            reason: hit.reason.as_deref().map(str::to_owned),
            document_no: hit.document_no.as_deref().map(str::to_owned),
        }
    }
}

impl Register {
    fn of(stored: Registered) -> Self {
        let day = |days: i32| Timestamp::from_micros(i64::from(days) * 86_400_000_000).china_day().to_string();
        Self {
            registered_on: stored.registered_on.map(day),
            vin: stored.vin,
            fuel: stored.fuel,
            emission_stage: stored.emission_stage,
            vehicle_kind: stored.vehicle_kind,
            use_nature: stored.use_nature,
            state: stored.state,
            local: stored.local,
            retrofit: stored.retrofit,
        }
    }
}
