//! Types of text that are validated when they are parsed. Each type defines its check and its messages.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Serialize, Serializer};

use crate::diag::Code;

/// An error in a text, and its remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormatError {
    pub code: Code,
    pub message: String,
    pub help: Option<String>,
}

impl FormatError {
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), help: None }
    }

    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// A type of text: the schema's `format` and its check.
pub struct Format {
    pub name: &'static str,
    pub check: fn(&str) -> Result<(), FormatError>,
}

impl fmt::Debug for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Defines newtypes of texts with a format.
macro_rules! text_types {
    ($($(#[doc = $doc:literal])+ $name:ident: $format:literal, $check:path, [$($example:literal),+];)+) => {
        $(
            $(#[doc = $doc])+
            #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
            #[serde(transparent)]
            pub struct $name(String);

            impl $name {
                pub fn parse(text: &str) -> Result<Self, $crate::manifest::FormatError> {
                    $check(text)?;
                    Ok(Self(text.to_owned()))
                }

                pub fn as_str(&self) -> &str {
                    &self.0
                }
            }

            impl std::fmt::Display for $name {
                fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str(&self.0)
                }
            }

            impl<'de> serde::Deserialize<'de> for $name {
                fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                    let text = String::deserialize(deserializer)?;
                    $check(&text).map_err(|error| serde::de::Error::custom(error.message))?;
                    Ok(Self(text))
                }
            }

            impl schemars::JsonSchema for $name {
                fn schema_name() -> std::borrow::Cow<'static, str> {
                    stringify!($name).into()
                }

                fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                    let description = [$($doc.trim()),+].join("\n");
                    schemars::json_schema!({
                        "type": "string",
                        "format": $format,
                        "description": description,
                        "examples": [$($example),+],
                    })
                }
            }
        )+

        /// The formats of the types above.
        pub(crate) const FORMATS: &[$crate::manifest::Format] =
            &[$($crate::manifest::Format { name: $format, check: |text| $check(text).map(drop) }),+];
    };
}
pub(crate) use text_types;

/// A text, or a number or a boolean in its original notation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scalar {
    text: String,
    /// Set for numbers and booleans, unset for texts that look like one.
    bare: bool,
}

impl Scalar {
    pub fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), bare: false }
    }

    pub fn bare(text: impl Into<String>) -> Self {
        Self { text: text.into(), bare: true }
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn is_bare(&self) -> bool {
        self.bare
    }
}

impl Serialize for Scalar {
    /// Serializes a text in all cases: Spark's settings and arguments are texts, and `1.10` must not become `1.1`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match ScalarOr::<de::IgnoredAny>::deserialize(deserializer)? {
            ScalarOr::Scalar(scalar) => Ok(scalar),
            ScalarOr::Map(_) => Err(de::Error::custom("expected text, a number or a boolean")),
        }
    }
}

impl JsonSchema for Scalar {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Scalar".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "number", "boolean"] })
    }
}

/// The name of the newtype by which a scalar requests its original text from the deserializer, whatever its type.
pub const RAW_SCALAR: &str = "$dcp::as-written";

/// A scalar as a short form, or a map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum ScalarOr<T> {
    Scalar(Scalar),
    Map(T),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for ScalarOr<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(RAW_SCALAR, ScalarOrVisitor(std::marker::PhantomData))
    }
}

struct ScalarOrVisitor<T>(std::marker::PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ScalarOrVisitor<T> {
    type Value = ScalarOr<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a scalar or a map")
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(ScalarOr::Scalar(Scalar::text(text)))
    }

    /// Receives a number or a boolean in its original notation from the YAML tree.
    fn visit_bytes<E: de::Error>(self, text: &[u8]) -> Result<Self::Value, E> {
        Ok(ScalarOr::Scalar(Scalar::bare(String::from_utf8_lossy(text))))
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Self::Value, E> {
        self.visit_bytes(value.to_string().as_bytes())
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Self::Value, E> {
        self.visit_bytes(value.to_string().as_bytes())
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Self::Value, E> {
        self.visit_bytes(value.to_string().as_bytes())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Self::Value, E> {
        self.visit_bytes(value.to_string().as_bytes())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(ScalarOr::Map)
    }
}

impl<T: JsonSchema> JsonSchema for ScalarOr<T> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("ScalarOr{}", T::schema_name()).into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let map = generator.subschema_for::<T>();
        json_schema!({ "anyOf": [{ "type": ["string", "number", "boolean"] }, map] })
    }
}

/// A list that may be written as a single value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OneOrMany<T>(pub Vec<T>);

impl<T> Default for OneOrMany<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Serialize> Serialize for OneOrMany<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either<T>(std::marker::PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Either<T> {
            type Value = Vec<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map or a list of maps")
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut items: A) -> Result<Vec<T>, A::Error> {
                let mut all = Vec::new();
                while let Some(item) = items.next_element()? {
                    all.push(item);
                }
                Ok(all)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Vec<T>, A::Error> {
                Ok(vec![T::deserialize(MapAccessDeserializer::new(map))?])
            }
        }

        deserializer.deserialize_any(Either(std::marker::PhantomData)).map(OneOrMany)
    }
}

impl<T: JsonSchema> JsonSchema for OneOrMany<T> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("OneOrMany{}", T::schema_name()).into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<T>();
        json_schema!({ "anyOf": [one, { "type": "array", "items": one, "minItems": 1 }] })
    }
}
