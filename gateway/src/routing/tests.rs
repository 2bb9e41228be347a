use proptest::prelude::*;
use proptest::sample::{Index, subsequence};

use super::*;

fn cluster(name: &str, weight: u32, load: u32) -> Cluster {
    Cluster {
        name: name.to_owned(),
        region: None,
        tags: BTreeMap::new(),
        weight,
        capacity: None,
        domains: None,
        health: Health::Healthy,
        load,
        rejection: None,
    }
}

fn unreachable(since: Timestamp) -> Health {
    Health::Unreachable { since, why: "no route".to_owned() }
}

fn decide(placement: &Placement, clusters: &[Cluster]) -> Decision {
    route(&Request { application: "a1-1", domain: "sales", placement }, clusters)
}

/// Returns the number of applications that each cluster gets. Each adds to the load if `counted`.
fn spread(clusters: &mut [Cluster], applications: u32, counted: bool) -> BTreeMap<String, u32> {
    let mut chosen = BTreeMap::new();
    for application in 0..applications {
        let (application, placement) = (application.to_string(), Placement::default());
        let request = Request { application: &application, domain: "sales", placement: &placement };
        let name = route(&request, clusters).chosen.expect("a cluster is suitable");
        if let Some(cluster) = clusters.iter_mut().find(|it| counted && it.name == name) {
            cluster.load += 1;
        }
        *chosen.entry(name).or_default() += 1;
    }
    chosen
}

#[test]
fn first_failing_filter_is_the_reason() {
    let since = Timestamp::UNIX_EPOCH;
    let placement = Placement {
        regions: vec!["eu".to_owned()],
        clusters: vec!["main".to_owned()],
        tags: BTreeMap::from([("data".to_owned(), "prod".to_owned())]),
    };
    let mut it = cluster("other", 0, 7);
    (it.domains, it.health, it.capacity) = (Some(BTreeSet::new()), unreachable(since), Some(7));
    let expect = |it: &Cluster, text: &str| {
        let decision = decide(&placement, std::slice::from_ref(it));
        assert_eq!(decision.reasons[&it.name].to_string(), text);
    };
    expect(&it, "is not in `placement.clusters.names`");
    it.name = "main".to_owned();
    expect(&it, "has no region, and `placement.regions` needs one");
    it.region = Some("us".to_owned());
    expect(&it, "is in the region us, which is not in `placement.regions`");
    it.region = Some("eu".to_owned());
    expect(&it, "lacks the tag `data: prod` of `placement.clusters.tags`");
    it.tags = placement.tags.clone();
    expect(&it, "does not allow the domain sales");
    it.domains = Some(BTreeSet::from(["sales".to_owned()]));
    expect(&it, "has been unreachable since 1970-01-01T00:00:00Z: no route");
    it.health = Health::Healthy;
    expect(&it, "is drained: its weight is 0");
    it.weight = 1;
    expect(&it, "is full: it runs 7 of 7 applications");
    it.capacity = Some(8);
    expect(&it, "was chosen");
}

#[test]
fn lowest_load_for_its_weight_is_chosen() {
    let clusters = [cluster("a", 1, 3), cluster("b", 4, 8), cluster("c", 1, 4)];
    let decision = decide(&Placement::default(), &clusters);
    assert_eq!(
        decision.to_string(),
        "`b` was chosen; `a` has more load for its weight: 3 applications, weight 1; `c` has more load for its \
         weight: 4 applications, weight 1"
    );
}

#[test]
fn preferred_region_is_left_only_if_it_is_full() {
    let placement = Placement { regions: vec!["eu".to_owned(), "us".to_owned()], ..Placement::default() };
    let mut clusters = [cluster("a", 1, 9), cluster("b", 1, 0)];
    clusters[0].region = Some("eu".to_owned());
    clusters[1].region = Some("us".to_owned());
    let decision = decide(&placement, &clusters);
    assert_eq!(decision.chosen.as_deref(), Some("a"));
    assert_eq!(
        decision.reasons["b"].to_string(),
        "is in the region us, and `placement.regions` prefers another one"
    );
    clusters[0].capacity = Some(9);
    assert_eq!(decide(&placement, &clusters).chosen.as_deref(), Some("b"));
}

#[test]
fn no_cluster_is_chosen_if_none_is_suitable() {
    let decision = decide(&Placement::default(), &[cluster("a", 0, 0)]);
    assert_eq!(
        (decision.chosen.as_deref(), decision.to_string().as_str()),
        (None, "`a` is drained: its weight is 0")
    );
    let decision = decide(&Placement::default(), &[]);
    assert_eq!((decision.chosen.as_deref(), decision.to_string().as_str()), (None, "there are no clusters"));
}

#[test]
fn equal_clusters_are_chosen_by_name_of_the_application() {
    let decision = decide(&Placement::default(), &[cluster("a", 1, 0), cluster("b", 1, 0)]);
    let chosen = decision.chosen.clone().expect("both are suitable");
    let other = if chosen == "a" { "b" } else { "a" };
    assert_eq!(decision.reasons[other].to_string(), format!("is equal to {chosen}, and the names decided"));
    let mut clusters = [cluster("a", 1, 0), cluster("b", 1, 0)];
    assert_eq!(spread(&mut clusters, 100, false).len(), 2);
}

prop_compose! {
    fn any_load()(load in prop_oneof![0..20_u32, Just(u32::MAX), any::<u32>()]) -> u32 {
        load
    }
}

