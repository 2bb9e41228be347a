//! The clusters of applications in a store, and their owners.

use std::collections::HashSet;

use dcp_gateway::Name;
use dcp_gateway::clusters::{Binding, Bindings as _};
use dcp_runner::store::Store;

use crate::persistence::store_execution;

/// The first binding of an application stays, also for other processes, until it is removed.
pub(crate) async fn the_first_binding_stays(store: Store, other: Store) {
    let name = |text: &str| text.parse::<Name>().expect("the name is valid");
    let (first, stopped) = (name("a-1"), name("a-2"));
    let cluster = |name: &str| Binding::Cluster(name.to_owned());
    assert_eq!(store.binding(&first).await, Ok(None));
    let bound =
        futures_util::join!(store.bind(&first, cluster("north")), other.bind(&first, cluster("south")));
    assert_eq!(bound.0, bound.1, "both have the same cluster");
    assert_eq!(store.bind(&first, Binding::Stopped).await, bound.0);
    assert_eq!(store.bind(&stopped, Binding::Stopped).await, Ok(Binding::Stopped));
    assert_eq!(other.bind(&stopped, cluster("north")).await, Ok(Binding::Stopped));
    assert_eq!(other.binding(&stopped).await, Ok(Some(Binding::Stopped)));
    store.unbind(&first).await.expect("the database responds");
    store.unbind(&first).await.expect("a second call is safe");
    assert_eq!(other.binding(&first).await, Ok(None));
}

/// The identity of a store is created once, also by two processes at once.
pub(crate) async fn the_identity_is_created_once(store: Store, other: Store) {
    let (first, second) = futures_util::join!(store.identity(), other.identity());
    let identity = first.expect("the database responds");
    assert_eq!(second, Ok(identity.clone()));
    assert_eq!(store.identity().await, Ok(identity.clone()));
    assert!(identity.len() == 32 && identity.bytes().all(|byte| byte.is_ascii_hexdigit()), "{identity}");
}

/// An application has an owner while it has a cluster, or while its execution has not ended.
pub(crate) async fn applications_with_a_cluster_or_a_live_execution_have_an_owner(store: Store) {
    store.register("nobody").await.expect("the database responds");
    let job = crate::job();
    let live = store_execution(&store, &job, (1, None, None)).await;
    let ended = store_execution(&store, &job, (2, Some(3), None)).await;
    let name = |text: String| text.parse::<Name>().expect("the name is valid");
    let (of_live, of_ended) = (name(format!("dcp-{live}-1")), name(format!("dcp-{ended}-1")));
    let (bound, stopped) = (name("a-bound".to_owned()), name("a-stopped".to_owned()));
    store.bind(&bound, Binding::Cluster("main".to_owned())).await.expect("the database responds");
    store.bind(&stopped, Binding::Stopped).await.expect("the database responds");
    // More names than one statement has.
    let others = (0..1200).map(|number| name(format!("b-{number}")));
    let named = [&of_live, &of_ended, &bound, &stopped].map(Clone::clone);
    let all: Vec<Name> = others.chain(named).collect();
    assert_eq!(store.with_owner(&all).await, Ok(HashSet::from([of_live, bound])));
    assert_eq!(store.with_owner(&[]).await, Ok(HashSet::new()));
}
