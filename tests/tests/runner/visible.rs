//! Lists of the executions that a caller may read.

use std::collections::BTreeSet;

use dcp_runner::api::{Filter, Record};
use dcp_runner::store::Store;
use dcp_server::policy::{Area, Names, Resource, Visible};

use crate::persistence::new_execution;

const SCOPES: [Option<&str>; 6] =
    [None, Some("shop"), Some("shop/dev"), Some("shop/prod"), Some("shop2/dev"), Some("web")];
const DOMAINS: [&str; 3] = ["sales", "sale", "finance"];

fn only(names: &[&str]) -> Names {
    Names::Only(names.iter().map(|name| (*name).to_owned()).collect())
}

/// Returns areas of all kinds.
fn areas() -> Vec<Area> {
    let scopes = [
        Names::All,
        Names::none(),
        only(&["shop"]),
        only(&["shop/*"]),
        only(&["shop/dev", "web"]),
        only(&["web/*", "shop2/dev"]),
    ];
    let domains = [Names::All, Names::none(), only(&["sales"]), only(&["sale", "finance"])];
    let of_scopes = |scopes: &Names| domains.clone().map(|domains| Area { scopes: scopes.clone(), domains });
    scopes.iter().flat_map(of_scopes).collect()
}

/// A list has the executions that the rules of the policy make visible, for every pair of areas.
pub(crate) async fn lists_have_the_visible_executions(store: Store) {
    store.register("nobody").await.expect("the database responds");
    let job = crate::job();
    let places = SCOPES.iter().flat_map(|scope| DOMAINS.map(|domain| (*scope, domain)));
    for (number, (scope, domain)) in (1..).zip(places) {
        let mut new = new_execution(&job, (number, None, None));
        (new.record.request.scope, new.record.request.domain) = (scope.map(str::to_owned), domain.to_owned());
        store.submit(new).await.expect("it is stored");
    }
    let all = store.list(&Filter::default(), None, 100).await.expect("the database responds");
    assert_eq!(all.len(), SCOPES.len() * DOMAINS.len());
    let place = |record: &Record| (record.request.scope.clone(), record.request.domain.clone());
    let areas = areas();
    let none = std::iter::once(Vec::new());
    let pairs = areas.iter().flat_map(|one| areas.iter().map(|other| vec![one.clone(), other.clone()]));
    for areas in none.chain(pairs) {
        let visible = Visible::Only(areas);
        let is_visible = |record: &&Record| {
            visible.includes(Resource::of(record.request.scope.as_deref(), &record.request.domain))
        };
        let expected: BTreeSet<_> = all.iter().filter(is_visible).map(place).collect();
        let filter = Filter { visible: visible.clone(), ..Filter::default() };
        let listed = store.list(&filter, None, 100).await.expect("the database responds");
        assert_eq!(listed.iter().map(place).collect::<BTreeSet<_>>(), expected, "{visible:?}");
    }
}
