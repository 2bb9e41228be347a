//! Completed assets and lineage.

use serde_json::Value;

use crate::harness::Sandbox;

fn applied() -> Sandbox {
    let sandbox = Sandbox::quickstart();
    sandbox.run(&["apply", "--auto-approve", "--quiet"]).exits_with(0);
    sandbox
}

#[test]
fn assets_lists_writers_and_readers() {
    let sandbox = applied();
    insta::assert_snapshot!(sandbox.run(&["assets"]).exits_with(0).stdout);
    let all = sandbox.run(&["assets", "--output", "json"]).exits_with(0).json();
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
fn manual_completion_is_stored_once_per_run() {
    let sandbox = applied();
    let args = ["assets", "complete", "table:Lake.Mart.Orders", "topic:clicks", "--run", "load-1"];
    for _ in 0..2 {
        let output = sandbox.run(&args).exits_with(0).stdout;
        assert_eq!(
            output,
            "table:lake.mart.orders is complete, by run load-1: 1 workload waits for it\n\
             topic:clicks is complete, by run load-1: nothing waits for it\n"
        );
    }
    let day = ["assets", "complete", "table:lake.mart.orders", "--partition", "day=2026-11-20"];
    sandbox.run(&[&day[..], &["--run", "load-2"]].concat()).exits_with(0);
    let one = sandbox.run(&["assets", "table:lake.mart.orders", "-o", "json"]).exits_with(0).json();
    let completions = one["completions"].as_array().expect("the value is a list");
    let shown = |it: &Value| {
        let of = |key: &str| it[key].as_str().map(str::to_owned).unwrap_or_default();
        format!("{} {} {} {}", it["number"], of("partition"), of("run"), of("origin"))
    };
    let shown: Vec<String> = completions.iter().map(shown).collect();
    assert_eq!(shown, ["3 day=2026-11-20 load-2 dcp", "1  load-1 dcp"]);
    assert_eq!((one["times"].as_u64(), &one["last"]), (Some(2), &completions[0]));
    // Each call without `--run` is a separate run.
    sandbox.run(&day).exits_with(0);
    sandbox.run(&day).exits_with(0);
    sandbox.run(&["assets", "mart.orders"]).exits_with(0).prints("run by-hand-").prints("day=2026-11-20");
    sandbox.run(&["assets", "mart.orders", "--limit", "1"]).exits_with(0).prints("and 3 times before");
}

#[test]
fn asset_has_upstream_and_downstream_lineage() {
    let sandbox = applied();
    let output = sandbox.run(&["assets", "orders_daily"]).exits_with(1);
    output.prints("nothing that is applied");
    insta::assert_snapshot!("upstream", sandbox.run(&["assets", "segments"]).exits_with(0).stdout);
    insta::assert_snapshot!("downstream", sandbox.run(&["assets", "topic:clicks"]).exits_with(0).stdout);
}

#[test]
fn unknown_asset_is_reported_with_suggestions() {
    let sandbox = applied();
    let misspelt = sandbox.run(&["assets", "table:lake.mart.order"]).exits_with(1);
    misspelt
        .prints("nothing that is applied to `quickstart/dev` reads or writes")
        .prints("did you mean `table:lake.mart.orders`?");
    sandbox.run(&["assets", "x"]).exits_with(1).prints("`dcp assets` lists all");
    sandbox.run(&["assets", "orders"]).exits_with(1).prints("several end so: ");
    let without_kind = sandbox.run(&["assets", "complete", "orders"]).exits_with(1);
    without_kind.prints("`orders` is no asset: give `table:NAME`");
    let with_space = sandbox.run(&["assets", "complete", "table:elsewhere", "--run", "a b"]).exits_with(1);
    with_space.prints("1 to 128 visible ASCII characters");
    let warned = sandbox.run(&["assets", "complete", "table:elsewhere"]).exits_with(0);
    warned.prints("warning: nothing that is applied to `quickstart/dev` reads or writes `table:elsewhere`");
    Sandbox::project().run(&["assets"]).exits_with(0).prints("there are no assets");
}
