//! Reports the errors that were found when the SQL was read.

use dcp_model::manifest::Job;

use super::{SqlSource, Subject};
use crate::diag::{Code, Diagnostic};
use crate::source::Span;
use crate::sql::{Form, Reading, StatementKind, UnsupportedForm};

/// The engine versions whose Spark is known to reject these forms.
const REJECTING_VERSIONS: [&str; 3] = ["3.5", "4.0", "4.1"];

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
            let unread = "what it reads and writes is unknown, beyond what the manifest declares";
            unknown(subject, ("this SQL could not be read", unread), sql.span(at), reason);
        }
        Reading::Known(facts) => {
            unsupported_forms(subject, sql, &facts.unsupported_forms);
            if let Some(at) = facts.dynamic.first() {
                let dynamic = "a part of this SQL is only known when it runs";
                let more = "it may read and write more than what is known of it";
                unknown(subject, (dynamic, more), sql.span(at), "the first name or text of this kind");
            }
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

/// Reports an unknown part of the SQL, and the consequence for the job.
fn unknown(subject: &mut Subject<'_>, (what, meaning): (&str, &str), at: Span, reason: &str) {
    let unknown = match subject.manifest.spec.job {
        Job::Stream(_) => "what the stream keeps as state is unknown, and so is whether Spark takes it",
        _ => meaning,
    };
    let diagnostic = Diagnostic::new(Code::UNPARSED_SQL, format!("{what}: {unknown}"))
        .at(at, reason)
        .help("it may well be right: Spark will judge");
    subject.report(diagnostic);
}

fn unsupported_forms(subject: &mut Subject<'_>, sql: &SqlSource<'_>, unsupported_forms: &[UnsupportedForm]) {
    let version = subject.manifest.spec.engine.version.as_str();
    if !REJECTING_VERSIONS.contains(&version) {
        return;
    }
    let message = |what: &str| format!("{what}, and Spark {version} refuses it");
    for UnsupportedForm { form, at } in unsupported_forms {
        let (what, help) = match form {
            Form::Ungrouped => {
                let message = "this column is neither grouped nor aggregated";
                let help = "group by it, or aggregate it: `any_value(…)` takes the value of any row";
                subject
                    .diagnostics
                    .push(Diagnostic::new(Code::UNGROUPED_COLUMN, message).at(sql.span(at), "").help(help));
                continue;
            }
            Form::DoubleQuotedName if may_quote_names(subject) => continue,
            Form::DoubleQuotedName | Form::SingleQuotedName => {
                ("this name is written as a string", "write names in backticks: `` `a b` ``")
            }
            Form::BracketedName => {
                ("this is not a name in Spark", "write names in backticks, and arrays as `array(…)`")
            }
            Form::Top => ("`TOP` is of another dialect", "write `LIMIT` at the end of the query"),
            Form::Fetch => ("`FETCH` is of another dialect", "write `LIMIT` at the end of the query"),
            Form::Qualify => (
                "`QUALIFY` is of another dialect",
                "compute the function in a subquery, and filter around it",
            ),
            Form::UpdateFrom => ("`UPDATE … FROM` is of another dialect", "write `MERGE INTO … USING …`"),
            Form::DeleteUsing => ("`DELETE … USING` is of another dialect", "write `MERGE INTO … USING …`"),
            Form::LimitWithComma => ("`LIMIT a, b` is of another dialect", "write `LIMIT b OFFSET a`"),
            Form::Lock => ("rows can't be locked", "leave out `FOR …`"),
            Form::SelectInto => {
                ("`SELECT … INTO` is of another dialect", "write `CREATE TABLE … AS SELECT …`")
            }
        };
        subject
            .diagnostics
            .push(Diagnostic::new(Code::UNSUPPORTED_SQL, message(what)).at(sql.span(at), "").help(help));
    }
}

/// Returns whether a setting may turn texts in double quotes into names.
fn may_quote_names(subject: &Subject<'_>) -> bool {
    const SETTING: &str = "spark.sql.ansi.doubleQuotedIdentifiers";
    let spark = &subject.manifest.spec.spark;
    let set = spark.conf.get(SETTING).is_some_and(|value| !value.as_str().eq_ignore_ascii_case("false"));
    set || spark.config_map.is_some()
}
