//! Conversions between the Gateway's types and the messages of `dcp.gateway.v1`, for client and server.

pub(crate) mod control_plane;
pub(crate) mod error;
mod report;
mod status;

use dcp_proto::gateway::v1 as proto;
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub(crate) use report::{read_report, report};
pub(crate) use status::{read_status, status};

use crate::compute::Capabilities;
use crate::error::Error;
use crate::fields::Treatment;
use crate::{Ability, Change, Name, SparkApplication, WatchEvent};

/// The error describes an invalid message.
pub(crate) type Result<T> = std::result::Result<T, String>;

/// Maximum size of an application, in bytes of JSON.
pub(crate) const MAX_APPLICATION_BYTES: usize = 4 << 20;
/// Maximum size of a request: an application, and the framing of its message.
pub(crate) const MAX_REQUEST_BYTES: usize = MAX_APPLICATION_BYTES + 1024;
/// Maximum size of a part of a log.
pub(crate) const MAX_LOG_BYTES: usize = 4 << 20;
/// Maximum size of a response.
pub(crate) const MAX_RESPONSE_BYTES: usize = 16 << 20;

/// Returns an application as JSON.
pub(crate) fn application(application: &SparkApplication) -> crate::Result<String> {
    let text = serde_json::to_string(application)
        .map_err(|error| Error::Invalid(format!("the application can't be written as JSON: {error}")))?;
    if text.len() > MAX_APPLICATION_BYTES {
        return Err(too_large(text.len()));
    }
    Ok(text)
}

/// Parses an application, and rejects unknown fields and an invalid name.
pub(crate) fn read_application(text: &str) -> crate::Result<(Name, SparkApplication)> {
    if text.len() > MAX_APPLICATION_BYTES {
        return Err(too_large(text.len()));
    }
    let application: SparkApplication = serde_json::from_str(text).map_err(|error| {
        Error::Invalid(format!(
            "the Gateway can't read the application: {error}; see that Runner and Gateway are of one version"
        ))
    })?;
    Ok((application.metadata.name.parse()?, application))
}

fn too_large(bytes: usize) -> Error {
    Error::Invalid(format!(
        "the application has {bytes} bytes, and {MAX_APPLICATION_BYTES} are allowed: move large values to files"
    ))
}

pub(crate) fn event(event: WatchEvent) -> proto::WatchResponse {
    use proto::watch_response::Event;
    let event = match event {
        WatchEvent::Listed => Event::Listed(proto::Listed {}),
        WatchEvent::Changed(Change { name, status }) => {
            Event::Changed(proto::Change { name: name.to_string(), status: status.map(self::status) })
        }
    };
    proto::WatchResponse { event: Some(event) }
}

pub(crate) fn read_event(response: proto::WatchResponse) -> Result<WatchEvent> {
    use proto::watch_response::Event;
    match response.event.ok_or_else(|| "an event of an unknown kind".to_owned())? {
        Event::Listed(proto::Listed {}) => Ok(WatchEvent::Listed),
        Event::Changed(proto::Change { name, status }) => {
            let name = name.parse().map_err(|error: Error| error.to_string())?;
            let status = status.map(read_status).transpose()?;
            Ok(WatchEvent::Changed(Change { name, status }))
        }
    }
}

pub(crate) fn capabilities(capabilities: Capabilities) -> proto::CapabilitiesResponse {
    let abilities = capabilities.abilities.iter().map(|ability| ability_name(*ability).to_owned());
    let rows = capabilities.fields.rows().flat_map(|(treatment, reason, patterns)| {
        patterns.iter().map(|pattern| proto::FieldTreatment {
            pattern: (*pattern).to_owned(),
            treatment: treatment_name(*treatment).to_owned(),
            reason: (*reason).to_owned(),
        })
    });
    proto::CapabilitiesResponse { abilities: abilities.collect(), fields: rows.collect() }
}

pub(crate) fn ability_name(ability: Ability) -> &'static str {
    match ability {
        Ability::Pods => "pods",
        Ability::EventLog => "eventLog",
        Ability::Ui => "ui",
        Ability::Secrets => "secrets",
        Ability::PythonPackages => "pythonPackages",
        Ability::Drain => "drain",
        Ability::Connect => "connect",
    }
}

fn treatment_name(treatment: Treatment) -> &'static str {
    match treatment {
        Treatment::Applies => "applies",
        Treatment::OtherLayer => "otherLayer",
        Treatment::NoEffect => "noEffect",
        Treatment::Rejects => "rejects",
    }
}

fn time(at: Timestamp) -> prost_types::Timestamp {
    let nanosecond = at.as_nanosecond();
    prost_types::Timestamp {
        seconds: i64::try_from(nanosecond.div_euclid(1_000_000_000)).unwrap_or_default(),
        nanos: i32::try_from(nanosecond.rem_euclid(1_000_000_000)).unwrap_or_default(),
    }
}

fn read_time(at: Option<prost_types::Timestamp>) -> Result<Timestamp> {
    let at = at.ok_or_else(|| "a time is missing".to_owned())?;
    Timestamp::new(at.seconds, at.nanos).map_err(|_| "a time is out of its range".to_owned())
}

/// Returns the text of an enum's value, as in JSON.
fn enum_text(value: &impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|it| it.as_str().map(str::to_owned)).unwrap_or_default()
}

fn read_enum<T: DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_value(text.into()).map_err(|_| format!("`{text}` is not known to this dcp"))
}

#[cfg(test)]
mod tests;
