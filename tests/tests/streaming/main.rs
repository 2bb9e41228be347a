//! Declarative streams on a real Spark: whether a changed stream goes on from its checkpoint as a plan says, and what is
//! read from and written to a real Kafka.

mod case;
mod driver;
mod place;
mod plan;

mod streaming;
