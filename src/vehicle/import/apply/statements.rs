//! The statements of one dataset, and the tables a transaction works in: `staging` holds what the file or an earlier
//! version says, `disputed` the rows of a file that contradict each other.

use tokio_postgres::types::Type;

use super::super::{
    Dataset,
    rows::{Column, Exclusive, Stored},
};

/// The statements of one dataset. Names and expressions are constants of this crate; the one text that comes from an
/// operator, a list's name, holds nothing but letters, digits and underscores ([`ListName`](crate::vehicle::import::ListName)).
pub(super) struct Tables {
    pub dataset: String,
    table: &'static str,
    /// Where contradicting rows are kept.
    pub contradictions: Option<&'static str>,
    exclusive: Option<Exclusive>,
    names: Vec<&'static str>,
    columns: String,
    /// What rows of one key agree on, column by column.
    agreed: String,
    /// `col, col` with `@.` before each.
    aliased: String,
    key: &'static [&'static str],
    /// Column and value that all rows of the dataset share.
    scope: Option<(&'static str, String)>,
    pub identities: Option<&'static str>,
}

impl Tables {
    pub fn of<E: Stored>(dataset: &Dataset) -> Self {
        let names = || E::COLUMNS.iter().map(|Column { name, .. }| *name);
        Self {
            dataset: dataset.to_string(),
            table: E::TABLE,
            contradictions: E::CONTRADICTIONS,
            exclusive: E::EXCLUSIVE,
            names: names().collect(),
            agreed: E::COLUMNS.iter().map(agreed).collect::<Vec<_>>().join(", "),
            columns: names().collect::<Vec<_>>().join(", "),
            aliased: names().map(|name| format!("@.{name}")).collect::<Vec<_>>().join(", "),
            key: E::KEY,
            scope: match dataset {
                Dataset::List(name) => Some(("list", name.to_string())),
                _ => None,
            },
            identities: match dataset {
                Dataset::Stations => Some(STATION_IDENTITIES),
                Dataset::Devices => Some(DEVICE_IDENTITIES),
                _ => None,
            },
        }
    }

    pub fn create_staging(&self) -> String {
        let Self { columns, table, .. } = self;
        format!(
            "DROP TABLE IF EXISTS pg_temp.staging;
             DROP TABLE IF EXISTS pg_temp.disputed;
             CREATE TEMP TABLE staging ON COMMIT DROP AS
             SELECT 0::bigint AS row_number, {columns} FROM {table} WITH NO DATA;
             CREATE TEMP TABLE disputed ON COMMIT DROP AS SELECT * FROM staging"
        )
    }

    pub fn copy(&self) -> String {
        format!("COPY staging (row_number, {}) FROM STDIN (FORMAT binary)", self.columns)
    }

    pub fn duplicates(&self) -> String {
        let key = self.key.join(", ").replace('@', "s");
        let values = self.aliased.replace('@', "s");
        let disputed = self.names.iter().map(|name| {
            format!("CASE WHEN count(DISTINCT s.{name}) + (bool_or(s.{name} IS NULL))::int > 1 THEN '{name}' END")
        });
        let disputed = disputed.collect::<Vec<_>>().join(", ");
        format!(
            "SELECT array_agg(s.row_number ORDER BY s.row_number) AS numbers, count(DISTINCT ({values})) AS contents,
                    array_remove(ARRAY[{disputed}], NULL) AS columns
             FROM staging s WHERE ({key}) IN (SELECT {key} FROM staging s GROUP BY {key} HAVING count(*) > 1)
             GROUP BY {key}"
        )
    }

    /// Moves contradicting rows aside and puts what they agree on in their place.
    pub fn set_aside(&self) -> [String; 3] {
        let Self { columns, agreed, .. } = self;
        let key = self.key.join(", ").replace('@', "s");
        [
            "INSERT INTO disputed SELECT * FROM staging WHERE row_number = ANY($1)".into(),
            "DELETE FROM staging WHERE row_number = ANY($1)".into(),
            format!(
                "INSERT INTO staging (row_number, {columns}) SELECT min(row_number), {agreed} FROM disputed s GROUP BY {key}"
            ),
        ]
    }

