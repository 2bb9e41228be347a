//! Sinks that a stream writes batch by batch, on a real Spark whose driver is killed around the commit of a batch.

mod streaming;
