//! Messages about the attempts of an execution.

use std::collections::{BTreeMap, HashMap};

use dcp_gateway::{Addresses, End, Evidence};
use dcp_model::manifest::Cause;
use dcp_proto::runner::v1 as proto;

use super::{Result, enum_text, map, read_enum, read_id, read_optional_time, read_time, time};
use crate::execution::{Adjustment, Attempt, Diagnosis, StopReason, Wait};

pub(super) fn attempt(attempt: &Attempt) -> proto::Attempt {
    // The wait in a queue is for timeouts, which only the Runner itself has.
    let Attempt { number, backend, begun, running, queued: _, addresses, cluster, end, diagnosis, adjusted } =
        attempt;
    let end = end.as_ref().map(|end| {
        let End { at, succeeded, stopped, exit_code, signal, reason, evidence } = end.clone();
        let evidence = evidence.into_iter().map(|Evidence { source, reason, text }| proto::Evidence {
            source: enum_text(&source),
            text,
            reason: reason.as_ref().map(enum_text),
        });
        let (reason, evidence) = (enum_text(&reason), evidence.collect());
        proto::End { at: Some(time(at)), succeeded, stopped, exit_code, signal, reason, evidence }
    });
    let Addresses { ui, connect, event_log } = addresses.clone();
    let diagnosis = diagnosis.as_ref().map(|diagnosis| {
        let Diagnosis { class, cause, summary, evidence } = diagnosis.clone();
        proto::Diagnosis { class: class.as_ref().map(enum_text), cause, summary, evidence }
    });
    proto::Attempt {
        number: *number,
        backend: enum_text(backend),
        begun: Some(time(*begun)),
        running: running.map(time),
        addresses: Some(proto::Addresses { ui, connect, event_log }),
        cluster: cluster.clone(),
        end,
        diagnosis,
        adjusted: self::adjusted(adjusted),
    }
}

pub(super) fn read_attempt(attempt: proto::Attempt) -> Result<Attempt> {
    let proto::Attempt { number, backend, begun, running, addresses, end, diagnosis, adjusted, cluster } =
        attempt;
    let end = end.map(|end| {
        let proto::End { at, succeeded, stopped, exit_code, signal, reason, evidence } = end;
        let (at, reason) = (read_time(at)?, read_enum(&reason)?);
        let evidence = evidence.into_iter().map(|proto::Evidence { source, text, reason }| {
            let reason = reason.as_deref().map(read_enum).transpose()?;
            Ok::<_, String>(Evidence { source: read_enum(&source)?, reason, text })
        });
        let evidence = evidence.collect::<Result<_>>()?;
        Ok::<_, String>(End { at, succeeded, stopped, exit_code, signal, reason, evidence })
    });
    let proto::Addresses { ui, connect, event_log } = addresses.unwrap_or_default();
    let diagnosis = diagnosis.map(|diagnosis| {
        let proto::Diagnosis { class, cause, summary, evidence } = diagnosis;
        let class = class.as_deref().map(read_enum::<Cause>).transpose()?;
        Ok::<_, String>(Diagnosis { class, cause, summary, evidence })
    });
    Ok(Attempt {
        number,
        backend: read_enum(&backend)?,
        begun: read_time(begun)?,
        running: read_optional_time(running)?,
        queued: Wait::None,
        addresses: Addresses { ui, connect, event_log },
        cluster,
        end: end.transpose()?,
        diagnosis: diagnosis.transpose()?,
        adjusted: read_adjusted(adjusted),
    })
}

pub(super) fn adjusted(adjusted: &BTreeMap<String, Adjustment>) -> HashMap<String, proto::Adjustment> {
    map(adjusted.clone(), |Adjustment { value, why }| proto::Adjustment { value, why })
}

pub(super) fn read_adjusted(adjusted: HashMap<String, proto::Adjustment>) -> BTreeMap<String, Adjustment> {
    let one = |(key, proto::Adjustment { value, why })| (key, Adjustment { value, why });
    adjusted.into_iter().map(one).collect()
}

pub(super) fn stop_reason(reason: &StopReason) -> proto::StopReason {
    use proto::stop_reason::Kind;
    let kind = match reason {
        StopReason::Cancelled { by } => Kind::CancelledBy(by.clone()),
        StopReason::Replaced { by } => Kind::ReplacedBy(by.to_string()),
        StopReason::StartTimeout => Kind::StartTimeout(true),
        StopReason::RunTimeout => Kind::RunTimeout(true),
    };
    proto::StopReason { kind: Some(kind) }
}

pub(super) fn read_stop_reason(reason: proto::StopReason) -> Result<StopReason> {
    use proto::stop_reason::Kind;
    match reason.kind {
        Some(Kind::CancelledBy(by)) => Ok(StopReason::Cancelled { by }),
        Some(Kind::ReplacedBy(by)) => Ok(StopReason::Replaced { by: read_id(&by)? }),
        Some(Kind::StartTimeout(true)) => Ok(StopReason::StartTimeout),
        Some(Kind::RunTimeout(true)) => Ok(StopReason::RunTimeout),
        _ => Err("a reason to stop is not one that this dcp knows".to_owned()),
    }
}
