//! Batch jobs: SQL, Python programs and programs for the JVM.

use std::fmt::Write as _;

use super::rng::Rng;
use super::workload::{Output, Workload};
use super::{indented, line, sql};

pub(super) fn sql(workload: &Workload, rng: &mut Rng, out: &mut String) {
    let script = sql::script(workload, rng);
    out.push_str("  job:\n    sql:\n      query: |\n");
    indented(out, 8, &script.text);
    let scheduled = rng.chance(85);
    match (script.has_day, rng.chance(50)) {
        (false, _) => {}
        (true, true) => line!(out, "      parameters:\n        day: {{type: date, run: date}}"),
        (true, false) => {
            out.push_str("      parameters:\n        day:\n          type: date\n");
            line!(out, "          run: {}", if scheduled { "intervalStart" } else { "date" });
        }
    }
    if rng.chance(15) {
        out.push_str("  inputs:\n");
        script.inputs.iter().for_each(|table| line!(out, "    - table: {table}"));
        outputs(workload, out);
    }
    if scheduled {
        schedule(rng, out);
    } else if rng.chance(70) {
        // An asset trigger may name any table that another workload writes, even one that the job does not read.
        on_assets(workload, rng, out);
    } else {
        out.push_str("  run: {manual: {}}\n");
    }
}

pub(super) fn pyspark(workload: &Workload, rng: &mut Rng, out: &mut String) {
    let program = workload.name.replace('-', "_");
    line!(out, "  job:\n    pyspark:\n      main: jobs/{}/{program}.py", workload.domain);
    arguments(workload, rng, out);
    if rng.chance(40) {
        line!(out, "      pyFiles: [s3://code/{}/lib-{}.zip]", workload.domain, rng.between(1, 40));
    }
    parameters(rng, out);
    if rng.chance(20) {
        out.push_str("      environment:\n        packages:\n");
        let packages = ["pandas==2.3.3", "pyarrow==21.0.0", "requests==2.32.5", "scikit-learn==1.7.2"];
        let first = rng.below(packages.len());
        for at in 0..rng.between(1, 3) {
            line!(out, "          - {}", packages[(first + at) % packages.len()]);
        }
    }
    inputs(workload, rng, out);
    run(workload, rng, out);
}

pub(super) fn jar(workload: &Workload, rng: &mut Rng, out: &mut String) {
    let version = format!("{}.{}.{}", rng.between(1, 4), rng.between(0, 30), rng.between(0, 9));
    line!(out, "  job:\n    jar:\n      main: s3://code/{}/jobs-{version}.jar", workload.domain);
    let class: String = workload.entity.name.split('-').map(capitalised).collect();
    let package = workload.domain.replace('-', "_");
    line!(out, "      class: com.example.{package}.{class}Job{}", workload.index);
    arguments(workload, rng, out);
    parameters(rng, out);
    if rng.chance(50) {
        out.push_str("  dependencies:\n    packages:\n");
        line!(out, "      - com.typesafe:config:1.4.{}", rng.between(1, 5));
        if rng.chance(50) {
            line!(out, "      - org.postgresql:postgresql:42.7.{}", rng.between(1, 8));
        }
    }
    inputs(workload, rng, out);
    run(workload, rng, out);
}

fn capitalised(word: &str) -> String {
    let (first, rest) = word.split_at(1);
    first.to_uppercase() + rest
}

fn arguments(workload: &Workload, rng: &mut Rng, out: &mut String) {
    let (target, place) = match &workload.output {
        Output::Table(name) => ("--table", name),
        Output::Topic(name) => ("--topic", name),
        Output::Path(name) => ("--path", name),
    };
    if rng.chance(65) {
        line!(out, "      args: [--day, \"${{param.day}}\", {target}, {place}]");
    } else {
        out.push_str("      args:\n        - --day\n        - ${param.day}\n");
        line!(out, "        - {target}\n        - {place}");
        line!(out, "        - --shards\n        - {}", rng.between(2, 64));
    }
}

fn parameters(rng: &mut Rng, out: &mut String) {
    out.push_str("      parameters:\n");
    if rng.chance(85) {
        out.push_str("        day: {type: date, run: date}\n");
    } else {
        out.push_str("        day:\n          type: date\n          run: date\n");
        out.push_str("          description: The day that is computed, by default the run's own.\n");
    }
}

fn inputs(workload: &Workload, rng: &mut Rng, out: &mut String) {
    out.push_str("  inputs:\n");
    for _ in 0..rng.between(1, 2) {
        line!(out, "    - table: {}", workload.some_table(rng));
    }
    outputs(workload, out);
}

fn outputs(workload: &Workload, out: &mut String) {
    let (kind, name) = match &workload.output {
        Output::Table(name) => ("table", name),
        Output::Topic(name) => ("topic", name),
        Output::Path(name) => ("path", name),
    };
    line!(out, "  outputs:\n    - {kind}: {name}");
}

fn run(workload: &Workload, rng: &mut Rng, out: &mut String) {
    match rng.below(20) {
        0 => out.push_str("  run: {manual: {}}\n"),
        1..5 => on_assets(workload, rng, out),
        _ => schedule(rng, out),
    }
}

fn on_assets(workload: &Workload, rng: &mut Rng, out: &mut String) {
    let Some(table) = workload.earlier_table(rng) else { return schedule(rng, out) };
    let mode = rng.pick(&["all", "all", "any"]);
    match workload.earlier_table(rng).filter(|other| *other != table) {
        Some(other) if rng.chance(40) => {
            line!(
                out,
                "  run:\n    onAssets:\n      {mode}:\n        - table: {table}\n        - table: {other}"
            );
        }
        _ => line!(out, "  run:\n    onAssets:\n      {mode}: [{{table: {table}}}]"),
    }
}

pub(super) fn schedule(rng: &mut Rng, out: &mut String) {
    let (minute, hour) = (rng.below(60), rng.below(24));
    let cron = match rng.below(8) {
        0 => "@daily".to_owned(),
        1 => "@hourly".to_owned(),
        2 => format!("{minute} * * * *"),
        3 => format!("{minute} {hour} * * MON-FRI"),
        4 => format!("{minute} {hour} 1 * *"),
        _ => format!("{minute} {hour} * * *"),
    };
    if rng.chance(40) {
        return line!(out, "  run:\n    schedule: {{cron: \"{cron}\"}}");
    }
    line!(out, "  run:\n    schedule:\n      cron: \"{cron}\"");
    if rng.chance(40) {
        let zone = rng.pick(&["Europe/Berlin", "UTC", "America/New_York", "Asia/Singapore"]);
        line!(out, "      timezone: {zone}");
    }
    if rng.chance(40) {
        line!(out, "      startDate: \"2026-{:02}-01\"", rng.between(1, 12));
        if rng.chance(50) {
            out.push_str("      catchup: true\n");
        }
    }
    if rng.chance(30) {
        line!(out, "      deadline: {}", rng.pick(&["1h", "90m", "4h"]));
    }
}