prop_compose! {
    fn any_cluster()(
        region in prop::option::of(prop::sample::select(vec!["eu", "us", "asia"])),
        prod in any::<bool>(),
        weight in any_load(),
        capacity in prop::option::of(any_load()),
        domains in prop::option::of(subsequence(vec!["sales", "hr"], 0..=2)),
        health in prop_oneof![
            4 => Just(Health::Healthy),
            1 => Just(unreachable(Timestamp::UNIX_EPOCH)),
        ],
        load in any_load(),
    ) -> Cluster {
        let tags = prod.then(|| ("data".to_owned(), "prod".to_owned())).into_iter().collect();
        let domains = domains.map(|names| names.into_iter().map(str::to_owned).collect());
        let region = region.map(str::to_owned);
        Cluster { name: String::new(), region, tags, weight, capacity, domains, health, load, rejection: None }
    }
}

fn any_clusters() -> impl Strategy<Value = Vec<Cluster>> {
    prop::collection::vec(any_cluster(), 0..8).prop_map(|mut clusters| {
        for (index, cluster) in clusters.iter_mut().enumerate() {
            cluster.name = format!("c{index}");
        }
        clusters
    })
}

prop_compose! {
    fn any_placement()(
        regions in subsequence(vec!["eu", "us"], 0..=2).prop_shuffle(),
        clusters in prop_oneof![2 => Just(vec![]), 1 => subsequence(vec!["c0", "c1", "c2", "c3"], 0..=4)],
        prod in prop::bool::weighted(0.2),
    ) -> Placement {
        let owned = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect::<Vec<_>>();
        let tags = prod.then(|| ("data".to_owned(), "prod".to_owned())).into_iter().collect();
        Placement { regions: owned(regions), clusters: owned(clusters), tags }
    }
}

/// Returns true if a cluster satisfies all restrictions. It repeats the rules in another form than the code.
fn is_suitable(placement: &Placement, cluster: &Cluster) -> bool {
    let named = placement.clusters.is_empty() || placement.clusters.contains(&cluster.name);
    let regions = &placement.regions;
    let near = regions.is_empty() || cluster.region.as_ref().is_some_and(|region| regions.contains(region));
    let tagged = placement.tags.iter().all(|tag| cluster.tags.iter().any(|it| it == tag));
    let allowed = cluster.domains.as_ref().is_none_or(|domains| domains.contains("sales"));
    let healthy = cluster.health == Health::Healthy && cluster.weight > 0;
    let free = cluster.capacity.is_none_or(|capacity| cluster.load < capacity);
    named && near && tagged && allowed && healthy && free
}

proptest! {
    #[test]
    fn order_of_clusters_has_no_effect(
        placement in any_placement(),
        (clusters, shuffled) in any_clusters().prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle())),
    ) {
        prop_assert_eq!(decide(&placement, &clusters), decide(&placement, &shuffled));
    }

    #[test]
    fn suitable_clusters_are_those_that_no_reason_excludes(placement in any_placement(), clusters in any_clusters()) {
        let Decision { chosen, reasons } = decide(&placement, &clusters);
        prop_assert_eq!(reasons.len(), clusters.len(), "each cluster has a reason");
        for cluster in &clusters {
            let reason = &reasons[&cluster.name];
            let lost = matches!(reason, Reason::LessPreferredRegion { .. } | Reason::MoreLoad { .. } | Reason::Tie { .. });
            let is_excluded = !lost && *reason != Reason::Chosen;
            prop_assert_eq!(is_excluded, !is_suitable(&placement, cluster), "{}: {}", cluster.name, reason);
            prop_assert_eq!(*reason == Reason::Chosen, chosen.as_ref() == Some(&cluster.name));
        }
        prop_assert_eq!(chosen.is_some(), clusters.iter().any(|it| is_suitable(&placement, it)));
    }

    #[test]
    fn removed_cluster_that_was_not_chosen_changes_no_choice(
        placement in any_placement(),
        clusters in any_clusters(),
        removed in any::<Index>(),
    ) {
        prop_assume!(!clusters.is_empty());
        let chosen = decide(&placement, &clusters).chosen;
        let removed = removed.index(clusters.len());
        prop_assume!(chosen.as_ref() != Some(&clusters[removed].name));
        let mut rest = clusters;
        rest.remove(removed);
        prop_assert_eq!(decide(&placement, &rest).chosen, chosen);
    }

    #[test]
    fn counted_loads_follow_the_weights(weights in prop::collection::vec(1..20_u32, 1..5)) {
        let total: u32 = weights.iter().sum();
        let named = weights.iter().enumerate().map(|(index, weight)| cluster(&format!("c{index}"), *weight, 0));
        let mut clusters: Vec<Cluster> = named.collect();
        spread(&mut clusters, 10 * total, true);
        for cluster in &clusters {
            prop_assert_eq!(cluster.load, 10 * cluster.weight, "{:?}", clusters);
        }
    }
}

#[test]
fn idle_clusters_are_chosen_by_their_weights() {
    const APPLICATIONS: u32 = 6000;
    let mut clusters = [cluster("a", 1, 0), cluster("b", 2, 0), cluster("c", 3, 0)];
    let chosen = spread(&mut clusters, APPLICATIONS, false);
    for cluster in &clusters {
        let (found, expected) = (chosen[&cluster.name], APPLICATIONS * cluster.weight / 6);
        assert!(found.abs_diff(expected) < 150, "{chosen:?}");
    }
}

#[test]
fn a_cluster_that_rejects_the_application_is_not_chosen() {
    let mut strict = cluster("strict", 1000, 0);
    strict.rejection = Some("`pods.driver.serviceAccount`: not allowed".to_owned());
    let decision = decide(&Placement::default(), &[strict, cluster("other", 1, 50)]);
    assert_eq!(decision.chosen.as_deref(), Some("other"));
    assert!(
        decision.to_string().contains("`strict` does not accept it: `pods.driver.serviceAccount`"),
        "{decision}"
    );
}
