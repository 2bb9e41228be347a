//! Checks of resource bounds and of the sizing policy.

use dcp_model::manifest::{Cpu, Memory, Run, Sizing, Trigger, default_overhead};

use super::Subject;
use crate::diag::Code;

/// Spark's minimum heap size.
const MIN_HEAP_MIB: u64 = 450;

pub(super) fn check(subject: &mut Subject<'_>) {
    let resources = &subject.manifest.spec.resources;
    let driver = &resources.driver;
    let executors = &resources.executors;
    heap(subject, "driver", driver.memory, driver.min_memory, driver.max_memory);
    heap(subject, "executors", executors.memory, executors.min_memory, executors.max_memory);
    limit(
        subject,
        "driver",
        driver.memory_limit,
        driver.max_memory.unwrap_or(driver.memory),
        driver.memory_overhead,
    );
    let heap = executors.max_memory.unwrap_or(executors.memory);
    limit(subject, "executors", executors.memory_limit, heap, executors.memory_overhead);
    cpu(subject, "driver", driver.cpu_request, driver.cpu_limit);
    cpu(subject, "executors", executors.cpu_request, executors.cpu_limit);
    instances(subject);
    sizing(subject);
}

fn heap(subject: &mut Subject<'_>, role: &str, memory: Memory, min: Option<Memory>, max: Option<Memory>) {
    let path = |field| ["spec", "resources", role, field];
    let default = if subject.has(&path("memory")) { "" } else { ", its default" };
    let help = match default {
        "" => "`memory` is where a run begins: put it between the bounds",
        _ => "`memory` is where a run begins: add it, between the bounds",
    };
    let smallest = min.unwrap_or(memory).min(memory);
    if smallest.mib() < MIN_HEAP_MIB {
        let field = if smallest == memory { "memory" } else { "minMemory" };
        let at = subject.at(&path(field));
        let message = format!("a heap of {smallest} is too small for Spark");
        subject.problem(
            Code::OUT_OF_RANGE,
            message,
            at,
            format!("at least {MIN_HEAP_MIB}m"),
            "Spark keeps 300m for itself and refuses to start below 450m",
        );
    }
    if let Some(min) = min.filter(|min| *min > memory) {
        let at = subject.at(&path("minMemory"));
        subject.problem(
            Code::BAD_BOUNDS,
            format!("`minMemory` is {min}, and `memory` is {memory}{default}"),
            at,
            "more than `memory`",
            help,
        );
    }
    if let Some(max) = max.filter(|max| *max < memory) {
        let at = subject.at(&path("maxMemory"));
        subject.problem(
            Code::BAD_BOUNDS,
            format!("`maxMemory` is {max}, and `memory` is {memory}{default}"),
            at,
            "less than `memory`",
            help,
        );
    }
}

/// Checks the memory limit of a container. It must hold the largest heap that sizing may choose, because Kubernetes
/// rejects requests above the limit.
fn limit(
    subject: &mut Subject<'_>,
    role: &str,
    limit: Option<Memory>,
    largest: Memory,
    overhead: Option<Memory>,
) {
    let Some(limit) = limit else { return };
    let beside =
        overhead.map_or_else(|| default_overhead(largest.mib(), &subject.manifest.spec.job), Memory::mib);
    let least = largest.mib().saturating_add(beside);
    if limit.mib() >= least {
        return;
    }
    let path = |field| ["spec", "resources", role, field];
    let at = subject.at(&path("memoryLimit"));
    let field = if subject.has(&path("maxMemory")) { "maxMemory" } else { "memory" };
    let message = match overhead {
        Some(overhead) => {
            format!("`memoryLimit` is {limit}, `{field}` {largest}, and `memoryOverhead` {overhead}")
        }
        None => format!("`memoryLimit` is {limit}, `{field}` {largest}, and Spark adds {beside}m"),
    };
    let help = format!("raise `memoryLimit` to {least}m or more, or lower `{field}`");
    subject.problem(Code::BAD_BOUNDS, message, at, "less than what the container asks for", help);
}

fn cpu(subject: &mut Subject<'_>, role: &str, request: Option<Cpu>, limit: Option<Cpu>) {
    if let (Some(request), Some(limit)) = (request, limit)
        && request > limit
    {
        let at = subject.at(&["spec", "resources", role, "cpuLimit"]);
        subject.problem(
            Code::BAD_BOUNDS,
            format!("`cpuLimit` is {limit}, and `cpuRequest` is {request}"),
            at,
            "less than what is asked for",
            "Kubernetes refuses a limit below the request",
        );
    }
}

