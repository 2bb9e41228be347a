//! The file of drivers, `drivers.yaml`: its text to types and diagnostics.

use dcp_model::drivers::DriversFile;

use crate::diag::{Code, Diagnostic};
use crate::document;
use crate::schema;
use crate::source::FileId;

/// The usual name of the file of drivers.
pub const FILE_NAME: &str = "drivers.yaml";

/// Reads the file of drivers. `path` is its path for messages. The drivers are missing if there is an error.
///
/// Paths of files are as they are in the file; [`FilePath::resolve`](dcp_model::clusters::FilePath::resolve) completes
/// them.
pub fn read(file: FileId, path: &str, text: &str) -> (Option<DriversFile>, Vec<Diagnostic>) {
    let kind = document::Kind {
        name: path,
        schema: &schema::DRIVERS,
        help_if_empty: "give it a driver: `drivers: {main: {address: HOST:15002, domain: shop, engine: \"4.1\"}}`",
    };
    let (read, mut diagnostics) = document::read::<DriversFile>(&kind, file, text);
    for secret in diagnostics.iter_mut().filter(|found| found.code == Code::SECRET_LITERAL) {
        // References to secrets belong to manifests.
        secret.help = Some("keep it in a file, and name the file in `tokenFile`".into());
    }
    let valid = !diagnostics.iter().any(Diagnostic::is_error);
    (read.map(|(drivers, _)| drivers).filter(|_| valid), diagnostics)
}
