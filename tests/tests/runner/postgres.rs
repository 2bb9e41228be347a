//! Runners that share a real PostgreSQL, and take over by lease.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dcp_runner::api::{Error, Runner as _};
use dcp_runner::execution::Phase;
use dcp_runner::store::Store;
use dcp_tests::fake_spark::FakeSpark;
use dcp_tests::postgres::{Collation, database, database_of};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, UnixStream};
use tokio::sync::watch;

use crate::{
    DRIVER_SCRIPT, Fixture, contract, ownership, persistence, start_runner, submit, wait_for, wait_for_end,
};

async fn fixture() -> Fixture {
    let fake_spark = FakeSpark::with_version("4.1.1", DRIVER_SCRIPT);
    let url = database();
    let lease = Duration::from_secs(15);
    let runner =
        start_runner(&fake_spark, Store::postgres(&url).await.expect("the store opens"), lease).await;
    let other = start_runner(&fake_spark, Store::postgres(&url).await.expect("the store opens"), lease).await;
    Fixture { fake_spark, runner: Arc::new(runner), other: Arc::new(other) }
}

contract!(fixture());

async fn two_stores() -> ((), [Store; 2]) {
    let url = database();
    let open = async || Store::postgres(&url).await.expect("the store opens");
    ((), [open().await, open().await])
}

