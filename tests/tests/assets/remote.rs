//! Asset completions through a control plane over gRPC, stored in SQLite.

use std::sync::Arc;

use dcp_reconciler::assets::Assets as _;
use dcp_reconciler::registry::Error;
use dcp_reconciler::registry::remote::{self, Remote};
use dcp_reconciler::registry::sql::Sql;
use dcp_reconciler::service;
use dcp_reconciler::state::Scope;
use dcp_server::{Services, Token, Tokens};
use dcp_tests::commits::{AT, BY};
use jiff::Timestamp;
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::suite::completions_of;
use crate::{Fresh, contract};

const TOKEN: &str = "0123456789abcdef-tester";

async fn served() -> (String, TempDir) {
    let folder = TempDir::new().unwrap();
    let assets = Arc::new(Sql::sqlite(&folder.path().join("state.db")).await.unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let services = service::add_assets(Services::new(dcp_proto::DESCRIPTORS), assets, || AT);
    let tokens = Tokens::new(&[Token { name: BY.to_owned(), token: TOKEN.to_owned() }]).unwrap();
    tokio::spawn(dcp_server::serve(
        listener,
        services,
        dcp_server::Options::new(tokens),
        std::future::pending(),
    ));
    (url, folder)
}

fn client(url: &str, token: &str) -> Remote {
    Remote::new(remote::Options::new(url, token.to_owned())).unwrap()
}

async fn fresh() -> Fresh {
    let (url, folder) = served().await;
    let client = || Arc::new(client(&url, TOKEN));
    Fresh { assets: client(), other: client(), _keep: Some(folder) }
}

contract!(fresh());

#[tokio::test(flavor = "multi_thread")]
async fn who_tells_is_known_by_the_token_and_when_by_the_servers_clock() {
    let (url, _folder) = served().await;
    let scope = Scope::new("shop", None);
    let new = completions_of(&["table:a"], "", "one");
    let completed = client(&url, TOKEN).complete(&scope, &new, "somebody", Timestamp::MAX).await.unwrap();
    assert_eq!((completed[0].by.as_str(), completed[0].at), (BY, AT));
    let refused = client(&url, "0123456789abcdef-other").complete(&scope, &new, BY, AT).await;
    assert!(matches!(refused, Err(Error::Denied(_))), "{refused:?}");
}
