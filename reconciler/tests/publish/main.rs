//! The DAG folder: one contract for the disk, for a store in memory and for S3, and what each may meet.

mod cloud;
mod contract;
mod crash;
mod dying;
mod fixture;
mod hostile;
mod local;
mod places;