crate::limits::limits!(two_stores());

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_an_older_dcp_stay_held() {
    let url = database();
    let open = async || Store::postgres(&url).await.expect("the store opens");
    crate::limits::keys::keys_of_an_older_dcp_stay_held(open().await, &url, open).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn domains_stay_within_their_limits_despite_pauses_and_kills() {
    let open = async || Store::postgres(&database()).await.expect("the store opens");
    crate::limits::simulation::simulate(10, open).await;
}

/// A Runner that is paused while it starts an execution delays those of its domain only.
#[tokio::test(flavor = "multi_thread")]
async fn a_paused_start_delays_no_other_domain() {
    let url = database();
    let store = Store::postgres(&url).await.expect("the store opens");
    crate::limits::a_paused_start_delays_no_other_domain(store, &url).await;
}

#[tokio::test]
async fn lists_have_the_visible_executions() {
    let store = Store::postgres(&database()).await.expect("the store opens");
    crate::visible::lists_have_the_visible_executions(store).await;
}

#[tokio::test]
async fn the_first_cluster_of_an_application_stays() {
    let url = database();
    let open = async || Store::postgres(&url).await.expect("the store opens");
    crate::bindings::the_first_binding_stays(open().await, open().await).await;
    crate::bindings::the_identity_is_created_once(open().await, open().await).await;
}

#[tokio::test]
async fn applications_with_a_cluster_or_a_live_execution_have_an_owner() {
    let store = Store::postgres(&database()).await.expect("the store opens");
    crate::bindings::applications_with_a_cluster_or_a_live_execution_have_an_owner(store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_runner_takes_over_from_a_killed_one() {
    crate::crash::takeover_after_kill(&database()).await;
}

/// Returns the URL of a proxy to a database, and a switch that opens or cuts it.
async fn cuttable_proxy(url: &str) -> (String, watch::Sender<bool>) {
    // postgres://dcp:password@<the socket's folder>/<database>
    let (user, rest) = url.rsplit_once('@').unwrap();
    let (folder, name) = rest.split_once('/').unwrap();
    let socket = Path::new(&folder.replace("%2F", "/")).join(".s.PGSQL.5432");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("{user}@{}/{name}", listener.local_addr().unwrap());
    let (open, is_open) = watch::channel(true);
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let (mut cut, socket) = (is_open.clone(), socket.clone());
            if !*is_open.borrow() {
                continue;
            }
            tokio::spawn(async move {
                let mut far = UnixStream::connect(socket).await.unwrap();
                tokio::select! {
                    _ = copy_bidirectional(&mut near, &mut far) => {}
                    _ = cut.wait_for(|open| !open) => {}
                }
            });
        }
    });
    (url, open)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn executions_continue_after_a_database_outage() {
    let fake_spark = FakeSpark::with_version("4.1.1", DRIVER_SCRIPT);
    let (url, open) = cuttable_proxy(&database()).await;
    let store = Store::postgres(&url).await.unwrap();
    let runner = start_runner(&fake_spark, store, Duration::from_secs(15)).await;
    let id = runner.submit(submit("before", "wait")).await.unwrap().record.id().clone();
    wait_for(&runner, &id, |record| record.execution.phase == Phase::Running).await;

    open.send_replace(false);
    let error = runner.submit(submit("meanwhile", "work")).await.unwrap_err();
    assert!(matches!(&error, Error::Unavailable(said) if said.contains("can't be reached")), "{error:?}");
    // The driver ends while its end can't be stored.
    std::fs::write(fake_spark.path("go-wait"), "").unwrap();
    dcp_tests::fake_spark::wait_until(|| runs_nothing(&fake_spark).then_some(()));

    open.send_replace(true);
    assert_eq!(wait_for_end(&runner, &id).await.execution.phase, Phase::Succeeded);
    let again = runner.submit(submit("meanwhile", "work")).await.unwrap();
    assert_eq!(wait_for_end(&runner, again.record.id()).await.execution.phase, Phase::Succeeded);
    assert_eq!(fake_spark.lines("started"), ["wait", "work"]);
}

/// A slow poll of all live executions does not delay the following polls.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn takeover_is_not_delayed_by_a_slow_poll() {
    let fake_spark = FakeSpark::with_version("4.1.1", DRIVER_SCRIPT);
    let url = database();
    let lease = Duration::from_secs(1);
    let one = start_runner(&fake_spark, Store::postgres(&url).await.unwrap(), lease).await;
    let other = start_runner(&fake_spark, Store::postgres(&url).await.unwrap(), lease).await;
    let id = one.submit(submit("one", "wait")).await.unwrap().record.id().clone();
    wait_for(&one, &id, |record| record.execution.phase == Phase::Running).await;

    // From here on, reads of executions wait, but heartbeats do not.
    sqlx::any::install_default_drivers();
    let pool = sqlx::AnyPool::connect(&url).await.unwrap();
    let mut blocking = pool.begin().await.unwrap();
    sqlx::query("LOCK TABLE runner_executions IN ACCESS EXCLUSIVE MODE")
        .execute(&mut *blocking)
        .await
        .unwrap();
    let waiting = "SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted \
        AND relation = 'runner_executions'::regclass";
    let deadline = std::time::Instant::now() + Duration::from_mins(1);
    while sqlx::query_scalar::<_, i64>(waiting).fetch_one(&pool).await.unwrap() < 2 {
        assert!(std::time::Instant::now() < deadline, "no Runner polls");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // The duration of the slow poll.
    tokio::time::sleep(Duration::from_secs(3)).await;
    blocking.rollback().await.unwrap();

    one.stop().await.unwrap();
    std::fs::write(fake_spark.path("go-wait"), "").unwrap();
    assert_eq!(wait_for_end(&other, &id).await.execution.phase, Phase::Succeeded);
}

/// Returns true if all applications of a machine have ended.
fn runs_nothing(fake_spark: &FakeSpark) -> bool {
    let folders = std::fs::read_dir(fake_spark.path("runs")).unwrap().flatten();
    let mut applications = folders.filter(|entry| entry.path().is_dir());
    applications.all(|entry| entry.path().join("end.json").exists())
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_executions_are_deleted() {
    let store = Store::postgres(&database()).await.unwrap();
    persistence::expired_executions_are_deleted(&store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn heartbeat_after_leaving_has_no_effect() {
    let store = Store::postgres(&database()).await.unwrap();
    persistence::heartbeat_after_leaving_has_no_effect(&store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_new_owner_writes_after_a_takeover() {
    let store = Store::postgres(&database()).await.unwrap();
    persistence::only_the_new_owner_writes_after_a_takeover(&store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_executions_have_a_live_owner_despite_pauses() {
    ownership::simulate(10, async || Store::postgres(&database()).await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn submits_during_takeovers_are_not_lost() {
    let url = database();
    let store = async || Store::postgres(&url).await.unwrap();
    ownership::submits_during_takeovers_are_not_lost(store().await, store().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn live_executions_of_absent_owners_are_adopted() {
    let url = database();
    ownership::live_executions_of_absent_owners_are_adopted(Store::postgres(&url).await.unwrap(), &url).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn runner_without_membership_writes_nothing() {
    ownership::runner_without_membership_writes_nothing(Store::postgres(&database()).await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn submits_of_a_runner_suspended_beyond_its_lease_are_not_lost() {
    crate::crash::suspended_beyond_lease(&database()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn listings_do_not_depend_on_the_collation_of_the_database() {
    for collation in Collation::all() {
        if matches!(&collation, Collation::Libc(locale) if !locale.contains('_')) {
            println!(
                "this machine has the locale {collation:?} only, of no language: apt-get install locales-all"
            );
        }
        let store = Store::postgres(&database_of(&collation)).await.unwrap();
        assert_eq!(ownership::listings(&store).await, ownership::expected_listings(), "{collation:?}");
    }
}

/// An older dcp created tables that compare text by the collation of the database.
#[tokio::test(flavor = "multi_thread")]
async fn tables_of_an_older_dcp_compare_by_bytes_once_they_are_opened() {
    let url = database();
    let store = Store::postgres(&url).await.unwrap();
    ownership::listings(&store).await;
    store.close().await;
    sqlx::any::install_default_drivers();
    let pool = sqlx::AnyPool::connect(&url).await.unwrap();
    let of_text = "SELECT attrelid::regclass::text, attname::text, collname::text FROM pg_attribute \
        JOIN pg_collation ON pg_collation.oid = attcollation \
        WHERE attrelid::regclass::text IN ('runner_jobs', 'runner_executions', 'runner_progress', \
        'runner_fences', 'runner_runners') AND attnum > 0 AND NOT attisdropped ORDER BY 1, 2";
    let columns =
        async || sqlx::query_as::<_, (String, String, String)>(of_text).fetch_all(&pool).await.unwrap();
    let all = columns().await;
    assert!(all.len() > 15 && all.iter().all(|(_, _, collation)| collation == "C"), "{all:?}");
    for (table, column, _) in &all {
        let older = format!("ALTER TABLE {table} ALTER COLUMN {column} TYPE TEXT COLLATE \"default\"");
        sqlx::query(sqlx::AssertSqlSafe(older)).execute(&pool).await.unwrap();
    }
    assert!(columns().await.iter().all(|(_, _, collation)| collation == "default"));
    let store = Store::postgres(&url).await.unwrap();
    assert_eq!(columns().await, all);
    assert_eq!(ownership::read_listings(&store).await, ownership::expected_listings());
}

#[tokio::test(flavor = "multi_thread")]
async fn lease_belongs_to_the_caller_who_used_it_first() {
    let fixture = fixture().await;
    ownership::lease_belongs_to_the_caller_who_used_it_first(&*fixture.runner).await;
}
