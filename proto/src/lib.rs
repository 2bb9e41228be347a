//! The protocols that the parts of dcp speak with each other, and the code generated from them; nothing else.

/// Every protocol as descriptors, for the reflection service.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// What is applied, and the way to apply more.
pub mod control {
    #[expect(clippy::allow_attributes, clippy::pedantic, reason = "the code is generated")]
    pub mod v1 {
        tonic::include_proto!("dcp.control.v1");
    }
}

/// Executions of jobs: to have one run, to know how it is, to stop it.
pub mod runner {
    #[expect(clippy::allow_attributes, clippy::pedantic, reason = "the code is generated")]
    pub mod v1 {
        tonic::include_proto!("dcp.runner.v1");
    }
}
