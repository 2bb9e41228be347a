//! Reports references to parameters in fields in which they are not replaced.

use dcp_model::manifest::JobKind;
use dcp_model::reference::{self, Reference};

use super::Subject;
use crate::diag::Code;
use crate::source::Span;
use crate::yaml::NodeRef;

pub(super) fn check(subject: &mut Subject<'_>) {
    let kind = subject.manifest.spec.job.kind();
    let mut found = Vec::new();
    if let Some(spec) = subject.root.find(["spec"]) {
        collect(spec, "", &mut found);
    }
    for (at, field, name) in found {
        let help = match (kind, field) {
            (JobKind::Sql, "query") => format!("write `:{name}`: Spark binds the parameters of SQL"),
            (JobKind::Sql, _) => {
                "parameters of SQL are for its text, as `:name`; what differs between targets is a `${var.…}`"
                    .to_owned()
            }
            (JobKind::Stream, _) => {
                "a stream has no parameters; what differs between targets is a `${var.…}`".to_owned()
            }
            (JobKind::Pyspark | JobKind::Jar, _) => {
                "pass it to the program in `args`; what differs between targets is a `${var.…}`".to_owned()
            }
        };
        let message = format!("nothing replaces `${{param.{name}}}` here");
        subject.problem(Code::BAD_REFERENCE, message, at, "no value of a run gets here", help);
    }
}

/// Collects the parameters that are referenced below a node, with the field that contains each. Malformed references
/// are reported by the replacement of variables.
fn collect<'t>(node: NodeRef<'t>, field: &'t str, found: &mut Vec<(Span, &'t str, &'t str)>) {
    if let Some(text) = node.as_str() {
        // Searching one byte first is much cheaper, and sufficient for nearly all texts.
        if !text.as_bytes().contains(&b'$') {
            return;
        }
        for reference in reference::references(text).unwrap_or_default() {
            if let Reference::Param(name) = reference {
                found.push((node.span(), field, name));
            }
        }
    }
    for member in node.members() {
        if !matches!(member.key, "args" | "description") {
            collect(member.value, member.key, found);
        }
    }
    for item in node.items() {
        collect(item, field, found);
    }
}
