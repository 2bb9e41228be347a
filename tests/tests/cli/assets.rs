//! Completed assets and lineage.

use serde_json::Value;

use crate::harness::Sandbox;

fn applied() -> Sandbox {
    let sandbox = Sandbox::quickstart();
    sandbox.run(&["apply", "--auto-approve", "--quiet"]).ends_with(0);
    sandbox
}

#[test]
fn all_assets_are_told_with_who_writes_and_reads_them() {
    let sandbox = applied();
    insta::assert_snapshot!(sandbox.run(&["assets"]).ends_with(0).stdout);
    let all = sandbox.run(&["assets", "--output", "json"]).ends_with(0).json();
    assert_eq!(
        all[1],
        serde_json::json!({
            "asset": "table:lake.mart.orders",
            "writers": ["logistics/orders-daily"],
            "readers": [],
            "waiters": ["marketing/customer-segments"],
            "times": 0,
            "last": null,
        })
    );
}

#[test]
fn what_is_told_by_hand_is_complete_once() {
    let sandbox = applied();
    let args = ["assets", "complete", "table:Lake.Mart.Orders", "topic:clicks", "--run", "load-1"];
    for _ in 0..2 {
        let told = sandbox.run(&args).ends_with(0).stdout;
        assert_eq!(
            told,
            "table:lake.mart.orders is complete, by run load-1: 1 workload waits for it\n\
             topic:clicks is complete, by run load-1: nothing waits for it\n"
        );
    }
    let day = ["assets", "complete", "table:lake.mart.orders", "--partition", "day=2026-11-20"];
    sandbox.run(&[&day[..], &["--run", "load-2"]].concat()).ends_with(0);
    let one = sandbox.run(&["assets", "table:lake.mart.orders", "-o", "json"]).ends_with(0).json();
    let completions = one["completions"].as_array().expect("a list");
    let shown = |it: &Value| {
        let of = |key: &str| it[key].as_str().map(str::to_owned).unwrap_or_default();
        format!("{} {} {} {}", it["number"], of("partition"), of("run"), of("origin"))
    };
    let shown: Vec<String> = completions.iter().map(shown).collect();
    assert_eq!(shown, ["3 day=2026-11-20 load-2 dcp", "1  load-1 dcp"]);
    assert_eq!((one["times"].as_u64(), &one["last"]), (Some(2), &completions[0]));
    // Each call without `--run` is a separate run.
    sandbox.run(&day).ends_with(0);
    sandbox.run(&day).ends_with(0);
    sandbox.run(&["assets", "mart.orders"]).ends_with(0).says("run by-hand-").says("day=2026-11-20");
    sandbox.run(&["assets", "mart.orders", "--limit", "1"]).ends_with(0).says("and 3 times before");
}

#[test]
fn lineage_goes_both_ways() {
    let sandbox = applied();
    let told = sandbox.run(&["assets", "orders_daily"]).ends_with(1);
    told.says("nothing that is applied");
    insta::assert_snapshot!("upstream", sandbox.run(&["assets", "segments"]).ends_with(0).stdout);
    insta::assert_snapshot!("downstream", sandbox.run(&["assets", "topic:clicks"]).ends_with(0).stdout);
}

#[test]
fn what_is_not_there_is_told_with_what_is_near() {
    let sandbox = applied();
    let near = sandbox.run(&["assets", "table:lake.mart.order"]).ends_with(1);
    near.says("nothing that is applied to `quickstart/dev` reads or writes")
        .says("did you mean `table:lake.mart.orders`?");
    sandbox.run(&["assets", "x"]).ends_with(1).says("`dcp assets` lists all");
    sandbox.run(&["assets", "orders"]).ends_with(1).says("several end so: ");
    let unkind = sandbox.run(&["assets", "complete", "orders"]).ends_with(1);
    unkind.says("`orders` is no asset: give `table:NAME`");
    let spaced = sandbox.run(&["assets", "complete", "table:elsewhere", "--run", "a b"]).ends_with(1);
    spaced.says("1 to 128 visible ASCII characters");
    let warned = sandbox.run(&["assets", "complete", "table:elsewhere"]).ends_with(0);
    warned.says("warning: nothing that is applied to `quickstart/dev` reads or writes `table:elsewhere`");
    Sandbox::project().run(&["assets"]).ends_with(0).says("there are no assets");
}
