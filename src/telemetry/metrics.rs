//! Every metric name once. `name_unit_total`; labels only from closed sets (source, reason, stage), never a device or plate.

// The two books (contract section 8).
pub const MESSAGES_RECEIVED: &str = "dieselwatch_messages_received_total";
pub const MESSAGES_SETTLED: &str = "dieselwatch_messages_settled_total";
pub const MESSAGES_RETURNED: &str = "dieselwatch_messages_returned_total";
pub const MESSAGES_IN_FLIGHT: &str = "dieselwatch_messages_in_flight";
pub const READINGS_DECODED: &str = "dieselwatch_readings_decoded_total";
pub const READINGS_STORED: &str = "dieselwatch_readings_stored_total";
pub const READINGS_DUPLICATE: &str = "dieselwatch_readings_duplicate_total";
pub const READINGS_CONFLICT: &str = "dieselwatch_readings_conflict_total";
pub const READINGS_QUARANTINED: &str = "dieselwatch_readings_quarantined_total";
