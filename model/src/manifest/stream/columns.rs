//! Columns that a source declares.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::manifest::DataType;

/// Columns and their types, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Columns(pub Vec<(String, DataType)>);

#[derive(Serialize, Deserialize)]
struct ColumnEntry<'a> {
    name: std::borrow::Cow<'a, str>,
    #[serde(rename = "type")]
    data_type: std::borrow::Cow<'a, DataType>,
}

impl Serialize for Columns {
    /// Serializes a list, because the order is significant and canonical JSON sorts the keys of maps.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|(name, data_type)| ColumnEntry {
            name: name.into(),
            data_type: std::borrow::Cow::Borrowed(data_type),
        }))
    }
}

impl<'de> Deserialize<'de> for Columns {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = Columns;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of column names and types")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Columns, A::Error> {
                let mut columns = Vec::new();
                while let Some(column) = map.next_entry()? {
                    columns.push(column);
                }
                Ok(Columns(columns))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Columns, A::Error> {
                let mut columns = Vec::new();
                while let Some(entry) = items.next_element::<ColumnEntry<'_>>()? {
                    columns.push((entry.name.into_owned(), entry.data_type.into_owned()));
                }
                Ok(Columns(columns))
            }
        }

        deserializer.deserialize_any(Either)
    }
}

impl JsonSchema for Columns {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Columns".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let data_type = generator.subschema_for::<DataType>();
        json_schema!({
            "type": "object",
            "description": "Columns and their types, in order.",
            "additionalProperties": data_type,
            "minProperties": 1,
            "examples": [{ "store": "string", "ts": "timestamp" }],
        })
    }
}
