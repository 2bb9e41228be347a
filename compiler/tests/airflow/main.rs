//! DAG files against Python itself. The modules' names make `cargo test airflow` find all of them.

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
