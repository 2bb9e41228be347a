//! Tests of DAG files with Python. The names of the modules make `cargo test airflow` run all of them.

#[cfg(test)]
mod airflow_golden;
#[cfg(test)]
mod airflow_hostile;
#[cfg(test)]
mod airflow_stamp;
#[cfg(test)]
mod python;
#[cfg(test)]
mod samples;
