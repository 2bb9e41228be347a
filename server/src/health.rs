//! Health and reflection: the state of the services, and their descriptors.

use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::{Error, Services};

/// The name of the health service, which reports the state of the others.
pub(crate) const HEALTH_SERVICE: &str = "grpc.health.v1.Health";

/// Sets the state that the health service reports.
pub(crate) struct Health {
    reporter: HealthReporter,
    names: Vec<&'static str>,
}

impl Health {
    /// Creates the routes of all services that need no token, with health and reflection. All services are reported as
    /// serving.
    pub(crate) async fn start(services: &Services) -> Result<(Self, Routes), Error> {
        let (reporter, health) = tonic_health::server::health_reporter();
        let mut reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(services.descriptors)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .with_service_name(HEALTH_SERVICE);
        let names: Vec<_> = services.all_names().collect();
        for name in &names {
            reporter.set_service_status(*name, ServingStatus::Serving).await;
            reflection = reflection.with_service_name(*name);
        }
        let routes = services.public.clone().add_service(health).add_service(reflection.build_v1()?);
        Ok((Self { reporter, names }, routes))
    }

    /// Reports all services, and the server as a whole, as not serving.
    pub(crate) async fn stop(&self) {
        for name in self.names.iter().copied().chain([""]) {
            self.reporter.set_service_status(name, ServingStatus::NotServing).await;
        }
    }
}
