//! The tables that batches are copied into: names, columns in encoding order, keys.

/// A table with a natural key and a `content_hash` that tells a repeat from a conflict.
pub struct KeyedTable {
    pub name: &'static str,
    /// All columns in the order rows are encoded in.
    pub columns: &'static [&'static str],
    /// The natural key; none of it is ever null.
    pub key: &'static [&'static str],
    /// The partition column of a hypertable.
    pub time: Option<&'static str>,
    /// Whether a row `s` of the same content as the stored row `t` brings no bytes that are not stored; SQL.
    pub same_bytes: &'static str,
}

pub const PASSAGE_KEY: KeyedTable = KeyedTable {
    name: "passage_key",
    columns: &[
        "station",
        "record_id",
        "passed_at",
        "plate_key",
        "content_hash",
        "lane",
        "outcomes",
        "lon",
        "lat",
        "carrier",
        "raw_digest",
    ],
    key: &["station", "record_id"],
    time: None,
    // What was stored before there was a digest counts as the same.
    same_bytes: "coalesce(s.raw_digest = t.raw_digest, true)",
};

/// The wide table behind `passage_key`; takes exactly the rows that are new there.
pub const PASSAGE_COLUMNS: &[&str] = &[
    "passed_at",
    "station",
    "record_id",
    "plate",
    "plate_color",
    "plate_key",
    "verdict",
    "outcomes",
    "lane",
    "plate_confidence",
    "speed_kmh",
    "acceleration_ms2",
    "vsp_kwt",
    "co2_pct",
    "co_pct",
    "hc_ppm",
    "no_ppm",
    "opacity_pct",
    "opacity_k_m1",
    "ringelmann",
    "flags",
    "received_at",
    "raw_sha256",
    "raw",
    "explained",
];

pub const TERMINAL_PACKET: KeyedTable = KeyedTable {
    name: "terminal_packet",
    columns: &[
        "sent_at",
        "device",
        "digest",
        "protocol",
        "command",
        "serial",
        "flags",
        "received_at",
        "content_hash",
        "raw_sha256",
        "raw",
        "wrapper",
    ],
    key: &["sent_at", "device", "digest"],
    time: Some("sent_at"),
    same_bytes: "s.wrapper IS NULL OR s.wrapper IS NOT DISTINCT FROM t.wrapper",
};

pub const TERMINAL_STREAM: KeyedTable = KeyedTable {
    name: "terminal_stream",
    columns: &[
        "collected_at",
        "device",
        "ordinal",
        "packet",
        "content_hash",
        "states",
        "speed_kmh",
        "barometric_kpa",
        "net_torque_pct",
        "friction_torque_pct",
        "engine_rpm",
        "fuel_flow_lph",
        "nox_upstream_ppm",
        "nox_downstream_ppm",
        "reagent_pct",
        "intake_air_kgph",
        "scr_inlet_c",
        "scr_outlet_c",
        "dpf_dp_kpa",
        "coolant_c",
        "fuel_tank_pct",
        "odometer_km",
        "egr_actual_pct",
        "egr_commanded_pct",
        "work_state",
        "position_valid",
        "lon",
        "lat",
        "flags",
    ],
    key: &["collected_at", "device", "ordinal"],
    time: Some("collected_at"),
    same_bytes: "true",
};

pub const TERMINAL_ITEM: KeyedTable = KeyedTable {
    name: "terminal_item",
    columns: &["collected_at", "device", "kind", "ordinal", "packet", "content_hash", "body", "flags"],
    key: &["collected_at", "device", "kind", "ordinal"],
    time: Some("collected_at"),
    same_bytes: "true",
};

/// The keyed tables in the order a batch fills them.
pub const KEYED: [&KeyedTable; 4] = [&PASSAGE_KEY, &TERMINAL_PACKET, &TERMINAL_STREAM, &TERMINAL_ITEM];

impl KeyedTable {
    pub fn width(&self) -> i16 {
        self.columns.len() as i16
    }

    pub fn stage(&self) -> String {
        format!("stage_{}", self.name)
    }

    pub fn copy(&self) -> String {
        format!("COPY {} ({}) FROM STDIN (FORMAT binary)", self.name, self.columns.join(", "))
    }

    pub fn create_stage(&self) -> String {
        // LIKE takes the not-null constraints and no index; rows vanish at the end of each transaction.
        format!(
            "CREATE TEMP TABLE IF NOT EXISTS {} (LIKE {}, row_no int4 NOT NULL) ON COMMIT DELETE ROWS",
            self.stage(),
            self.name
        )
    }

    pub fn copy_stage(&self) -> String {
        format!("COPY {} ({}, row_no) FROM STDIN (FORMAT binary)", self.stage(), self.columns.join(", "))
    }

    /// Moves the staged rows whose key is new and returns their numbers. Sorted by key, so that two writers with the
    /// same keys wait for each other instead of deadlocking; of rows with one key the first is taken.
    pub fn insert_new(&self) -> String {
        let (name, stage, columns, key) = (self.name, self.stage(), self.columns.join(", "), self.key.join(", "));
        let on_key = self.key.iter().map(|k| format!("s.{k} = i.{k}")).collect::<Vec<_>>().join(" AND ");
        format!(
            "WITH i AS (INSERT INTO {name} ({columns}) \
               SELECT DISTINCT ON ({key}) {columns} FROM {stage} ORDER BY {key}, row_no \
               ON CONFLICT DO NOTHING RETURNING {key}) \
             SELECT min(s.row_no) FROM {stage} s JOIN i ON {on_key} GROUP BY {}",
            self.key.iter().map(|k| format!("i.{k}")).collect::<Vec<_>>().join(", ")
        )
    }

    /// For each of the staged rows `$1` whose key is stored: its number, whether the stored content is the same, and whether the
    /// bytes are.
    /// Hypertables are bounded by `$2..=$3`, the span of time of those rows, so that no other chunk is opened; in the plain
    /// table OFFSET 0 keeps the planner, which knows nothing of a staging table, from anything but a look by key.
    pub fn compare(&self) -> String {
        let (name, stage) = (self.name, self.stage());
        let on_key = self.key.iter().map(|k| format!("s.{k} = t.{k}")).collect::<Vec<_>>().join(" AND ");
        let stored = match self.time {
            Some(time) => format!("JOIN {name} t ON {on_key} AND t.{time} BETWEEN $2 AND $3"),
            None => {
                format!("CROSS JOIN LATERAL (SELECT t.* FROM {name} t WHERE {on_key} OFFSET 0) AS t")
            }
        };
        format!(
            "SELECT s.row_no, s.content_hash = t.content_hash, {} FROM {stage} s {stored} WHERE s.row_no = ANY($1)",
            self.same_bytes
        )
    }
}

pub fn copy_passage() -> String {
    format!("COPY passage ({}) FROM STDIN (FORMAT binary)", PASSAGE_COLUMNS.join(", "))
}
