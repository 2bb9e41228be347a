//! What reading the SQL said of it.

use super::Subject;
use crate::diag::{Code, Diagnostic};
use crate::model::Job;
use crate::sql::{Reading, StatementKind};

pub(super) fn check(subject: &mut Subject<'_>) {
    let Some(sql) = subject.sql else { return };
    match &sql.reading {
        Reading::Malformed { at, message, help } => {
            let diagnostic = Diagnostic::new(Code::SQL_SYNTAX, message.clone()).at(sql.span(at), "");
            subject.report(match help {
                Some(help) => diagnostic.help(help.clone()),
                None => diagnostic,
            });
        }
        Reading::Unknown { at, reason } => {
            let unknown = match subject.manifest.spec.job {
                Job::Stream(_) => {
                    "what the stream keeps as state is unknown, and so is whether Spark takes it"
                }
                _ => "what it reads and writes is unknown, beyond what the manifest declares",
            };
            let diagnostic =
                Diagnostic::new(Code::SQL_UNKNOWN, format!("this SQL could not be read: {unknown}"))
                    .at(sql.span(at), reason.clone())
                    .help("it may well be right: Spark will judge");
            subject.report(diagnostic);
        }
        Reading::Known(facts) => {
            if let Job::Sql(job) = &subject.manifest.spec.job
                && job.return_result
                && let Some(last) = facts.statements.last()
                && !matches!(last.kind, StatementKind::Query | StatementKind::Other)
            {
                let at = subject.key(&["spec", "job", "sql", "returnResult"]);
                let diagnostic = Diagnostic::new(Code::NO_RESULT, "the last statement gives no rows")
                    .at(at, "rows are asked for here")
                    .at(sql.span(&last.at), "and this gives none")
                    .help("end with a `SELECT`, or leave out `returnResult`");
                subject.report(diagnostic);
            }
        }
    }
}
