//! The DAG folder: one contract for disk, memory and S3, and the errors of each.

mod cloud;
mod contract;
mod crash;
mod dying;
mod fixture;
mod hostile;
mod local;
mod places;
