//! The addresses of a running driver.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use dcp_gateway::{Addresses, Compute as _, Name};

use super::{Project, wait_for_end};

/// Waits until an application reports an address, and returns it.
pub(super) async fn address(project: &Project, of: impl Fn(Addresses) -> Option<String>) -> String {
    let name: Name = "dcp-a1-1".parse().expect("the name is valid");
    let deadline = Instant::now() + Duration::from_mins(2);
    loop {
        let status = project.local().get(&name).await.expect("the backend responds");
        if let Some(address) = status.clone().and_then(|status| of(status.addresses)) {
            return address;
        }
        assert!(Instant::now() < deadline, "no address is reported: {status:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn a_running_driver_has_the_address_of_its_web_interface() {
    let project = Project::new();
    project.write(
        "main.py",
        "import os, sys, time\nfrom pyspark.sql import SparkSession\nspark = SparkSession.builder.getOrCreate()\n\
         while not os.path.exists(sys.argv[1]):\n    time.sleep(0.1)\n",
    );
    let job = project.job("  job: {pyspark: {main: main.py, args: [\"%DIR%/stop\"]}}\n");
    let seen = async {
        let url = address(&project, |it| it.ui).await;
        let authority = url.strip_prefix("http://").expect("the address is a URL");
        let mut stream = TcpStream::connect(authority).expect("the web interface listens");
        let request =
            format!("GET /api/v1/applications HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("the connection is open");
        let mut response = String::new();
        stream.read_to_string(&mut response).expect("the response is text");
        project.write("stop", "");
        response
    };
    let ((end, log), response) = tokio::join!(project.run(&job, &[], None), seen);
    assert!(end.succeeded, "{log}");
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
    let name = "dcp-a1-1".parse().expect("the name is valid");
    let status =
        project.local().get(&name).await.expect("the backend responds").expect("the application is known");
    let Addresses { ui, connect, event_log } = status.addresses;
    assert_eq!((ui, connect), (None, None), "an ended driver serves nothing");
    assert!(event_log.is_some_and(|url| url.starts_with("file:///") && url.ends_with("/dcp-a1-1/events")));
}

#[tokio::test]
async fn a_spark_connect_server_has_its_address() {
    let project = Project::new();
    let job = project.job(
        "  spark: {conf: {spark.connect.grpc.binding.address: 127.0.0.1, spark.connect.grpc.binding.port: '0'}}\n  \
         job: {jar: {class: org.apache.spark.sql.connect.service.SparkConnectServer}}\n",
    );
    let name: Name = "dcp-a1-1".parse().expect("the name is valid");
    let seen = async {
        let address = address(&project, |it| it.connect).await;
        TcpStream::connect(&address).expect("the server listens");
        project.local().delete(&name, Duration::from_secs(20)).await.expect("the backend responds");
        wait_for_end(&project.local(), &name).await
    };
    let (_, (end, log)) = tokio::join!(project.run(&job, &[], None), seen);
    assert!(end.stopped, "{log}");
}
