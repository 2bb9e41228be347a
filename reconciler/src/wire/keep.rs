//! Of continuous jobs.

use dcp_proto::control::v1 as proto;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Result, read_time, time};
use crate::keep::store::Event;
use crate::keep::{Acting, Ask, Told};

const ASKS: [(Ask, proto::Ask); 3] =
    [(Ask::Pause, proto::Ask::Pause), (Ask::Resume, proto::Ask::Resume), (Ask::Restart, proto::Ask::Restart)];

pub(crate) fn ask(ask: Ask) -> i32 {
    let row = ASKS.iter().find(|(ours, _)| *ours == ask);
    row.map_or(proto::Ask::Unspecified, |(_, theirs)| *theirs).into()
}

pub(crate) fn read_ask(number: i32) -> Result<Ask> {
    let row = ASKS.iter().find(|(_, theirs)| *theirs as i32 == number);
    row.map(|(ours, _)| *ours).ok_or_else(|| format!("`ask` {number} is not known to this dcp"))
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn read_json<T: DeserializeOwned>(what: &str, text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| format!("`{what}` is not what it has to be: {error}"))
}

pub(crate) fn told(told: &Told) -> proto::KeptJob {
    let Told { address, desired, wish, kept } = told;
    proto::KeptJob {
        address: address.to_string(),
        desired: desired.as_ref().map(json),
        wish: json(wish),
        kept: json(kept),
    }
}

pub(crate) fn read_told(told: &proto::KeptJob) -> Result<Told> {
    let proto::KeptJob { address, desired, wish, kept } = told;
    Ok(Told {
        address: address.parse()?,
        desired: desired.as_deref().map(|text| read_json("desired", text)).transpose()?,
        wish: read_json("wish", wish)?,
        kept: read_json("kept", kept)?,
    })
}

pub(crate) fn acting(acting: Option<&Acting>) -> proto::ActingResponse {
    proto::ActingResponse {
        epoch: acting.map(|it| it.epoch),
        heard: acting.and_then(|it| it.heard).map(time),
    }
}

pub(crate) fn read_acting(acting: proto::ActingResponse) -> Result<Option<Acting>> {
    let proto::ActingResponse { epoch, heard } = acting;
    let heard = heard.map(read_time).transpose()?;
    Ok(epoch.map(|epoch| Acting { epoch, heard }))
}

pub(crate) fn event(event: &Event) -> proto::Event {
    proto::Event { at: Some(time(event.at)), said: event.said.clone() }
}

pub(crate) fn read_event(event: proto::Event) -> Result<Event> {
    let at = read_time(event.at.ok_or("an event has no time")?)?;
    Ok(Event { at, said: event.said })
}
