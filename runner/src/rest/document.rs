//! The part of the `OpenAPI` document that describes a Runner.

use serde_json::Value;
use utoipa::OpenApi as _;
use utoipa::openapi::{OpenApi, RefOr};

/// An example of a submit. Its job is the compiled form of a small manifest.
const EXAMPLE: &str = include_str!("example.json");

#[derive(utoipa::OpenApi)]
#[openapi(tags(
    (name = "jobs", description = "Jobs, and their status"),
    (name = "parts", description = "Logs, steps and results of jobs, which are streamed")
))]
struct Tags;

pub(super) fn tags() -> OpenApi {
    Tags::openapi()
}

/// Returns the part of the document.
pub fn document() -> OpenApi {
    let (_, mut document) = super::routes().split_for_parts();
    add_example(&mut document);
    document
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
