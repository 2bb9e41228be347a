//! Messages about assets.

use dcp_proto::control::v1 as proto;

use super::{Result, read_time, time};
use crate::assets::{Completed, Completion, NewCompletions, Page};

pub(crate) fn complete_request(scope: &str, new: &NewCompletions) -> proto::CompleteRequest {
    let NewCompletions { assets, partition, run, job, origin } = new.clone();
    proto::CompleteRequest { scope: scope.to_owned(), assets, partition, run, job, origin }
}

pub(crate) fn read_new_completions(request: proto::CompleteRequest) -> NewCompletions {
    let proto::CompleteRequest { scope: _, assets, partition, run, job, origin } = request;
    NewCompletions { assets, partition, run, job, origin }
}

pub(crate) fn completion(completion: Completion) -> proto::Completion {
    let Completion { number, asset, partition, run, job, origin, by, at } = completion;
    proto::Completion { number, asset, partition, run, job, origin, by, at: Some(time(at)) }
}

pub(crate) fn read_completion(completion: proto::Completion) -> Result<Completion> {
    let proto::Completion { number, asset, partition, run, job, origin, by, at } = completion;
    let at = read_time(at.ok_or("a completion has no time")?)?;
    Ok(Completion { number, asset, partition, run, job, origin, by, at })
}

pub(crate) fn read_completions(completions: Vec<proto::Completion>) -> Result<Vec<Completion>> {
    completions.into_iter().map(read_completion).collect()
}

pub(crate) fn page(page: Page) -> proto::CompletionsResponse {
    let Page { completions, seen } = page;
    proto::CompletionsResponse { completions: completions.into_iter().map(completion).collect(), seen }
}

pub(crate) fn read_page(answer: proto::CompletionsResponse) -> Result<Page> {
    let proto::CompletionsResponse { completions, seen } = answer;
    Ok(Page { completions: read_completions(completions)?, seen })
}

pub(crate) fn completed(completed: Completed) -> proto::Completed {
    let Completed { last, times } = completed;
    proto::Completed { last: Some(completion(last)), times }
}

pub(crate) fn read_completed(completed: proto::Completed) -> Result<Completed> {
    let proto::Completed { last, times } = completed;
    let last = last.ok_or("an asset was completed, and it is not said how")?;
    Ok(Completed { last: read_completion(last)?, times })
}
