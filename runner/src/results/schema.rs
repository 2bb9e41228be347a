//! The schema of a result: Avro's JSON schema, extended by Spark's names and types that Avro lacks.
//!
//! `apache-avro` reads schemas too, but it rejects names with letters beyond ASCII, which Java's writer permits, and
//! drops the properties that mark Spark's intervals.

use std::collections::HashMap;

use serde_json::{Map, Value};

/// Properties with a column's original name, and its original type if Avro has another one.
const NAME: &str = "dcp.name";
const TYPE: &str = "dcp.type";
/// Spark's own property for a type that Avro lacks.
const SPARK_TYPE: &str = "spark.sql.catalyst.type";

/// The error describes the problem.
type Result<T> = std::result::Result<T, String>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Type {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    Text,
    /// Text that is JSON.
    Json,
    Fixed(usize),
    /// A decimal of a fixed size, or of a size that precedes each value.
    Decimal {
        scale: usize,
        size: Option<usize>,
    },
    Date,
    /// Number of digits of the fraction of a second.
    Time {
        fraction: u32,
    },
    Instant {
        fraction: u32,
        zone: &'static str,
    },
    /// An interval in months, or in microseconds.
    Months,
    Micros,
    Enum(Vec<String>),
    Union(Vec<Type>),
    List(Box<Type>),
    Map(Box<Type>),
    Record(Vec<Field>),
    /// A named type, by its index.
    Named(usize),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) data_type: Type,
}

/// The columns of a table, and the named types.
#[derive(Debug, Clone)]
pub(super) struct Schema {
    pub(super) columns: Vec<Field>,
    named: Vec<Type>,
}

impl Schema {
    pub(super) fn read(text: &[u8]) -> Result<Self> {
        let text = std::str::from_utf8(text).map_err(|_| "its schema is no text".to_owned())?;
        let value: Value =
            serde_json::from_str(text).map_err(|_| "its schema is none of Avro's".to_owned())?;
        let mut reader = Reader::default();
        let root = reader.read(&value, "")?;
        let (Type::Named(number), Some(named)) = (root, reader.named()) else {
            return Err("its schema is not that of a table".to_owned());
        };
        match named.get(number) {
            Some(Type::Record(columns)) => Ok(Self { columns: columns.clone(), named }),
            _ => Err("its schema is not that of a table".to_owned()),
        }
    }

    pub(super) fn named(&self, number: usize) -> Option<&Type> {
        self.named.get(number)
    }
}

impl Type {
    /// Returns whether all values are numbers or null.
    pub(super) fn is_number(&self) -> bool {
        match self {
            Type::Int | Type::Long | Type::Float | Type::Double | Type::Decimal { .. } => true,
            Type::Union(variants) => {
                variants.iter().any(Self::is_number)
                    && variants.iter().all(|it| *it == Type::Null || it.is_number())
            }
            _ => false,
        }
    }
}

#[derive(Default)]
struct Reader {
    numbers: HashMap<String, usize>,
    types: Vec<Option<Type>>,
}

impl Reader {
    fn named(self) -> Option<Vec<Type>> {
        self.types.into_iter().collect()
    }

    fn read(&mut self, value: &Value, namespace: &str) -> Result<Type> {
        match value {
            Value::String(name) => self.plain(name, namespace, &Map::new()),
            Value::Array(variants) => {
                let variants = variants.iter().map(|it| self.read(it, namespace));
                Ok(Type::Union(variants.collect::<Result<_>>()?))
            }
            Value::Object(object) => match object.get("type") {
                Some(Value::String(name)) => self.object(name, object, namespace),
                Some(inner) => self.read(inner, namespace),
                None => Err(invalid_schema()),
            },
            _ => Err(invalid_schema()),
        }
    }

    fn object(&mut self, name: &str, object: &Map<String, Value>, namespace: &str) -> Result<Type> {
        let inner = |key: &str| object.get(key).ok_or_else(invalid_schema);
        match name {
            "array" => Ok(Type::List(Box::new(self.read(inner("items")?, namespace)?))),
            "map" => Ok(Type::Map(Box::new(self.read(inner("values")?, namespace)?))),
            "record" | "error" | "enum" | "fixed" => self.define(name, object, namespace),
            name => self.plain(name, namespace, object),
        }
    }

