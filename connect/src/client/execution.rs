//! The execution of a statement.

use bytes::Bytes;
use prost::Message as _;
use tonic::{Code, Status, Streaming};
use tonic_prost::ProstCodec;
use tonic_types::StatusExt as _;

use super::arguments::Arguments;
use super::messages::{
    Command, ExecutePlanRequest, ExecutePlanResponse, Ignored, Limit, Plan, ReattachExecuteRequest,
    ReattachOptions, Relation, ReleaseAll, ReleaseExecuteRequest, RequestOption, Sql, SqlCommand,
};
use super::{CLIENT, Retries, Session, path};
use crate::wire::request::random_uuid;

/// The batches of a result, each a stream of Arrow of its own.
#[derive(Debug)]
pub struct Batches {
    responses: Responses,
}

impl Batches {
    /// Returns the next batch; none at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        while let Some(response) = self.responses.next().await? {
            if let Some(batch) = response.arrow_batch {
                return Ok(Some(batch.data));
            }
        }
        Ok(None)
    }
}

/// Executes a statement: a command at once, and a query by the relation that the server makes of it.
pub(super) async fn execute(
    session: &Session,
    sql: &str,
    arguments: &Arguments,
    limit: Option<u32>,
) -> Result<Batches, Status> {
    let sql = Sql { query: sql.to_owned(), named_arguments: arguments.0.clone() };
    let sql = Relation { sql: Some(sql), limit: None };
    let command = Command { sql_command: Some(SqlCommand { input: Some(sql.clone()) }) };
    let mut responses = Responses::new(session, Plan { root: None, command: Some(command) });
    let mut relation = None;
    while let Some(response) = responses.next().await? {
        relation = response.sql_command_result.and_then(|result| result.relation).or(relation);
    }
    let relation = relation.unwrap_or_else(|| sql.encode_to_vec().into());
    let limit = limit.and_then(|limit| i32::try_from(limit).ok());
    let root = match limit {
        Some(limit) => {
            let limit = Limit { input: Some(relation), limit };
            Relation { limit: Some(limit), sql: None }.encode_to_vec().into()
        }
        None => relation,
    };
    Ok(Batches { responses: Responses::new(session, Plan { root: Some(root), command: None }) })
}

/// The responses of one operation, from several streams if one ends early.
#[derive(Debug)]
struct Responses {
    session: Session,
    operation: String,
    plan: Plan,
    stream: Option<Streaming<ExecutePlanResponse>>,
    last: Option<String>,
    is_sent: bool,
    is_complete: bool,
    retries: Retries,
}

impl Responses {
    fn new(session: &Session, plan: Plan) -> Self {
        Self {
            session: session.clone(),
            operation: random_uuid(),
            plan,
            stream: None,
            last: None,
            is_sent: false,
            is_complete: false,
            retries: Retries::default(),
        }
    }

    async fn next(&mut self) -> Result<Option<ExecutePlanResponse>, Status> {
        while !self.is_complete {
            match self.try_next().await {
                Ok(Some(response)) => {
                    self.retries = Retries::default();
                    self.last = Some(response.response_id.clone());
                    if response.result_complete.is_some() {
                        self.is_complete = true;
                        self.release().await;
                    }
                    return Ok(Some(response));
                }
                // The stream ended early, and the operation goes on.
                Ok(None) => self.stream = None,
                Err(status) if self.last.is_none() && is_unknown(&status) => {
                    (self.stream, self.is_sent) = (None, false);
                }
                Err(status) => {
                    self.stream = None;
                    self.retries.wait(status).await?;
                }
            }
        }
        Ok(None)
    }

    async fn try_next(&mut self) -> Result<Option<ExecutePlanResponse>, Status> {
        if self.stream.is_none() {
            self.stream = Some(match self.is_sent {
                false => {
                    // Whether the server gets it is not known before it responds.
                    self.is_sent = true;
                    self.execute().await?
                }
                true => self.reattach().await?,
            });
        }
        match &mut self.stream {
            Some(stream) => stream.message().await,
            None => Ok(None),
        }
    }

    async fn execute(&self) -> Result<Streaming<ExecutePlanResponse>, Status> {
        let request = ExecutePlanRequest {
            session_id: self.session.id.clone(),
            plan: Some(self.plan.clone()),
            client_type: Some(CLIENT.to_owned()),
            request_options: vec![RequestOption {
                reattach_options: Some(ReattachOptions { reattachable: true }),
            }],
            operation_id: Some(self.operation.clone()),
        };
        let mut client = self.session.client().await?;
        let codec = ProstCodec::<ExecutePlanRequest, ExecutePlanResponse>::default();
        let stream =
            client.server_streaming(self.session.request(request), path("ExecutePlan"), codec).await?;
        Ok(stream.into_inner())
    }

    async fn reattach(&self) -> Result<Streaming<ExecutePlanResponse>, Status> {
        let request = ReattachExecuteRequest {
            session_id: self.session.id.clone(),
            operation_id: self.operation.clone(),
            last_response_id: self.last.clone(),
        };
        let mut client = self.session.client().await?;
        let codec = ProstCodec::<ReattachExecuteRequest, ExecutePlanResponse>::default();
        let request = self.session.request(request);
        Ok(client.server_streaming(request, path("ReattachExecute"), codec).await?.into_inner())
    }

    /// Has the server forget the responses. If this fails, the server does so after a time.
    async fn release(&self) {
        let request = ReleaseExecuteRequest {
            session_id: self.session.id.clone(),
            operation_id: self.operation.clone(),
            release_all: Some(ReleaseAll {}),
        };
        let Ok(mut client) = self.session.client().await else { return };
        let codec = ProstCodec::<ReleaseExecuteRequest, Ignored>::default();
        let _ = client.unary(self.session.request(request), path("ReleaseExecute"), codec).await;
    }
}

/// Returns whether the server does not know the operation, so that it was never begun.
fn is_unknown(status: &Status) -> bool {
    let class = status.get_details_error_info().and_then(|mut info| info.metadata.remove("errorClass"));
    let class = class.as_deref();
    status.code() == Code::Internal
        && matches!(class, Some("INVALID_HANDLE.OPERATION_NOT_FOUND" | "INVALID_HANDLE.SESSION_NOT_FOUND"))
}
