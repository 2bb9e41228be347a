//! The tests that every way to a backend must pass: the backend in this process, and behind a Gateway in another one.

use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;

use dcp_gateway::local::Local;
use dcp_gateway::remote::{Options, Remote};
use dcp_gateway::{Compute, service};
use dcp_server::Services;
use dcp_tests::fake_spark::FakeSpark;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::local::SUPERVISOR;

/// Returns the backend of a Spark in the state of a process that has just started.
pub(crate) type Open = fn(&FakeSpark) -> Arc<dyn Compute>;

macro_rules! contract {
    ($open:expr) => {
        contract! {
            $open;
            local: end_of_an_application_is_known_to_later_processes, concurrent_creates_start_one_application, delete_signals_and_then_kills_all_processes, program_that_watches_for_its_stop_file_gets_no_sigterm, application_deleted_before_its_start_never_starts, killed_driver_leaves_no_process, application_without_supervisor_is_killed_and_not_restarted, killed_supervisor_never_causes_a_second_start, spark_submit_gets_the_arguments_of_the_application, unsupported_applications_are_rejected, end_is_recorded_once_it_can_be_written;
            watch: a_start_and_an_end_are_reported_at_once, a_watch_begins_with_the_applications_that_have_not_ended, the_kill_of_a_supervisor_is_reported, an_application_whose_folder_is_removed_runs_until_its_processes_have_ended;
        }
    };
    ($open:expr; $($file:ident: $($test:ident),+;)+) => {
        $($(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                crate::$file::$test($open).await;
            }
        )+)+
    };
}

mod in_process {
    contract!(|fake_spark| std::sync::Arc::new(fake_spark.local_backend(crate::local::SUPERVISOR)));
}

mod remote {
    contract!(super::behind_a_gateway);
}

/// Serves a Gateway. Its watches end once the sender sends true.
pub(crate) fn serve(compute: Arc<dyn Compute>) -> (SocketAddr, watch::Sender<bool>) {
    serve_guarded(compute, None)
}

/// Serves the Gateway of a control plane.
pub(crate) fn serve_guarded(
    compute: Arc<dyn Compute>,
    control_plane: Option<String>,
) -> (SocketAddr, watch::Sender<bool>) {
    let listener = StdListener::bind("127.0.0.1:0").expect("a port is free");
    listener.set_nonblocking(true).expect("the socket is open");
    let address = listener.local_addr().expect("it is bound");
    let listener = TcpListener::from_std(listener).expect("the runtime works");
    let (stop, stopping) = watch::channel(false);
    let services = Services::new(dcp_proto::DESCRIPTORS);
    let services = service::add_guarded(services, compute, stopping, control_plane);
    let options = dcp_tests::server_options("runner");
    tokio::spawn(dcp_server::serve(listener, services, options, std::future::pending()));
    (address, stop)
}

/// Returns a client that expects the capabilities of a backend.
pub(crate) fn client(address: SocketAddr, token: &str, like: &dyn Compute) -> Remote {
    let options = Options::new(format!("http://{address}"), token);
    Remote::new(options, like.capabilities()).expect("the options are valid")
}

fn behind_a_gateway(fake_spark: &FakeSpark) -> Arc<dyn Compute> {
    let local = Arc::new(fake_spark.local_backend(SUPERVISOR));
    let (address, _) = serve(Arc::<Local>::clone(&local));
    Arc::new(client(address, dcp_tests::TOKEN, &*local))
}
