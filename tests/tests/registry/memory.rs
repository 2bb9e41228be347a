//! The in-memory registry. Other implementations are compared with it, so it must fulfil the contract as well.

use std::sync::Arc;

use dcp_reconciler::registry::memory::Memory;

use crate::{Fixture, contract};

fn fixture() -> Fixture {
    let registry = Arc::new(Memory::default());
    Fixture { registry: registry.clone(), other: registry, _resources: Vec::new() }
}

contract!(std::future::ready(fixture()));
