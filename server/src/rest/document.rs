//! The `OpenAPI` document, without the paths of interfaces.

use utoipa::openapi::OpenApi;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi as _};

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "dcp",
        version = "1",
        description = "A control plane for Spark: runs jobs, and shows and controls applied workloads. All times are in \
                       UTC. Errors are one object, `{\"error\": {…}}`, whose `reason` is for programs.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    security(("token" = [])),
    modifiers(&Token)
)]
struct BaseDocument;

struct Token;

impl Modify for Token {
    fn modify(&self, document: &mut OpenApi) {
        let mut scheme = Http::new(HttpAuthScheme::Bearer);
        scheme.description =
            Some("As `authorization: Bearer <token>`; none where dcp was started without tokens".to_owned());
        document
            .components
            .get_or_insert_default()
            .add_security_scheme("token", SecurityScheme::Http(scheme));
    }
}

/// Returns the document with the paths of interfaces.
pub fn document(interfaces: impl IntoIterator<Item = OpenApi>) -> String {
    let document = interfaces.into_iter().fold(BaseDocument::openapi(), OpenApi::merge_from);
    // The document has only objects, lists and text, so that serialization can't fail.
    document.to_pretty_json().unwrap_or_default() + "\n"
}
