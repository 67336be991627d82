//! JSON Schemas of what comes in and what a judgement looks like, generated from the types and kept in `schemas/`.

/// Names and texts of the committed schemas, for the `schema` command.
pub fn schemas() -> &'static [(&'static str, &'static str)] {
    &[
        ("passage", include_str!("../../schemas/messages/passage.schema.json")),
        ("retrofit", include_str!("../../schemas/messages/retrofit.schema.json")),
        ("nonroad", include_str!("../../schemas/messages/nonroad.schema.json")),
        ("verdict", include_str!("../../schemas/messages/verdict.schema.json")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::SourceKind,
        decode::{remote_sensing::message::PassageMessage, terminal_schema},
        judge::document::VerdictDocument,
    };
    use schemars::generate::SchemaSettings;

    fn generated(name: &str) -> String {
        let schema = match name {
            "retrofit" => return pretty(&terminal_schema(SourceKind::Retrofit)),
            "nonroad" => return pretty(&terminal_schema(SourceKind::Nonroad)),
            "passage" => SchemaSettings::draft2020_12()
                .for_deserialize()
                .into_generator()
                .into_root_schema_for::<PassageMessage>(),
            "verdict" => SchemaSettings::draft2020_12()
                .for_serialize()
                .into_generator()
                .into_root_schema_for::<VerdictDocument>(),
            other => panic!("no type for schema {other}"),
        };
        pretty(&schema)
    }

    fn pretty(schema: &impl serde::Serialize) -> String {
        serde_json::to_string_pretty(schema).expect("a schema is JSON") + "\n"
    }

    /// `UPDATE_SCHEMAS=1` rewrites the files instead of comparing them.
    #[test]
    fn committed_schemas_are_those_of_the_types() {
        for (name, committed) in schemas() {
            let fresh = generated(name);
            if std::env::var_os("UPDATE_SCHEMAS").is_some() {
                let path = format!("{}/schemas/messages/{name}.schema.json", env!("CARGO_MANIFEST_DIR"));
                std::fs::write(path, &fresh).expect("write the schema");
            } else {
                assert_eq!(*committed, fresh, "schema {name} drifted; UPDATE_SCHEMAS=1 rewrites it");
            }
        }
    }
}
