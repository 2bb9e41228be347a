//! `dcp schema`

use std::io::Write as _;

use dcp_compiler::schema::{CLUSTERS, DRIVERS, MANIFEST, POLICY, PROJECT, SECRETS};

use crate::args::{Schema, SchemaOf};
use crate::failure::{Failure, Verdict};
use crate::out::Console;

pub(super) fn run(args: &Schema, console: &mut Console) -> Result<Verdict, Failure> {
    let schema = match args.which {
        SchemaOf::Manifest => &MANIFEST,
        SchemaOf::Project => &PROJECT,
        SchemaOf::Clusters => &CLUSTERS,
        SchemaOf::Policy => &POLICY,
        SchemaOf::Secrets => &SECRETS,
        SchemaOf::Drivers => &DRIVERS,
    };
    console.out.write_all(schema.text().as_bytes())?;
    Ok(Verdict::Success)
}
