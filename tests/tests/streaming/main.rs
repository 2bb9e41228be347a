//! Declarative streams on a real Spark. The tests check that a changed stream continues from its checkpoint as the plan
//! predicts, and that streams read from and write to a real Kafka.

mod case;
mod driver;
mod locations;
mod plan;

mod streaming;
