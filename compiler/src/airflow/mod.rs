//! Airflow 3 DAG files from [`Dag`](dcp_model::dag::Dag)s. Values of a manifest can't become code.
//!
//! [`render`] checks nothing and cannot fail. The caller rules out DAGs that Airflow refuses: a task id twice, an
//! upstream task that does not exist, `catchup` without a start date, an unknown time zone. A DAG that gets through is
//! an import error of its own file in Airflow, and never a DAG with another meaning.

mod literal;
mod render;
mod stamp;

pub use literal::Literal;
pub use render::{file_name, render};
pub use stamp::{NOT_APPLIED, stamped};
