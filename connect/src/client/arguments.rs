//! The values of a statement's named parameters. Spark binds them: they are never pasted into the text.

use std::collections::BTreeMap;

use dcp_model::manifest::ParameterType;
use jiff::Timestamp;
use jiff::civil::{Date, date};

use super::messages::{Decimal, Expression, Literal, LiteralValue};

/// The values of named parameters.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Arguments(pub(super) BTreeMap<String, Expression>);

impl Arguments {
    /// Adds the value of a parameter. Returns the expected form if it is no value of its type.
    pub fn add(&mut self, name: &str, of: ParameterType, value: &str) -> Result<(), &'static str> {
        let value = match of {
            ParameterType::String => LiteralValue::String(value.to_owned()),
            ParameterType::Integer => match (value.parse::<i32>(), value.parse::<i64>()) {
                (Ok(small), _) => LiteralValue::Integer(small),
                (_, Ok(large)) => LiteralValue::Long(large),
                _ => return Err("a whole number"),
            },
            ParameterType::Number => LiteralValue::Decimal(Decimal { value: value.to_owned() }),
            ParameterType::Boolean => LiteralValue::Boolean(value == "true"),
            ParameterType::Date => {
                let day: Date = value.parse().map_err(|_| "a date such as 2026-01-31")?;
                let days = day.since(date(1970, 1, 1)).map_err(|_| "a date such as 2026-01-31")?.get_days();
                LiteralValue::Date(days)
            }
            // A time without an offset is one of the zone of the job's driver.
            ParameterType::Timestamp => {
                let at: Timestamp =
                    value.parse().map_err(|_| "a timestamp with an offset, such as 2026-01-31T12:00:00Z")?;
                LiteralValue::Timestamp(at.as_microsecond())
            }
        };
        let literal = Some(Literal { value: Some(value) });
        self.0.insert(name.to_owned(), Expression { literal });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_the_types_of_their_parameters() {
        for (of, text, expected) in [
            (ParameterType::String, "it's", LiteralValue::String("it's".to_owned())),
            (ParameterType::Integer, "-7", LiteralValue::Integer(-7)),
            (ParameterType::Integer, "3000000000", LiteralValue::Long(3_000_000_000)),
            (ParameterType::Boolean, "true", LiteralValue::Boolean(true)),
            (ParameterType::Date, "1971-01-01", LiteralValue::Date(365)),
            (ParameterType::Timestamp, "1970-01-01T01:00:00+01:00", LiteralValue::Timestamp(0)),
        ] {
            let mut arguments = Arguments::default();
            arguments.add("a", of, text).unwrap();
            let literal = arguments.0["a"].literal.clone().unwrap();
            assert_eq!(literal.value, Some(expected));
        }
        let without_offset = Arguments::default().add("a", ParameterType::Timestamp, "2026-01-31T12:00:00");
        assert!(without_offset.is_err());
    }
}
