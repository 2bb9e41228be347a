//! The protocols between the parts of dcp, and the code generated from them; nothing else.

/// The descriptors of every protocol, for the reflection service.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// Interactive sessions: the pools of Spark Connect drivers, and the sessions on them.
pub mod connect {
    #[expect(clippy::allow_attributes, clippy::pedantic, reason = "the code is generated")]
    pub mod v1 {
        tonic::include_proto!("dcp.connect.v1");
    }
}

/// The control plane: the registry of applied workloads, continuous jobs, and assets.
pub mod control {
    #[expect(clippy::allow_attributes, clippy::pedantic, reason = "the code is generated")]
    pub mod v1 {
        tonic::include_proto!("dcp.control.v1");
    }
}

/// The Gateway: runs applications on clusters.
pub mod gateway {
    #[expect(
        clippy::allow_attributes,
        clippy::large_enum_variant,
        clippy::pedantic,
        reason = "the code is generated"
    )]
    pub mod v1 {
        tonic::include_proto!("dcp.gateway.v1");
    }
}

/// Identity: the caller of a token, and the providers at which a token can be had.
pub mod identity {
    #[expect(clippy::allow_attributes, clippy::pedantic, reason = "the code is generated")]
    pub mod v1 {
        tonic::include_proto!("dcp.identity.v1");
    }
}

/// The Runner: submits, checks and cancels executions of jobs.
pub mod runner {
    #[expect(clippy::allow_attributes, clippy::pedantic, reason = "the code is generated")]
    pub mod v1 {
        tonic::include_proto!("dcp.runner.v1");
    }
}