fn instances(subject: &mut Subject<'_>) {
    let executors = &subject.manifest.spec.resources.executors;
    let path = |field| ["spec", "resources", "executors", field];
    let (min, max) = (executors.min.unwrap_or(0), executors.max);
    if let Some(max) = max.filter(|max| *max < min) {
        let at = subject.at(&path("max"));
        subject.problem(
            Code::BAD_BOUNDS,
            format!("`max` is {max}, and `min` is {min}"),
            at,
            "less than `min`",
            "swap them, or raise `max`",
        );
    }
    fixed_with_bounds(subject);
    if executors.min.is_some() != max.is_some() {
        let (there, missing) = if max.is_some() { ("max", "min") } else { ("min", "max") };
        let at = subject.key(&path(there));
        subject.problem(
            Code::BAD_BOUNDS,
            format!("`{there}` without `{missing}`"),
            at,
            "",
            format!("add `{missing}`: both bounds are needed"),
        );
    }
    if let Some(initial) = executors.initial
        && max.is_none_or(|max| !(min..=max).contains(&initial))
    {
        let at = subject.at(&path("initial"));
        let label = if max.is_none() { "there are no bounds" } else { "not between `min` and `max`" };
        subject.problem(
            Code::BAD_BOUNDS,
            format!("`initial` is {initial}"),
            at,
            label,
            "`initial` is where scaling begins: put it between `min` and `max`",
        );
    }
}

fn fixed_with_bounds(subject: &mut Subject<'_>) {
    let executors = &subject.manifest.spec.resources.executors;
    let path = |field| ["spec", "resources", "executors", field];
    if executors.instances.is_some() && (executors.min.is_some() || executors.max.is_some()) {
        let bound = if executors.min.is_some() { "min" } else { "max" };
        let (at, other) = (subject.key(&path("instances")), subject.key(&path(bound)));
        let diagnostic = crate::diag::Diagnostic::new(
            Code::BAD_BOUNDS,
            "the number of executors is fixed, and has bounds",
        )
        .at(at, "fixed here")
        .at(other, "and bounded here")
        .help("keep `instances`, or `min` and `max`");
        subject.report(diagnostic);
    }
}

fn sizing(subject: &mut Subject<'_>) {
    let spec = &subject.manifest.spec;
    let bounded = spec.resources.executors.max.is_some();
    let at = subject.at(&["spec", "resources", "sizing"]);
    match spec.resources.sizing {
        Some(Sizing::Fixed) if bounded => {
            subject.problem(
                Code::BAD_SIZING,
                "`fixed` sizing leaves no room for `min` and `max`",
                at,
                "",
                "give `instances` instead, or choose `dynamic` or `auto`",
            );
        }
        Some(Sizing::Dynamic | Sizing::Auto) if !bounded => {
            subject.problem(
                Code::BAD_SIZING,
                "this sizing needs bounds",
                at,
                "between which numbers of executors?",
                "add `min` and `max` to `resources.executors`",
            );
        }
        _ => {}
    }
    let message = match spec.run {
        Run::Service(_) => Some("`auto` sizing learns from runs that end, and a service does not end"),
        Run::Pool(_) => Some("`auto` sizing learns from earlier runs, and sessions of a pool differ"),
        Run::Schedule(_) | Run::OnAssets(_) | Run::Manual(_) | Run::Continuous(_) => None,
    };
    if let (Some(message), Some(Sizing::Auto)) = (message, spec.resources.sizing) {
        let help = "choose `dynamic` or `fixed`";
        subject.problem(Code::BAD_SIZING, message, at, "nothing to learn from", help);
    }
    scaling(subject, bounded);
}

fn scaling(subject: &mut Subject<'_>, bounded: bool) {
    if let Run::Continuous(continuous) = &subject.manifest.spec.run
        && continuous.scaling.is_some()
    {
        let at = subject.key(&["spec", "run", "continuous", "scaling"]);
        if !bounded {
            subject.problem(
                Code::BAD_SIZING,
                "scaling needs bounds",
                at,
                "between which numbers of executors?",
                "add `min` and `max` to `resources.executors`",
            );
        }
        if !matches!(continuous.trigger, Trigger::Every(_)) {
            subject.problem(
                Code::BAD_SIZING,
                "scaling needs a time between two batches",
                at,
                "a batch is to take a share of which time?",
                "add `trigger: {every: …}` to `run.continuous`",
            );
        }
    }
}
