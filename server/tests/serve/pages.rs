//! Tests of the pages for people, browsers and probes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use dcp_server::{Access, Login, Token, Tokens};
use tokio::io::AsyncWriteExt as _;

use crate::harness::{LONG, Server, TOKEN, bearer, read_response, send_and_read};

/// Starts a server whose database can become unavailable, and returns the code of its login.
async fn start() -> (Server, Arc<AtomicBool>, String) {
    let (login, code) = Login::new("ada");
    let database = Arc::new(AtomicBool::new(true));
    let server = Server::start_with(
        |services| {
            let database = Arc::clone(&database);
            services.ready("database", move || std::future::ready(database.load(Ordering::SeqCst)))
        },
        |options| {
            let tokens = Tokens::new(&[Token { name: "ci".to_owned(), token: TOKEN.to_owned() }]).unwrap();
            options.access = Some(Access::from(tokens).with_login(login));
        },
    )
    .await;
    (server, database, code)
}

#[tokio::test]
async fn public_pages_show_only_the_state() {
    let (server, database, _) = start().await;
    let page = server.get("/", "").await;
    assert!(page.starts_with("HTTP/1.1 200 ") && page.contains("data control plane for Spark"), "{page}");
    assert!(page.contains(env!("CARGO_PKG_VERSION")) && page.contains("State: ready."), "{page}");
    for header in ["content-security-policy: default-src 'none'", "x-content-type-options: nosniff"] {
        assert!(page.contains(header), "{page}");
    }
    for beyond in ["src=", "http://", "https://", "<script", "<style"] {
        assert!(!page.contains(beyond), "{page}");
    }
    assert!(server.get("/healthz", "").await.ends_with("alive\n"));
    assert!(server.get("/readyz", "").await.ends_with("ready\n"));
    database.store(false, Ordering::SeqCst);
    // The result is cached for a moment.
    let unavailable = async {
        loop {
            let response = server.get("/readyz", "").await;
            if response.starts_with("HTTP/1.1 503 ") {
                return response;
            }
        }
    };
    let response = tokio::time::timeout(LONG, unavailable).await.expect("it is noticed");
    assert!(response.ends_with("not ready: the database does not answer\n"), "{response}");
    assert!(server.get("/", "").await.contains("State: not ready: the database does not answer."));
    assert!(server.get("/healthz", "").await.starts_with("HTTP/1.1 200 "));
    for closed in ["/healthz/", "/who", "/login"] {
        let refused = server.get(closed, "").await;
        assert!(refused.starts_with("HTTP/1.1 401 ") || refused.starts_with("HTTP/1.1 403 "), "{refused}");
    }
}

#[tokio::test]
async fn a_browser_signs_in_by_a_link_that_works_once() {
    let (server, _, code) = start().await;
    let link = format!("/login?code={code}");
    assert!(server.get("/login?code=wrong", "").await.starts_with("HTTP/1.1 403 "));
    // A foreign page can reach this machine by a host name of its own.
    let mut stream = server.connect().await;
    let request = format!("GET {link} HTTP/1.1\r\nhost: evil.example\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    assert!(read_response(&mut stream).await.starts_with("HTTP/1.1 403 "));
    let signed = server.get(&link, "").await;
    assert!(signed.starts_with("HTTP/1.1 303 ") && signed.contains("location: /\r\n"), "{signed}");
    let cookie =
        signed.lines().find_map(|line| line.strip_prefix("set-cookie: ")).expect("there is a cookie");
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    assert!(server.get(&link, "").await.starts_with("HTTP/1.1 403 "), "it works once");

    let cookie = format!("cookie: {}\r\n", cookie.split_once(';').unwrap().0);
    assert!(server.get("/who", &cookie).await.ends_with("ada"));
    let foreign = format!("{cookie}origin: http://evil.example\r\n");
    assert!(server.get("/who", &foreign).await.starts_with("HTTP/1.1 401 "));
    let mut stream = server.connect().await;
    // A request that may change something has to come from a page of this server.
    let post = |origin: &str| {
        format!("POST /who HTTP/1.1\r\nhost: localhost\r\n{cookie}{origin}content-length: 0\r\n\r\n")
    };
    stream.write_all(post("").as_bytes()).await.unwrap();
    assert!(read_response(&mut stream).await.starts_with("HTTP/1.1 401 "));
    let mut stream = server.connect().await;
    stream.write_all(post("origin: http://localhost\r\n").as_bytes()).await.unwrap();
    assert!(read_response(&mut stream).await.starts_with("HTTP/1.1 405 "), "the router has the say");
    // The code is in no log entry.
    let mut logged = Vec::new();
    for _ in 0..8 {
        logged.push(server.next_logged_call().await);
    }
    assert!(logged.iter().all(|line| !line.contains(&code)), "{logged:?}");
    assert!(logged.contains(&"http|GET /login|||303".to_owned()), "{logged:?}");
    assert!(send_and_read(&mut server.connect().await, "/who", &bearer()).await.ends_with("ci"));
}
