//! In memory: what the other forms are compared with keeps the contract too.

use std::sync::Arc;

use dcp_reconciler::registry::memory::Memory;

use crate::{Fresh, contract};

fn fresh() -> Fresh {
    let registry = Arc::new(Memory::default());
    Fresh { registry: registry.clone(), other: registry, _keep: Vec::new() }
}

contract!(std::future::ready(fresh()));
