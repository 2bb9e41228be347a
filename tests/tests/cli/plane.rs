//! A control plane in the process of the test, which can delay a call.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use dcp_model::primitive::{Address, Fingerprint};
use dcp_reconciler::registry::memory::Memory;
use dcp_reconciler::registry::{Registry, Result};
use dcp_reconciler::service;
use dcp_reconciler::state::{Applied, Commit, Head, Revision, Scope, State};
use dcp_server::{Options, Services, Token, Tokens};
use dcp_tests::machine;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;

use crate::harness::Sandbox;

pub(crate) const TOKEN: &str = "0123456789abcdef0123456789abcdef";

pub(crate) struct Plane {
    url: String,
    registry: Arc<Held>,
    reached: Receiver<()>,
    _runtime: Runtime,
}

impl Plane {
    pub(crate) fn start() -> Self {
        Self::start_with(|_| {})
    }

    pub(crate) fn start_with(change: impl FnOnce(&mut Options)) -> Self {
        let runtime = Runtime::new().expect("threads can be started");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port is free");
        let url = format!("http://{}", listener.local_addr().expect("it has one"));
        let tokens = Tokens::new(&[Token { name: "ci".to_owned(), token: TOKEN.to_owned() }]);
        let mut options = Options::new(tokens.expect("it is a good token"));
        change(&mut options);
        let (sender, reached) = channel();
        let gate = Semaphore::new(0);
        let registry = Arc::new(Held {
            memory: Memory::default(),
            waits: Mutex::default(),
            sender,
            gate,
            holding: AtomicBool::new(false),
        });
        let services = Services::new(dcp_proto::DESCRIPTORS);
        let services = service::add(services, registry.clone(), service::Options::default());
        runtime.spawn(dcp_server::serve(listener, services, options, std::future::pending()));
        Self { url, registry, reached, _runtime: runtime }
    }

    /// Returns a project whose target `prod` uses this control plane.
    pub(crate) fn project(&self) -> Sandbox {
        let sandbox = Sandbox::quickstart();
        sandbox.edit("dcp.yaml", "https://dcp.example.com:7420", &self.url);
        sandbox
    }

    /// Delays the next call of this name.
    pub(crate) fn hold(&self, call: &'static str) {
        *self.registry.waits.lock().expect("nobody panicked") = Some(call);
    }

    /// Waits until a call is delayed.
    pub(crate) fn reached(&self) {
        self.reached.recv_timeout(Duration::from_mins(1)).expect("the call comes");
    }

    pub(crate) fn let_go(&self) {
        self.registry.gate.add_permits(1);
    }

    /// Waits until no call is delayed: it was released, or the server noticed that its client is gone.
    pub(crate) fn abandoned(&self) {
        machine::until(|| (!self.registry.holding.load(Ordering::SeqCst)).then_some(()));
    }
}

/// An in-memory registry that can delay a call.
#[derive(Debug)]
struct Held {
    memory: Memory,
    waits: Mutex<Option<&'static str>>,
    sender: Sender<()>,
    gate: Semaphore,
    holding: AtomicBool,
}

/// Clears the flag when a delayed call ends, even if the server drops the call.
struct Holding<'a>(&'a AtomicBool);

impl Drop for Holding<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

impl Held {
    async fn pass(&self, call: &str) {
        let held = self.waits.lock().expect("nobody panicked").take_if(|held| *held == call);
        if held.is_some() {
            self.holding.store(true, Ordering::SeqCst);
            let _holding = Holding(&self.holding);
            self.sender.send(()).expect("the test goes on");
            self.gate.acquire().await.expect("it is never closed").forget();
        }
    }
}

#[async_trait]
impl Registry for Held {
    async fn state(&self, scope: &Scope) -> Result<State> {
        self.pass("state").await;
        self.memory.state(scope).await
    }

    async fn state_at(&self, scope: &Scope, serial: u64) -> Result<State> {
        self.memory.state_at(scope, serial).await
    }

    async fn bodies(&self, scope: &Scope, fingerprints: &[Fingerprint]) -> Result<Vec<String>> {
        self.pass("bodies").await;
        self.memory.bodies(scope, fingerprints).await
    }

    async fn revisions(&self, scope: &Scope, address: &Address) -> Result<Vec<Revision>> {
        self.memory.revisions(scope, address).await
    }

    async fn history(&self, scope: &Scope, before: Option<u64>, limit: u32) -> Result<Vec<Applied>> {
        self.memory.history(scope, before, limit).await
    }

    async fn commit(&self, scope: &Scope, commit: Commit) -> Result<Head> {
        self.pass("commit").await;
        self.memory.commit(scope, commit).await
    }

    async fn published(&self, scope: &Scope, serials: &[u64]) -> Result<()> {
        self.pass("published").await;
        self.memory.published(scope, serials).await
    }
}
