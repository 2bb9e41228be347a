//! Messages about the status of an application.

use dcp_proto::gateway::v1 as proto;

use super::{Result, enum_text, read_enum, read_time, time};
use crate::{Addresses, End, Evidence, Obstacle, Phase, Status};

const PHASES: [(Phase, proto::Phase); 3] = [
    (Phase::Pending, proto::Phase::Pending),
    (Phase::Running, proto::Phase::Running),
    (Phase::Ended, proto::Phase::Ended),
];

pub(crate) fn status(status: Status) -> proto::Status {
    let Status { phase, started, obstacle, addresses, cluster, end } = status;
    let phase = PHASES.iter().find(|(ours, _)| *ours == phase);
    let Addresses { ui, connect, event_log } = addresses;
    let obstacle = obstacle.map(|Obstacle { reason, evidence }| proto::Obstacle {
        reason: enum_text(&reason),
        evidence: self::evidence(evidence),
    });
    proto::Status {
        phase: phase.map_or(proto::Phase::Unspecified, |(_, theirs)| *theirs).into(),
        started: started.map(time),
        obstacle,
        addresses: Some(proto::Addresses { ui, connect, event_log }),
        cluster,
        end: end.map(self::end),
    }
}

pub(crate) fn read_status(status: proto::Status) -> Result<Status> {
    let proto::Status { phase, started, obstacle, addresses, end, cluster } = status;
    let known = PHASES.iter().find(|(_, theirs)| *theirs as i32 == phase);
    let (phase, _) = known.ok_or_else(|| format!("phase {phase} is not known to this dcp"))?;
    let proto::Addresses { ui, connect, event_log } = addresses.unwrap_or_default();
    let obstacle = obstacle.map(|proto::Obstacle { reason, evidence }| {
        Ok::<_, String>(Obstacle { reason: read_enum(&reason)?, evidence: read_evidence(evidence)? })
    });
    Ok(Status {
        phase: *phase,
        started: started.map(|at| read_time(Some(at))).transpose()?,
        obstacle: obstacle.transpose()?,
        addresses: Addresses { ui, connect, event_log },
        cluster,
        end: end.map(read_end).transpose()?,
    })
}

fn end(end: End) -> proto::End {
    let End { at, succeeded, stopped, exit_code, signal, reason, evidence } = end;
    let (at, reason, evidence) = (Some(time(at)), enum_text(&reason), self::evidence(evidence));
    proto::End { at, succeeded, stopped, exit_code, signal, reason, evidence }
}

fn read_end(end: proto::End) -> Result<End> {
    let proto::End { at, succeeded, stopped, exit_code, signal, reason, evidence } = end;
    let (at, reason, evidence) = (read_time(at)?, read_enum(&reason)?, read_evidence(evidence)?);
    Ok(End { at, succeeded, stopped, exit_code, signal, reason, evidence })
}

fn evidence(evidence: Vec<Evidence>) -> Vec<proto::Evidence> {
    let one = |Evidence { source, reason, text }| proto::Evidence {
        source: enum_text(&source),
        text,
        reason: reason.as_ref().map(enum_text),
    };
    evidence.into_iter().map(one).collect()
}

fn read_evidence(evidence: Vec<proto::Evidence>) -> Result<Vec<Evidence>> {
    let one = |proto::Evidence { source, text, reason }| {
        let reason = reason.as_deref().map(read_enum).transpose()?;
        Ok(Evidence { source: read_enum(&source)?, reason, text })
    };
    evidence.into_iter().map(one).collect()
}