    /// Defines a named type, which may refer to itself.
    fn define(&mut self, kind: &str, object: &Map<String, Value>, namespace: &str) -> Result<Type> {
        let name = object.get("name").and_then(Value::as_str).ok_or_else(invalid_schema)?;
        let own = object.get("namespace").and_then(Value::as_str);
        let full = full(name, own.unwrap_or(namespace));
        let namespace = full.rsplit_once('.').map_or("", |(namespace, _)| namespace).to_owned();
        let number = self.types.len();
        self.types.push(None);
        if self.numbers.insert(full, number).is_some() {
            return Err(invalid_schema());
        }
        let data_type = match kind {
            "enum" => {
                let symbols = object.get("symbols").and_then(Value::as_array).ok_or_else(invalid_schema)?;
                let symbols = symbols.iter().map(|it| it.as_str().map(str::to_owned));
                Type::Enum(symbols.collect::<Option<_>>().ok_or_else(invalid_schema)?)
            }
            "fixed" => {
                let size = object.get("size").and_then(Value::as_u64).and_then(|it| usize::try_from(it).ok());
                let size = size.ok_or_else(invalid_schema)?;
                decimal(object, Some(size)).unwrap_or(Type::Fixed(size))
            }
            _ => {
                let fields = object.get("fields").and_then(Value::as_array).ok_or_else(invalid_schema)?;
                let fields = fields.iter().map(|field| self.field(field, &namespace));
                Type::Record(fields.collect::<Result<_>>()?)
            }
        };
        self.types[number] = Some(data_type);
        Ok(Type::Named(number))
    }

    fn field(&mut self, field: &Value, namespace: &str) -> Result<Field> {
        let name = field
            .get(NAME)
            .or_else(|| field.get("name"))
            .and_then(Value::as_str)
            .ok_or_else(invalid_schema)?;
        let data_type = self.read(field.get("type").ok_or_else(invalid_schema)?, namespace)?;
        Ok(Field { name: name.to_owned(), data_type })
    }

    /// Returns a type without parts, or a named type.
    fn plain(&self, name: &str, namespace: &str, object: &Map<String, Value>) -> Result<Type> {
        let property = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or("");
        let (logical, spark) = (property("logicalType"), property(SPARK_TYPE));
        Ok(match (name, logical) {
            ("null", _) => Type::Null,
            ("boolean", _) => Type::Boolean,
            ("int", "date") => Type::Date,
            ("int", "time-millis") => Type::Time { fraction: 3 },
            ("int", _) if is_interval(spark, &["year", "month"]) => Type::Months,
            ("int", _) => Type::Int,
            ("long", "time-micros") => Type::Time { fraction: 6 },
            ("long", "timestamp-millis") => Type::Instant { fraction: 3, zone: "Z" },
            ("long", "timestamp-micros") => Type::Instant { fraction: 6, zone: "Z" },
            ("long", "timestamp-nanos") => Type::Instant { fraction: 9, zone: "Z" },
            ("long", "local-timestamp-millis") => Type::Instant { fraction: 3, zone: "" },
            ("long", "local-timestamp-micros") => Type::Instant { fraction: 6, zone: "" },
            ("long", "local-timestamp-nanos") => Type::Instant { fraction: 9, zone: "" },
            ("long", _) if is_interval(spark, &["day", "hour", "minute", "second"]) => Type::Micros,
            ("long", _) => Type::Long,
            ("float", _) => Type::Float,
            ("double", _) => Type::Double,
            ("bytes", _) => decimal(object, None).unwrap_or(Type::Bytes),
            ("string", _) if property(TYPE) == "json" => Type::Json,
            ("string", _) => Type::Text,
            (name, _) => {
                let number = self.numbers.get(&full(name, namespace)).or_else(|| self.numbers.get(name));
                Type::Named(*number.ok_or_else(|| "its schema names what it does not have".to_owned())?)
            }
        })
    }
}

fn invalid_schema() -> String {
    "its schema is none of Avro's".to_owned()
}

fn full(name: &str, namespace: &str) -> String {
    if name.contains('.') || namespace.is_empty() { name.to_owned() } else { format!("{namespace}.{name}") }
}

/// Returns whether a Spark type is an interval that begins with one of these units.
fn is_interval(spark: &str, units: &[&str]) -> bool {
    spark.strip_prefix("interval ").is_some_and(|rest| units.iter().any(|unit| rest.starts_with(unit)))
}

fn decimal(object: &Map<String, Value>, size: Option<usize>) -> Option<Type> {
    let is_decimal = object.get("logicalType").and_then(Value::as_str) == Some("decimal");
    let scale = object.get("scale").map_or(Some(0), Value::as_u64)?;
    is_decimal.then_some(Type::Decimal { scale: usize::try_from(scale).ok()?, size })
}
