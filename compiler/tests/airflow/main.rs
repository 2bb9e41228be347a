//! DAG files against Python itself. The modules' names make `cargo test airflow` find all of them.

mod airflow_golden;
mod airflow_hostile;
mod python;
mod samples;
