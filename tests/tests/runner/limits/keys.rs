//! Exclusive keys belong to a domain, and checkpoints to the first domain that used them.

use dcp_runner::api::Error;
use dcp_runner::execution::Id;
use dcp_runner::replace::Claim;
use dcp_runner::store::{NewExecution, Store};
use dcp_runner::streaming::Streaming;
use jiff::Timestamp;
use sqlx::Connection as _;
use tokio::task::JoinSet;

use super::{end, of_domain};

fn with_key(domain: &str, number: i64, key: &str) -> NewExecution {
    let mut new = of_domain(domain, number);
    new.record.request.exclusive = Some(key.to_owned());
    new
}

fn with_checkpoint(domain: &str, number: i64, location: &str) -> NewExecution {
    let mut new = with_key(domain, number, location);
    let checkpoint = Some(location.to_owned());
    new.record.request.streaming =
        Some(Streaming { trigger: None, checkpoint, state: None, grace: None, executors: None });
    new
}

/// Two domains hold the same key at the same time, and their runs don't replace each other.
pub(crate) async fn a_key_belongs_to_its_domain(store: Store, _: Store) {
    store.register("nobody").await.expect("the database responds");
    let sales = store
        .submit(with_key("sales", 1, "schedule:shop/sales/orders"))
        .await
        .expect("the key is free")
        .record;
    let finance = store
        .submit(with_key("finance", 2, "schedule:shop/sales/orders"))
        .await
        .expect("the key is free")
        .record;
    let held = |by: &Id| Error::Held { key: "schedule:shop/sales/orders".to_owned(), by: by.clone() };
    for (domain, by) in [("sales", sales.id()), ("finance", finance.id())] {
        let error = store
            .submit(with_key(domain, 3, "schedule:shop/sales/orders"))
            .await
            .expect_err("the key is held");
        assert_eq!(error, held(by));
    }
    // A later run of another domain neither gets the key of the first one nor cancels its holder.
    let mut ordered = with_key("finance", 4, "schedule:shop/sales/orders");
    ordered.record.request.order = Some(i64::MAX);
    let ordered = store.submit(ordered).await.expect("it waits for the key").record;
    let claim = store.claim(&ordered).await.expect("the database responds");
    assert_eq!(claim, Claim::Held(finance.id().clone()));
    // Holders are listed by domain, in pages that leave none out.
    let mut listed = Vec::new();
    let mut after = String::new();
    loop {
        let page = store.holders(&after, 1).await.expect("the database responds");
        let Some(last) = page.last() else { break };
        after = last.position();
        listed.extend(page.iter().map(|it| it.id.clone()));
    }
    assert_eq!(listed, [finance.id().clone(), sales.id().clone()]);
}

/// A checkpoint belongs to the first domain that used it, also after its stream has ended.
pub(crate) async fn a_checkpoint_belongs_to_the_first_domain(one: Store, other: Store) {
    const LOCATION: &str = "s3://lake/clicks";
    one.register("nobody").await.expect("the database responds");
    // A key with the text of the location keeps no stream of another domain from running.
    one.submit(with_key("finance", 1, LOCATION)).await.expect("the key is free");
    let mut stream =
        one.submit(with_checkpoint("sales", 2, LOCATION)).await.expect("the location is free").record;
    for alive in [true, false] {
        let error = other.submit(with_checkpoint("hr", 3, LOCATION)).await.expect_err("it has an owner");
        assert!(
            matches!(&error, Error::NotNow(said) if said.contains("another domain") && !said.contains("sales")),
            "{error:?}"
        );
        if alive {
            end(&one, &mut stream).await;
        }
    }
    let again = other.submit(with_checkpoint("sales", 4, LOCATION)).await.expect("it is the owner's").record;
    let error = one.submit(with_checkpoint("sales", 5, LOCATION)).await.expect_err("it has one writer");
    assert_eq!(error, Error::Held { key: LOCATION.to_owned(), by: again.id().clone() });
    // A repeated submit is answered.
    let mut repeated = with_checkpoint("sales", 4, LOCATION);
    repeated.record.execution.id = Id::new(Timestamp::UNIX_EPOCH, 0);
    let repeated = other.submit(repeated).await.expect("the token is known");
    assert_eq!((repeated.fresh, repeated.record.id()), (false, again.id()));
    // Of many domains at once, one becomes the owner.
    let mut tasks = JoinSet::new();
    for number in 0..12 {
        let store = if number % 2 == 0 { one.clone() } else { other.clone() };
        let new = with_checkpoint(&format!("domain-{number}"), 10 + number, "s3://lake/new");
        tasks.spawn(async move { store.submit(new).await });
    }
    let accepted = tasks.join_all().await.into_iter().flatten().count();
    assert_eq!(accepted, 1);
}

/// The database of an older dcp has one key space, and no owners of checkpoints.
pub(crate) async fn keys_of_an_older_dcp_stay_held(store: Store, url: &str, reopen: impl AsyncFn() -> Store) {
    const LOCATION: &str = "s3://lake/clicks";
    store.register("nobody").await.expect("the database responds");
    let mut before =
        store.submit(with_checkpoint("hr", 1, LOCATION)).await.expect("the location is free").record;
    end(&store, &mut before).await;
    store.close().await;
    sqlx::any::install_default_drivers();
    // One connection, as another one may not know the changed tables yet.
    let mut connection = sqlx::AnyConnection::connect(url).await.expect("the database can be reached");
    // The older dcp let another domain use the location, as the stream of `hr` had ended.
    sqlx::query("DELETE FROM runner_checkpoints")
        .execute(&mut connection)
        .await
        .expect("the statement is valid");
    let store = reopen().await;
    let stream =
        store.submit(with_checkpoint("sales", 2, LOCATION)).await.expect("the location is free").record;
    let keyed = store.submit(with_key("finance", 3, "key")).await.expect("the key is free").record;
    store.close().await;
    for statement in [
        "DROP TABLE runner_checkpoints",
        "DROP INDEX runner_executions_results",
        "DROP INDEX runner_executions_running",
        "ALTER TABLE runner_executions DROP COLUMN result_bytes",
        "DROP INDEX runner_executions_exclusive",
        "CREATE UNIQUE INDEX runner_executions_exclusive ON runner_executions (exclusive) \
         WHERE ended IS NULL AND exclusive IS NOT NULL",
        "UPDATE runner_schema SET version = 7",
    ] {
        sqlx::query(statement).execute(&mut connection).await.expect("the statement is valid");
    }
    connection.close().await.expect("it is open");
    let store = reopen().await;
    let error = store.submit(with_checkpoint("hr", 4, LOCATION)).await.expect_err("it has another owner");
    assert!(matches!(error, Error::NotNow(_)), "{error:?}");
    let error = store.submit(with_checkpoint("sales", 5, LOCATION)).await.expect_err("it has one writer");
    assert_eq!(error, Error::Held { key: LOCATION.to_owned(), by: stream.id().clone() });
    let error = store.submit(with_key("finance", 6, "key")).await.expect_err("the key is held");
    assert_eq!(error, Error::Held { key: "key".to_owned(), by: keyed.id().clone() });
    store.submit(with_key("sales", 7, "key")).await.expect("it is a key of another domain");
}
