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
use dcp_tests::fake_spark;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;

use crate::harness::Sandbox;

pub(crate) const TOKEN: &str = "0123456789abcdef0123456789abcdef";

pub(crate) struct ControlPlane {
    url: String,
    registry: Arc<DelayingRegistry>,
    reached: Receiver<()>,
    _runtime: Runtime,
}

impl ControlPlane {
    pub(crate) fn start() -> Self {
        Self::start_with(|_| {})
    }

    pub(crate) fn start_with(change: impl FnOnce(&mut Options)) -> Self {
        let runtime = Runtime::new().expect("threads can be started");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port is free");
        let url = format!("http://{}", listener.local_addr().expect("the listener has an address"));
        let tokens = Tokens::new(&[Token { name: "ci".to_owned(), token: TOKEN.to_owned() }]);
        let mut options = Options::new(tokens.expect("the token is valid"));
        change(&mut options);
        let (sender, reached) = channel();
        let gate = Semaphore::new(0);
        let registry = Arc::new(DelayingRegistry {
            memory: Memory::default(),
            delayed_call: Mutex::default(),
            sender,
            gate,
            is_delaying: AtomicBool::new(false),
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
    pub(crate) fn delay_next(&self, call: &'static str) {
        *self.registry.delayed_call.lock().expect("no thread panicked") = Some(call);
    }

    /// Waits until a call is delayed.
    pub(crate) fn wait_until_delayed(&self) {
        self.reached.recv_timeout(Duration::from_mins(1)).expect("the call is delayed");
    }

    pub(crate) fn release(&self) {
        self.registry.gate.add_permits(1);
    }

    /// Waits until no call is delayed: it was released, or the server noticed that its client is gone.
    pub(crate) fn wait_until_none_is_delayed(&self) {
        fake_spark::wait_until(|| (!self.registry.is_delaying.load(Ordering::SeqCst)).then_some(()));
    }
}

/// An in-memory registry that can delay a call.
#[derive(Debug)]
struct DelayingRegistry {
    memory: Memory,
    delayed_call: Mutex<Option<&'static str>>,
    sender: Sender<()>,
    gate: Semaphore,
    is_delaying: AtomicBool,
}

/// Clears the flag when a delayed call ends, even if the server drops the call.
struct DelayGuard<'a>(&'a AtomicBool);

impl Drop for DelayGuard<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

impl DelayingRegistry {
    async fn delay_if_requested(&self, call: &str) {
        let delayed =
            self.delayed_call.lock().expect("no thread panicked").take_if(|delayed| *delayed == call);
        if delayed.is_some() {
            self.is_delaying.store(true, Ordering::SeqCst);
            let _guard = DelayGuard(&self.is_delaying);
            self.sender.send(()).expect("the test has not ended");
            self.gate.acquire().await.expect("the semaphore is not closed").forget();
        }
    }
}

#[async_trait]
impl Registry for DelayingRegistry {
    async fn state(&self, scope: &Scope) -> Result<State> {
        self.delay_if_requested("state").await;
        self.memory.state(scope).await
    }

    async fn state_at(&self, scope: &Scope, serial: u64) -> Result<State> {
        self.memory.state_at(scope, serial).await
    }

    async fn bodies(&self, scope: &Scope, fingerprints: &[Fingerprint]) -> Result<Vec<String>> {
        self.delay_if_requested("bodies").await;
        self.memory.bodies(scope, fingerprints).await
    }

    async fn revisions(&self, scope: &Scope, address: &Address) -> Result<Vec<Revision>> {
        self.memory.revisions(scope, address).await
    }

    async fn history(&self, scope: &Scope, before: Option<u64>, limit: u32) -> Result<Vec<Applied>> {
        self.memory.history(scope, before, limit).await
    }

    async fn commit(&self, scope: &Scope, commit: Commit) -> Result<Head> {
        self.delay_if_requested("commit").await;
        self.memory.commit(scope, commit).await
    }

    async fn published(&self, scope: &Scope, serials: &[u64]) -> Result<()> {
        self.delay_if_requested("published").await;
        self.memory.published(scope, serials).await
    }
}
