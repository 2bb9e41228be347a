//! The `OpenAPI` document of the REST interface.

use serde_json::Value;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{OpenApi, RefOr};
use utoipa::{Modify, OpenApi as _};

/// An example of a submit. Its job is the compiled form of a small manifest.
const EXAMPLE: &str = include_str!("example.json");

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "dcp Runner",
        version = "1",
        description = "Submits, checks and cancels Spark jobs. All times are in UTC. What is refused is refused with one \
                       object, `{\"error\": {…}}`, whose `reason` programs can read.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    tags(
        (name = "jobs", description = "What is to run, and how it goes"),
        (name = "parts", description = "What comes piece by piece")
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

/// Returns the document without the paths.
pub(super) fn base() -> OpenApi {
    BaseDocument::openapi()
}

/// Returns the document that is served, and stored in `schemas/runner.json`.
pub fn document() -> String {
    let (_, mut document) = super::routes().split_for_parts();
    add_example(&mut document);
    // The document has only objects, lists and text, so that serialization can't fail.
    document.to_pretty_json().unwrap_or_default() + "\n"
}

fn add_example(document: &mut OpenApi) {
    let example: Option<Value> = serde_json::from_str(EXAMPLE).ok();
    let submit = document.paths.paths.get_mut("/api/v1/job").and_then(|path| path.post.as_mut());
    if let Some(RefOr::T(body)) = submit.and_then(|submit| submit.request_body.as_mut())
        && let Some(RefOr::T(content)) = body.content.get_mut("application/json")
    {
        content.example = example;
    }
}
