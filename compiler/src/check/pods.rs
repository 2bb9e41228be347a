//! Checks of volumes that Kubernetes or Spark would reject.

use dcp_model::manifest::Volume;
use serde_json::Value;

use super::Subject;
use crate::diag::Code;

/// The claim name in Spark's settings for which Spark creates a claim.
const ON_DEMAND: &str = "OnDemand";

pub(super) fn check(subject: &mut Subject<'_>) {
    let pods = &subject.manifest.spec.pods;
    for (role, pod) in [("driver", &pods.driver), ("executors", &pods.executors)] {
        for (index, one) in pod.iter().flat_map(|pod| &pod.volumes).enumerate() {
            volume(subject, role, index, one);
        }
    }
}

fn volume(subject: &mut Subject<'_>, role: &str, index: usize, volume: &Volume) {
    let index = index.to_string();
    let path = |below: &[&'static str]| {
        let above = ["spec", "pods", role, "volumes", &index];
        above.into_iter().chain(below.iter().copied()).map(str::to_owned).collect::<Vec<String>>()
    };
    let at = |subject: &Subject<'_>, below: &[&'static str]| {
        let path = path(below);
        subject.at(&path.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let claim = volume.source.get("persistentVolumeClaim").and_then(|claim| claim.get("claimName"));
    if claim.and_then(Value::as_str).is_some_and(|name| name.contains(ON_DEMAND)) {
        let at = at(subject, &["source", "persistentVolumeClaim", "claimName"]);
        let help = "write `onDemandClaim: {storageClass: …, sizeLimit: …}` instead of `source`";
        let message = "Kubernetes has no claim on demand: Spark makes it";
        subject.problem(Code::BAD_KUBERNETES_NAME, message, at, "no name of a claim", help);
    }
    let Some(claim) = &volume.on_demand_claim else { return };
    if volume.read_only {
        let at = at(subject, &["readOnly"]);
        let message = "a volume that is made for a pod is empty, and can't be read-only";
        subject.problem(Code::NOT_ALLOWED, message, at, "nothing could write to it", "leave out `readOnly`");
    }
    if volume.name.as_str().contains('.') {
        let at = at(subject, &["name"]);
        let message = format!("`{}` is no name of a volume", volume.name);
        let help = "use lower-case letters, digits and `-`";
        subject.problem(Code::BAD_KUBERNETES_NAME, message, at, "has a dot", help);
    }
    if claim.size_limit.mib() == 0 {
        let at = at(subject, &["onDemandClaim", "sizeLimit"]);
        let message = format!("a volume of {} is too small", claim.size_limit);
        subject.problem(Code::OUT_OF_RANGE, message, at, "less than 1m", "give `1m` or more, such as `100g`");
    }
}