    /// Flags staged rows in use that share what one of them alone can have: the column, and a statement that gives the number
    /// of each row not flagged before and that of another one.
    pub fn flag_shared(&self) -> Option<(&'static str, String)> {
        let Exclusive { column, in_use } = self.exclusive?;
        let in_use = in_use.replace('@', "s");
        let statement = format!(
            "UPDATE staging s SET contradictory = true
             FROM (SELECT {column}, min(row_number) AS first, max(row_number) AS last FROM staging s WHERE {in_use}
                   GROUP BY {column} HAVING count(*) > 1) shared
             WHERE s.{column} = shared.{column} AND {in_use} AND NOT s.contradictory
             RETURNING s.row_number, CASE s.row_number WHEN shared.first THEN shared.last ELSE shared.first END"
        );
        Some((column, statement))
    }

    /// Fills staging with a version that was in force once.
    pub fn stage_version(&self, version: i32) -> String {
        let Self { table, columns, .. } = self;
        format!(
            "INSERT INTO staging (row_number, {columns}) SELECT 0, {columns} FROM {table} t WHERE {}",
            self.at("t", version)
        )
    }

    pub fn stage_contradictions(&self, version: i32) -> Option<String> {
        let (table, columns) = (self.contradictions?, &self.columns);
        Some(format!(
            "INSERT INTO disputed (row_number, {columns}) SELECT row_number, {columns} FROM {table} t
             WHERE from_version <= {version} AND (to_version IS NULL OR to_version > {version})"
        ))
    }

    /// Ends and begins contradicting rows; those that stand in the file again stay as they are.
    pub fn replace_contradictions(&self) -> Option<[String; 2]> {
        let (table, columns) = (self.contradictions?, &self.columns);
        let same = self.same_content("s", "t");
        let aliased = self.aliased.replace('@', "s");
        Some([
            format!(
                "UPDATE {table} t SET to_version = $1
                 WHERE to_version IS NULL AND NOT EXISTS (SELECT FROM disputed s WHERE {same})"
            ),
            format!(
                "INSERT INTO {table} (row_number, {columns}, from_version)
                 SELECT s.row_number, {aliased}, $1::integer FROM disputed s
                 WHERE NOT EXISTS (SELECT FROM {table} t WHERE t.to_version IS NULL AND {same})"
            ),
        ])
    }

    /// The rows that a version consisted of.
    fn at(&self, alias: &str, version: i32) -> String {
        let held = format!(
            "{alias}.from_version <= {version} AND ({alias}.to_version IS NULL OR {alias}.to_version > {version})"
        );
        match &self.scope {
            Some((column, value)) => format!("{held} AND {alias}.{column} = '{value}'"),
            None => held,
        }
    }

    /// The rows in force.
    fn in_force(&self, alias: &str) -> String {
        let scope = self.scope.as_ref().map(|(column, value)| format!(" AND {alias}.{column} = '{value}'"));
        format!("{alias}.to_version IS NULL{}", scope.unwrap_or_default())
    }

    fn same_key(&self, a: &str, b: &str) -> String {
        let equal = self.key.iter().map(|key| format!("{} = {}", key.replace('@', a), key.replace('@', b)));
        equal.collect::<Vec<_>>().join(" AND ")
    }

    fn same_content(&self, a: &str, b: &str) -> String {
        format!("({}) IS NOT DISTINCT FROM ({})", self.aliased.replace('@', a), self.aliased.replace('@', b))
    }

