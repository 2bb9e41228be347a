//! Messages about continuous jobs.

use dcp_proto::control::v1 as proto;

use super::{Result, read_time, time};
use crate::reconcile::store::Event;
use crate::reconcile::{Leader, Request};

const REQUESTS: [(Request, proto::JobRequest); 3] = [
    (Request::Pause, proto::JobRequest::Pause),
    (Request::Resume, proto::JobRequest::Resume),
    (Request::Restart, proto::JobRequest::Restart),
];

pub(crate) fn request(request: Request) -> i32 {
    let row = REQUESTS.iter().find(|(ours, _)| *ours == request);
    row.map_or(proto::JobRequest::Unspecified, |(_, theirs)| *theirs).into()
}

pub(crate) fn read_request(number: i32) -> Result<Request> {
    let row = REQUESTS.iter().find(|(_, theirs)| *theirs as i32 == number);
    row.map(|(ours, _)| *ours).ok_or_else(|| format!("`request` {number} is not known to this dcp"))
}

pub(crate) fn leader(leader: Option<&Leader>) -> proto::LeaderResponse {
    proto::LeaderResponse {
        epoch: leader.map(|it| it.epoch),
        heartbeat: leader.and_then(|it| it.heartbeat).map(time),
    }
}

pub(crate) fn read_leader(leader: proto::LeaderResponse) -> Result<Option<Leader>> {
    let proto::LeaderResponse { epoch, heartbeat } = leader;
    let heartbeat = heartbeat.map(read_time).transpose()?;
    Ok(epoch.map(|epoch| Leader { epoch, heartbeat }))
}

pub(crate) fn event(event: &Event) -> proto::Event {
    proto::Event { at: Some(time(event.at)), message: event.message.clone() }
}

pub(crate) fn read_event(event: proto::Event) -> Result<Event> {
    let at = read_time(event.at.ok_or("an event has no time")?)?;
    Ok(Event { at, message: event.message })
}
