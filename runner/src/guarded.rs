//! A Runner as one caller may use it. Every call of the interface is checked here, for gRPC and REST alike.
//!
//! | call | role |
//! | --- | --- |
//! | `submit` of an applied job | `operator` of the job's domain in its scope |
//! | `submit` of another job | `developer` of the job's domain in all scopes |
//! | `cancel` | `operator` |
//! | `check`, `watch`, `logs`, `result`, `list` | `viewer` |
//! | `holders` | `viewer` of everything |

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use dcp_server::policy::{Resource, Role};
use dcp_server::{Act, Caller, Denied};
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt as _, TryStreamExt as _};

use crate::api::{Filter, Holder, LogPart, LogRequest, Record, Runner, Submitted};
use crate::error::{Error, Result};
use crate::execution::{Id, Transition};
use crate::request::{Definition, Submit};
use crate::results::Format;

/// A Runner that is used as its callers only.
#[derive(Debug, Clone)]
pub(crate) struct Protected(Arc<dyn Runner>);

impl Protected {
    pub(crate) fn new(runner: Arc<dyn Runner>) -> Self {
        Self(runner)
    }

    /// Returns the Runner as a caller may use it.
    pub(crate) fn used_by(&self, caller: &Caller) -> Guarded {
        Guarded { runner: Arc::clone(&self.0), caller: caller.clone() }
    }
}

/// A Runner as one caller may use it.
#[derive(Debug, Clone)]
pub(crate) struct Guarded {
    runner: Arc<dyn Runner>,
    caller: Caller,
}

fn resource(record: &Record) -> Resource<'_> {
    Resource::of(record.request.scope.as_deref(), &record.request.domain)
}

impl Guarded {
    /// Returns an execution if the caller has a role for it. `act` is the name of what it is about to do.
    async fn find(&self, id: &Id, act: &'static str, role: Role) -> Result<Record> {
        let record = self.runner.check(id).await?;
        let act = Act { resource: resource(&record), subject: Some(id.as_str()), ..Act::new(act, role) };
        match self.caller.authorize(act).await {
            Ok(()) => Ok(record),
            Err(Denied::Hidden) => Err(Error::unknown(id)),
            Err(Denied::Forbidden(why)) => Err(Error::Denied(why)),
            Err(Denied::Unavailable(why)) => Err(Error::Unavailable(why)),
        }
    }

    /// Checks that the caller may read an execution, before a stream begins.
    fn checked<T: Send + 'static>(
        &self,
        id: &Id,
        act: &'static str,
        begin: impl FnOnce(&dyn Runner, &Id) -> BoxStream<'static, Result<T>> + Send + 'static,
    ) -> BoxStream<'static, Result<T>> {
        if self.caller.is_unrestricted() {
            return begin(&*self.runner, id);
        }
        let (guarded, id) = (self.clone(), id.clone());
        let checked = async move {
            let record = guarded.find(&id, act, Role::Viewer).await?;
            let caller = guarded.caller.clone();
            let lost = async move { caller.lost(Role::Viewer, resource(&record)).await };
            Ok::<_, Error>(until_lost(begin(&*guarded.runner, &id), lost))
        };
        stream::once(checked).try_flatten().boxed()
    }

    async fn authorize_submit(&self, submit: &Submit) -> Result<()> {
        let (role, resource, name) = match &submit.job {
            Definition::Applied(of) => {
                (Role::Operator, Resource::of(Some(&of.scope), &of.domain), of.name.as_str())
            }
            Definition::Inline(job) => {
                let metadata = &job.job().metadata;
                (Role::Developer, Resource::of(None, metadata.domain.as_str()), metadata.name.as_str())
            }
        };
        let on_behalf_of = submit.on_behalf_of.as_deref();
        let act = Act { name: "submit", role, resource, subject: Some(name), on_behalf_of };
        self.caller.authorize(act).await.map_err(|denied| match (denied, &submit.job) {
            (Denied::Hidden, Definition::Applied(of)) => of.not_applied(),
            (Denied::Unavailable(why), _) => Error::Unavailable(why),
            (denied, _) => Error::Denied(denied.message(&self.caller, role, resource)),
        })
    }
}

/// Ends a stream once its caller may not read it any more, with the reason.
fn until_lost<T: Send + 'static>(
    stream: BoxStream<'static, Result<T>>,
    lost: impl Future<Output = String> + Send + 'static,
) -> BoxStream<'static, Result<T>> {
    let state = Some((stream, Box::pin(lost)));
    let next = |state| async move {
        let (mut stream, mut lost): (BoxStream<'static, Result<T>>, std::pin::Pin<Box<_>>) = state?;
        tokio::select! {
            biased;
            why = &mut lost => Some((Err(Error::Denied(why)), None)),
            item = stream.next() => item.map(|item| (item, Some((stream, lost)))),
        }
    };
    stream::unfold(state, next).boxed()
}

#[async_trait]
impl Runner for Guarded {
    async fn submit(&self, submit: Submit) -> Result<Submitted> {
        self.authorize_submit(&submit).await?;
        let submitted = self.runner.submit(submit).await;
        match submitted {
            Err(Error::TokenReused { id, .. }) if !self.caller.is_unrestricted() => {
                // The other execution may be invisible for the caller.
                Err(self.find(&id, "submit", Role::Viewer).await.map_or_else(
                    |_| Error::Denied("the token belongs to another caller; use another token".to_owned()),
                    |record| Error::TokenReused { id: record.execution.id, differences: Vec::new() },
                ))
            }
            submitted => submitted,
        }
    }

    async fn check(&self, id: &Id) -> Result<Record> {
        self.find(id, "check", Role::Viewer).await
    }

    async fn cancel(&self, id: &Id, by: &str) -> Result<Record> {
        if !self.caller.is_unrestricted() {
            self.find(id, "cancel", Role::Operator).await?;
        }
        self.runner.cancel(id, by).await
    }

    async fn list(&self, filter: &Filter, before: Option<&Id>, limit: u32) -> Result<Vec<Record>> {
        let filter = Filter { visible: self.caller.visible(), ..filter.clone() };
        self.runner.list(&filter, before, limit).await
    }

    async fn holders(&self, after: &str, limit: u32) -> Result<Vec<Holder>> {
        self.caller.check(Role::Viewer, Resource::EVERYTHING).map_err(|denied| {
            Error::Denied(denied.message(&self.caller, Role::Viewer, Resource::EVERYTHING))
        })?;
        self.runner.holders(after, limit).await
    }

    fn watch(&self, id: &Id, from: usize) -> BoxStream<'static, Result<Transition>> {
        self.checked(id, "watch", move |runner, id| runner.watch(id, from))
    }

    fn logs(&self, id: &Id, request: LogRequest) -> BoxStream<'static, Result<LogPart>> {
        self.checked(id, "logs", move |runner, id| runner.logs(id, request))
    }

    fn result(&self, id: &Id, format: Format) -> BoxStream<'static, Result<Bytes>> {
        self.checked(id, "result", move |runner, id| runner.result(id, format))
    }
}
