//! Completions of a control plane, over gRPC.

use async_trait::async_trait;
use dcp_proto::control::v1 as proto;
use jiff::Timestamp;

use super::{Assets, Completed, Completion, NewCompletions, Page};
use crate::registry::Result;
use crate::registry::remote::Remote;
use crate::state::Scope;
use crate::wire::assets as wire;

#[async_trait]
impl Assets for Remote {
    /// The control plane sets the caller and the time itself.
    async fn complete(
        &self,
        scope: &Scope,
        new: &NewCompletions,
        _: &str,
        _: Timestamp,
    ) -> Result<Vec<Completion>> {
        let request = wire::complete_request(scope.as_str(), new);
        let response = self
            .call_assets(|mut client| {
                let request = request.clone();
                async move { Ok(client.complete(request).await?.into_inner().completions) }
            })
            .await?;
        wire::read_completions(response).map_err(|what| self.unreadable(what))
    }

    async fn completions(
        &self,
        scope: &Scope,
        after: Option<u64>,
        asset: Option<&str>,
        limit: u32,
    ) -> Result<Page> {
        let asset = asset.map(str::to_owned);
        let request = proto::CompletionsRequest { scope: scope.to_string(), after, asset, limit };
        let response = self
            .call_assets(|mut client| {
                let request = request.clone();
                async move { Ok(client.completions(request).await?.into_inner()) }
            })
            .await?;
        wire::read_page(response).map_err(|what| self.unreadable(what))
    }

    async fn completed(&self, scope: &Scope) -> Result<Vec<Completed>> {
        let request = proto::CompletedRequest { scope: scope.to_string() };
        let response = self
            .call_assets(|mut client| {
                let request = request.clone();
                async move {
                    let mut parts = client.completed(request).await?.into_inner();
                    let mut all = Vec::new();
                    while let Some(part) = parts.message().await? {
                        all.extend(part.completed);
                    }
                    Ok(all)
                }
            })
            .await?;
        let read = |it| wire::read_completed(it).map_err(|what| self.unreadable(what));
        response.into_iter().map(read).collect()
    }
}
