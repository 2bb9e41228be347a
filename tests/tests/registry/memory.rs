//! The in-memory registry. Other implementations are compared with it, so it must fulfil the contract as well.

use std::sync::Arc;

use dcp_reconciler::registry::memory::Memory;

use crate::{Fresh, contract};

fn fresh() -> Fresh {
    let registry = Arc::new(Memory::default());
    Fresh { registry: registry.clone(), other: registry, _keep: Vec::new() }
}

contract!(std::future::ready(fresh()));