    pub fn difference(&self) -> String {
        let Self { table, .. } = self;
        let (in_force, same_key, same) = (self.in_force("t"), self.same_key("s", "c"), self.same_content("s", "c"));
        let by_column = self.names.iter().map(|name| {
            format!(
                "count(*) FILTER (WHERE c.from_version IS NOT NULL AND s.row_number IS NOT NULL
                 AND s.{name} IS DISTINCT FROM c.{name})"
            )
        });
        let by_column = by_column.collect::<Vec<_>>().join(", ");
        format!(
            "SELECT count(*) FILTER (WHERE c.from_version IS NULL) AS added,
                    count(*) FILTER (WHERE s.row_number IS NULL) AS removed,
                    count(*) FILTER (WHERE c.from_version IS NOT NULL AND s.row_number IS NOT NULL AND NOT ({same}))
                        AS changed,
                    count(*) FILTER (WHERE c.from_version IS NOT NULL AND s.row_number IS NOT NULL AND {same}) AS kept,
                    ARRAY[{by_column}] AS by_column
             FROM staging s FULL JOIN (SELECT * FROM {table} t WHERE {in_force}) c ON {same_key}"
        )
    }

    /// Every row that differs, for the report: what happened, its number in the file, the columns that changed, and
    /// both contents as JSON text.
    pub fn differences(&self) -> String {
        let Self { table, .. } = self;
        let (in_force, same_key, same) = (self.in_force("t"), self.same_key("s", "c"), self.same_content("s", "c"));
        let changed =
            self.names.iter().map(|name| format!("CASE WHEN s.{name} IS DISTINCT FROM c.{name} THEN '{name}' END"));
        format!(
            "SELECT CASE WHEN c.from_version IS NULL THEN 'added' WHEN s.row_number IS NULL THEN 'removed'
                         ELSE 'changed' END,
                    s.row_number,
                    CASE WHEN c.from_version IS NOT NULL AND s.row_number IS NOT NULL
                         THEN array_remove(ARRAY[{}], NULL) ELSE '{{}}' END,
                    CASE WHEN c.from_version IS NOT NULL
                         THEN (to_jsonb(c) - 'from_version' - 'to_version')::text END,
                    CASE WHEN s.row_number IS NOT NULL THEN (to_jsonb(s) - 'row_number')::text END
             FROM staging s FULL JOIN (SELECT * FROM {table} t WHERE {in_force}) c ON {same_key}
             WHERE c.from_version IS NULL OR s.row_number IS NULL OR NOT ({same})
             ORDER BY s.row_number NULLS LAST",
            changed.collect::<Vec<_>>().join(", ")
        )
    }

    /// Columns in the order of `by_column`.
    pub fn names(&self) -> &[&'static str] {
        &self.names
    }

    /// Ends every row in force that the file does not name, or names with other content.
    pub fn close(&self) -> String {
        let Self { table, .. } = self;
        let (in_force, same_key, same) = (self.in_force("t"), self.same_key("s", "t"), self.same_content("s", "t"));
        format!(
            "UPDATE {table} t SET to_version = $1
             WHERE {in_force} AND NOT EXISTS (SELECT FROM staging s WHERE {same_key} AND {same})"
        )
    }

    /// Begins every row of the file that is not in force (any more).
    pub fn insert(&self) -> String {
        let Self { table, columns, .. } = self;
        let (in_force, same_key) = (self.in_force("t"), self.same_key("s", "t"));
        let (scope_column, scope_value) = match &self.scope {
            Some((column, value)) => (format!("{column}, "), format!("'{value}', ")),
            None => Default::default(),
        };
        format!(
            "INSERT INTO {table} ({scope_column}{columns}, from_version)
             SELECT {scope_value}{}, $1::integer FROM staging s
             WHERE NOT EXISTS (SELECT FROM {table} t WHERE {in_force} AND {same_key})
             ORDER BY {}",
            self.aliased.replace('@', "s"),
            // Sorted, so that the indexes grow at their ends instead of everywhere.
            self.key.join(", ").replace('@', "s")
        )
    }
}

/// One column of what contradicting rows agree on: its value where all have the same, otherwise nothing.
fn agreed(column: &Column) -> String {
    let Column { name, of } = column;
    match (*name, of) {
        ("contradictory", _) => "true".into(),
        // Of a list's entry: the shorter interval is the one that no row denies.
        ("valid_to", _) => format!("min(s.{name})"),
        // Never NULL; a retrofit in dispute is none.
        ("retrofit", _) => format!("bool_and(s.{name})"),
        (_, of) => {
            let any = if *of == Type::BOOL { "bool_or" } else { "min" };
            format!(
                "CASE WHEN count(DISTINCT s.{name}) + (bool_or(s.{name} IS NULL))::int = 1 THEN {any}(s.{name}) END"
            )
        }
    }
}

/// Gives every station of the file its identity and sets `known` by the version now in force.
const STATION_IDENTITIES: &str = "
    INSERT INTO stations (station_id)
        SELECT s.station_id FROM staging s WHERE NOT EXISTS (SELECT FROM stations t WHERE t.station_id = s.station_id)
        ON CONFLICT DO NOTHING;
    UPDATE stations t SET known = NOT t.known
        WHERE t.known IS DISTINCT FROM EXISTS (
            SELECT FROM station_versions v WHERE v.station_id = t.station_id AND v.to_version IS NULL)";

const DEVICE_IDENTITIES: &str = "
    INSERT INTO devices (device_id, kind)
        SELECT s.device_id, s.kind FROM staging s
        WHERE NOT EXISTS (SELECT FROM devices t WHERE t.device_id = s.device_id AND t.kind = s.kind)
        ON CONFLICT DO NOTHING;
    UPDATE devices t SET known = NOT t.known
        WHERE t.known IS DISTINCT FROM EXISTS (
            SELECT FROM device_versions v
            WHERE v.device_id = t.device_id AND v.kind = t.kind AND v.to_version IS NULL)";
