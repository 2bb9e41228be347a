//! Renders [`Dag`](dcp_model::dag::Dag)s as DAG files for Airflow 3. Values of a manifest can't become code.
//!
//! [`render`] checks nothing and can't fail. The caller rejects DAGs that are invalid in Airflow: duplicate task ids,
//! upstream tasks that do not exist, `catchup` without a start date, unknown time zones. An invalid DAG that is
//! rendered anyway is an import error of its own file in Airflow, and never a DAG with another meaning.

mod literal;
mod render;
mod stamp;

pub use literal::Literal;
pub use render::{file_name, render};
pub use stamp::{NOT_APPLIED, stamped};
