//! Clients of a server.

use dcp_server::client::{CallError, Client, Options, Renewal, Service};
use tonic::Status;
use tonic::client::Grpc;
use tonic_prost::ProstCodec;

use crate::harness::{Server, TOKEN};

const SERVICE: Service = Service { name: "server", domain: "test.v1" };

async fn call(client: &Client) -> Result<(), CallError> {
    let call = || {
        let mut echo = Grpc::new(client.channel());
        async move {
            echo.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
            let path = "/test.v1.Echo/Quick".parse().expect("the path is valid");
            echo.unary(tonic::Request::new(()), path, ProstCodec::<(), ()>::default()).await.map(drop)
        }
    };
    client.call(call).await
}

#[tokio::test]
async fn each_call_has_the_newest_token() {
    let server = Server::start(|_| {}).await;
    let renewed = std::sync::Mutex::new(vec![
        Err("the login has expired".to_owned()),
        Ok(TOKEN.to_owned()),
        Ok("0123456789abcdef-wrong".to_owned()),
    ]);
    let renewal =
        Renewal::new(move || renewed.lock().expect("no test fails here").pop().expect("there is a token"));
    let url = format!("http://{}", server.address);
    let options = Options { renewal: Some(renewal), ..Options::new(url, "0123456789abcdef-first") };
    assert!(!format!("{options:?}").contains("0123456789abcdef"));
    let client = Client::new(options, SERVICE).expect("the options are good");
    assert!(
        matches!(call(&client).await, Err(CallError::Denied(why)) if why.contains("the token is unknown"))
    );
    assert!(call(&client).await.is_ok());
    assert!(matches!(call(&client).await, Err(CallError::Denied(why)) if why == "the login has expired"));
}
