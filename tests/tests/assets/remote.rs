//! Asset completions through a control plane over gRPC, stored in SQLite.

use std::sync::Arc;

use dcp_reconciler::assets::Assets as _;
use dcp_reconciler::registry::Error;
use dcp_reconciler::registry::remote::{self, Remote};
use dcp_reconciler::registry::sql::Sql;
use dcp_reconciler::service;
use dcp_reconciler::state::Scope;
use dcp_server::{Services, Token, Tokens};
use dcp_tests::commits::{AUTHOR, COMMIT_TIME};
use jiff::Timestamp;
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::suite::completions_of;
use crate::{Fixture, contract};

const TOKEN: &str = "0123456789abcdef-tester";

async fn served() -> (String, TempDir) {
    let folder = TempDir::new().unwrap();
    let assets = Arc::new(Sql::sqlite(&folder.path().join("state.db")).await.unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let services = service::add_assets(Services::new(dcp_proto::DESCRIPTORS), assets, || COMMIT_TIME);
    let tokens = Tokens::new(&[Token { name: AUTHOR.to_owned(), token: TOKEN.to_owned() }]).unwrap();
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

async fn fixture() -> Fixture {
    let (url, folder) = served().await;
    let client = || Arc::new(client(&url, TOKEN));
    Fixture { assets: client(), other: client(), _resources: Some(folder) }
}

contract!(fixture());

#[tokio::test(flavor = "multi_thread")]
async fn server_sets_reporter_and_time_of_completions() {
    let (url, _folder) = served().await;
    let scope = Scope::new("shop", None);
    let new = completions_of(&["table:a"], "", "one");
    let completed = client(&url, TOKEN).complete(&scope, &new, "somebody", Timestamp::MAX).await.unwrap();
    assert_eq!((completed[0].by.as_str(), completed[0].at), (AUTHOR, COMMIT_TIME));
    let refused = client(&url, "0123456789abcdef-other").complete(&scope, &new, AUTHOR, COMMIT_TIME).await;
    assert!(matches!(refused, Err(Error::Denied(_))), "{refused:?}");
}
