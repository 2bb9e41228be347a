//! The messages of `spark.connect` that a client for SQL needs, with the field numbers of `base.proto`, `commands.proto` and
//! `relations.proto`. Fields that it does not need are left out.

use std::collections::BTreeMap;

use bytes::Bytes;

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ExecutePlanRequest {
    #[prost(string, tag = "1")]
    pub(super) session_id: String,
    #[prost(message, optional, tag = "3")]
    pub(super) plan: Option<Plan>,
    #[prost(string, optional, tag = "4")]
    pub(super) client_type: Option<String>,
    #[prost(message, repeated, tag = "5")]
    pub(super) request_options: Vec<RequestOption>,
    #[prost(string, optional, tag = "6")]
    pub(super) operation_id: Option<String>,
}

/// Either a relation, as it is on the wire, or a command.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Plan {
    #[prost(bytes = "bytes", optional, tag = "1")]
    pub(super) root: Option<Bytes>,
    #[prost(message, optional, tag = "2")]
    pub(super) command: Option<Command>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Command {
    #[prost(message, optional, tag = "5")]
    pub(super) sql_command: Option<SqlCommand>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct SqlCommand {
    #[prost(message, optional, tag = "6")]
    pub(super) input: Option<Relation>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Relation {
    #[prost(message, optional, tag = "8")]
    pub(super) limit: Option<Limit>,
    #[prost(message, optional, tag = "10")]
    pub(super) sql: Option<Sql>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Limit {
    #[prost(bytes = "bytes", optional, tag = "1")]
    pub(super) input: Option<Bytes>,
    #[prost(int32, tag = "2")]
    pub(super) limit: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Sql {
    #[prost(string, tag = "1")]
    pub(super) query: String,
    #[prost(btree_map = "string, message", tag = "4")]
    pub(super) named_arguments: BTreeMap<String, Expression>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Expression {
    #[prost(message, optional, tag = "1")]
    pub(super) literal: Option<Literal>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Literal {
    #[prost(oneof = "LiteralValue", tags = "3, 6, 7, 12, 13, 16, 17")]
    pub(super) value: Option<LiteralValue>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum LiteralValue {
    #[prost(bool, tag = "3")]
    Boolean(bool),
    #[prost(int32, tag = "6")]
    Integer(i32),
    #[prost(int64, tag = "7")]
    Long(i64),
    #[prost(message, tag = "12")]
    Decimal(Decimal),
    #[prost(string, tag = "13")]
    String(String),
    /// Days since 1970.
    #[prost(int32, tag = "16")]
    Date(i32),
    /// Microseconds since 1970.
    #[prost(int64, tag = "17")]
    Timestamp(i64),
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Decimal {
    #[prost(string, tag = "1")]
    pub(super) value: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct RequestOption {
    #[prost(message, optional, tag = "1")]
    pub(super) reattach_options: Option<ReattachOptions>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ReattachOptions {
    #[prost(bool, tag = "1")]
    pub(super) reattachable: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ExecutePlanResponse {
    #[prost(message, optional, tag = "2")]
    pub(super) arrow_batch: Option<ArrowBatch>,
    #[prost(message, optional, tag = "5")]
    pub(super) sql_command_result: Option<SqlCommandResult>,
    #[prost(string, tag = "13")]
    pub(super) response_id: String,
    #[prost(message, optional, tag = "14")]
    pub(super) result_complete: Option<ResultComplete>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ArrowBatch {
    #[prost(int64, tag = "1")]
    pub(super) row_count: i64,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) data: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct SqlCommandResult {
    #[prost(bytes = "bytes", optional, tag = "1")]
    pub(super) relation: Option<Bytes>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ResultComplete {}

#[derive(Clone, PartialEq, prost::Message)]
#[expect(clippy::struct_field_names, reason = "the names are those of the protocol")]
pub(super) struct ReattachExecuteRequest {
    #[prost(string, tag = "1")]
    pub(super) session_id: String,
    #[prost(string, tag = "3")]
    pub(super) operation_id: String,
    #[prost(string, optional, tag = "5")]
    pub(super) last_response_id: Option<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ReleaseExecuteRequest {
    #[prost(string, tag = "1")]
    pub(super) session_id: String,
    #[prost(string, tag = "3")]
    pub(super) operation_id: String,
    #[prost(message, optional, tag = "5")]
    pub(super) release_all: Option<ReleaseAll>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ReleaseAll {}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct InterruptRequest {
    #[prost(string, tag = "1")]
    pub(super) session_id: String,
    /// 1 is all operations of the session.
    #[prost(int32, tag = "4")]
    pub(super) interrupt_type: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ReleaseSessionRequest {
    #[prost(string, tag = "1")]
    pub(super) session_id: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ConfigRequest {
    #[prost(string, tag = "1")]
    pub(super) session_id: String,
    #[prost(message, optional, tag = "3")]
    pub(super) operation: Option<ConfigOperation>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ConfigOperation {
    #[prost(message, optional, tag = "1")]
    pub(super) set: Option<ConfigSet>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ConfigSet {
    #[prost(message, repeated, tag = "1")]
    pub(super) pairs: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct KeyValue {
    #[prost(string, tag = "1")]
    pub(super) key: String,
    #[prost(string, optional, tag = "2")]
    pub(super) value: Option<String>,
}

/// A response of which nothing is needed.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Ignored {}
