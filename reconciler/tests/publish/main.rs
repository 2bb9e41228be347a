//! The DAG folder: one contract for disk, memory and S3, and the errors of each.

mod cloud;
mod contract;
mod crash;
mod disk_errors;
mod failing_store;
mod fixture;
mod local;
mod locations;
