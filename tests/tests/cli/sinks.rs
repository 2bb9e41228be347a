//! Sinks that a stream writes batch by batch, on a real Spark. The tests kill the driver around the commit of a batch.

mod streaming;
